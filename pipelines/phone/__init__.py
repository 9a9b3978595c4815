"""Calls over telephone lines: SIP with G.711, and the media streams of phone carriers."""
