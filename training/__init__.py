"""How the nano checkpoints are made, from nothing but packages."""
