"""What is believed of LLMs, users and rewards before any feedback."""
