"""Ground floor: errors, strict YAML, audio files. Knows nothing of models, agents or transports."""
