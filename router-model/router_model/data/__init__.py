"""Pools of recorded outcomes, cards of LLMs, and simulated users to learn from."""
