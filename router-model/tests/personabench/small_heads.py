"""Heads that fit in seconds."""

from personabench.heads import HeadsConfig

HEADS = HeadsConfig(networks=1, epochs=3, hidden=32)
