"""Properties are tried on the same draws in every run, so that a change is red for what it changed."""

from hypothesis import settings

settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")
