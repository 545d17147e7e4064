"""Trials: what a change of the model does to what users gain."""
