"""The voice: Voxtral TTS in process, other synthesisers behind the same interface."""
