"""The ears: Voxtral Realtime in process, other recognisers behind the same interface."""
