"""Confidence intervals that know that one user's rewards hang together.

Rows are summed by user, the ratio of sums is linearised, and the spread of the users' sums gives a t interval with
(users - 1) degrees of freedom: the sandwich estimator of Liang & Zeger 1986, in the form of Cameron & Miller 2015.
A bootstrap over rows, the usual thing, is too narrow wherever users differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from router_model.retrain.ope.estimators import Terms
from router_model.retrain.ope.sample import Ints


@dataclass(frozen=True)
class Estimate:
    """A value and its interval. `users` is what the width depends on, more than `rows`."""

    value: float
    low: float
    high: float
    rows: int
    users: int

    def as_dict(self) -> dict[str, float]:
        """For metrics.json."""
        return {"value": self.value, "low": self.low, "high": self.high, "rows": self.rows, "users": self.users}


def estimate(terms: Terms, cluster: Ints, level: float = 0.95) -> Estimate:
    """Two-sided interval of `level`. With a single user nothing is known of the spread: the interval is infinite."""
    value = terms.value
    users, index = np.unique(cluster, return_inverse=True)
    groups = len(users)
    if groups < 2:
        return Estimate(value, -np.inf, np.inf, len(cluster), groups)
    sums = np.bincount(index, terms.numerator - value * terms.denominator, minlength=groups)
    error = np.sqrt(groups / (groups - 1) * float(sums @ sums)) / float(terms.denominator.sum())
    reach = float(stats.t.ppf(0.5 + level / 2, groups - 1)) * error
    return Estimate(value, value - reach, value + reach, len(cluster), groups)


def difference(new: Terms, old: Terms, cluster: Ints, level: float = 0.95) -> Estimate:
    """Interval of `new` - `old` on the same rows: what both share cancels. Only where denominators are one."""
    if not (new.denominator == 1).all() or not (old.denominator == 1).all():
        raise ValueError("a paired difference needs estimators that are plain means")
    return estimate(Terms(new.numerator - old.numerator, new.denominator), cluster, level)
