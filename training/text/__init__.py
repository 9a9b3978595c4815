"""Conversation text from a grammar: what callers say, what an agent says, in any quantity."""
