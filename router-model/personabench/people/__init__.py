"""Real people's choices: what of them is personal, beside shuffled people and another's history."""
