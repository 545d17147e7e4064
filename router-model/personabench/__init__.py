"""The laboratory: benchmark, baselines, ablations and trials of the personalised graph router."""
