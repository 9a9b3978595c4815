"""How the nano voice is made: a spoken corpus, a codec, a speech model, and their checkpoint."""
