"""Beliefs about LLMs, users and rewards before any feedback."""
