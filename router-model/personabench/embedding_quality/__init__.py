"""How much of an answer's quality an embedding of its query foretells."""
