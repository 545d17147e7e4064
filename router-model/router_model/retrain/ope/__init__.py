"""Off-policy evaluation: what another policy would have earned, from the log of this one and its propensities."""

from router_model.retrain.ope.checks import PropensityCheck, check_propensities
from router_model.retrain.ope.estimators import Terms, dr, importance, ips, snips
from router_model.retrain.ope.interval import Estimate, difference, estimate
from router_model.retrain.ope.sample import Sample, SampleError

__all__ = [
    "Estimate",
    "PropensityCheck",
    "Sample",
    "SampleError",
    "Terms",
    "check_propensities",
    "difference",
    "dr",
    "estimate",
    "importance",
    "ips",
    "snips",
]
