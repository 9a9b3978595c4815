"""Synthetic speech with exact word and phone times, and the ways rooms and lines spoil it."""
