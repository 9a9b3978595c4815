"""Synthesisers on other machines, behind the same interface as those in process."""
