"""What both speech models share: decoder blocks, caches, tokenizer, checkpoints, stepping."""
