"""The server: signalling, access, metrics and the page."""
