"""How the ears are made: the language model of pocketsphinx, and the nano recogniser."""
