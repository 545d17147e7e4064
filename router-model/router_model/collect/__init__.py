"""Gathering outcomes: every candidate answers every question, through the gateway, and is scored."""
