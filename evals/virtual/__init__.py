"""Scripted callers and scripted engines around the real turn-taking, in virtual time."""
