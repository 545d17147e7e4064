"""Units of preference weights: one unit is the way from a wrong to an even answer, 0.8 decades of cost, 0.9 nats of
length. Arithmetic alone, so that arrays and tensors do it alike.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

COST_CENTRE, COST_SCALE = -3.5, 0.8  # log10 dollars
LENGTH_CENTRE, LENGTH_SCALE = math.log(150.0), 0.9  # log tokens
LEAST_DOLLARS = 1e-6  # a cheaper answer counts as this dear: no recorded answer is (mmlu_pro: 1.1e-6)

T = TypeVar("T", bound=Any)


def standard_quality(probability: T) -> T:
    """Probability 0..1 to -1 (wrong) .. 1 (right)."""
    standard: T = probability * 2 - 1
    return standard


def standard_cost(log_dollars: T) -> T:
    """Natural logarithm of dollars to about zero mean and unit spread."""
    standard: T = log_dollars * (1 / (COST_SCALE * math.log(10))) - COST_CENTRE / COST_SCALE
    return standard


def standard_length(log_tokens: T) -> T:
    """Natural logarithm of tokens to about zero mean and unit spread."""
    standard: T = log_tokens * (1 / LENGTH_SCALE) - LENGTH_CENTRE / LENGTH_SCALE
    return standard
