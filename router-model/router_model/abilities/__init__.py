"""Public figures of LLMs to one number of ability each, and how long they write: `python -m router_model abilities`."""
