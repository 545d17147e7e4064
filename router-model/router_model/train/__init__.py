"""Training from recorded outcomes and simulated users."""
