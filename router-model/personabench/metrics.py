"""How good a router's choices were, with intervals. Letters: U users, R evaluated queries, B bootstrap replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

REPLICATES = 500
LEVEL = 0.95
TOLERANCE = 0.01  # utility; a user worse off by less can't tell


@dataclass(frozen=True)
class Resampling:
    """Bootstrap weights over users and queries at once; row 0 is the sample itself."""

    users: Doubles
    """[B + 1, U]"""
    queries: Doubles
    """[B + 1, R]"""

    def sum(self, values: Floats) -> Doubles:
        """Weighted sums [B + 1] of values [U, R]."""
        return np.asarray((self.users * (self.queries @ values.T.astype(np.float64))).sum(1))


def resample(users: int, queries: int, user_seed: int, query_seed: int, replicates: int = REPLICATES) -> Resampling:
    """Multinomial weights. Episodes that share a query seed resample the same queries, so their sums may be added."""
    made = []
    for n, seed in ((users, user_seed), (queries, query_seed)):
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)
        made.append(np.vstack([np.ones((1, n)), drawn]).astype(np.float64))
    return Resampling(made[0], made[1])


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is positive."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval is negative."""
        return self.high < 0


def interval(replicates: Doubles, level: float = LEVEL) -> Interval:
    """From replicates [B + 1] whose first is the estimate (percentile interval)."""
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(replicates[1:], [tail, 100 - tail])
    return Interval(float(replicates[0]), float(low), float(high))


@dataclass(frozen=True)
class Gain:
    """Sums of utility above the best single LLM, by replicate [B + 1]; they add up over seeds and pools."""

    gained: Doubles
    possible: Doubles

    @property
    def gap_closed(self) -> Doubles:
        """[B + 1]: 0 = best single LLM for the population, 1 = the best answer to each query for each user."""
        return self.gained / self.possible

    def __add__(self, other: Gain) -> Gain:
        """Of two episodes together."""
        return Gain(self.gained + other.gained, self.possible + other.possible)


def gain(chosen: Floats, single: Floats, oracle: Floats, counted: Bools, resampling: Resampling) -> Gain:
    """From utilities [U, R] of the choices, of the best single LLM and of the oracle; only `counted` [U, R] count."""
    zero = np.float32(0)
    gained = resampling.sum(np.where(counted, chosen - single, zero))
    possible = resampling.sum(np.where(counted, oracle - single, zero))
    return Gain(gained, possible)


def difference(a: Sequence[Gain], b: Sequence[Gain]) -> Interval:
    """Gap closed by a minus that by b, over the same episodes, paired."""
    return interval(total(a).gap_closed - total(b).gap_closed)


def total(gains: Sequence[Gain]) -> Gain:
    """Sum over episodes. Raises `ValueError` for none."""
    if not gains:
        raise ValueError("no episode to add up")
    result = gains[0]
    for further in gains[1:]:
        result = result + further
    return result


def share_worse_off(chosen: Floats, single: Floats, counted: Bools, tolerance: float = TOLERANCE) -> float:
    """Share of users whose mean utility is lower than with the best single LLM.

    Lower means: by more than they could tell, and by more than 1.645 standard errors over the user's queries, so that
    luck with few queries doesn't count.
    """
    n = np.maximum(counted.sum(1), 2)
    apart = np.where(counted, chosen - single, 0)
    mean = apart.sum(1) / n
    variance = (np.where(counted, (apart - mean[:, None]) ** 2, 0)).sum(1) / (n - 1)
    return float((mean < -np.maximum(tolerance, 1.645 * np.sqrt(variance / n))).mean())


def expected_calibration_error(predicted: Floats, observed: Floats, bins: int = 15) -> float:
    """Mean |predicted - observed| over bins of equally many predictions, in the unit of both."""
    order = np.argsort(predicted, axis=None, kind="stable")
    p, o = predicted.ravel()[order], observed.ravel()[order]
    parts = [part for part in np.array_split(np.arange(len(p)), bins) if len(part)]
    return float(sum(len(part) * abs(p[part].mean() - o[part].mean()) for part in parts) / len(p))


def coverage(mean: Floats, std: Floats, observed: Floats, level: float = 0.9) -> float:
    """Share of observations within the central interval of a normal prediction; `level` if calibrated."""
    z = {0.5: 0.6745, 0.8: 1.2816, 0.9: 1.6449, 0.95: 1.96}[level]
    return float((np.abs(observed - mean) <= z * std).mean())


@dataclass(frozen=True)
class Tradeoff:
    """Worth of quality predictions without any user: accuracy against dollars."""

    performance_gain: float
    """Accuracy of always the LLM of highest predicted quality, relative to the best single LLM's, minus 1."""
    cost_saving: float
    """Share of the best single LLM's dollars saved by the cheapest trade-off that is no less accurate; 0 if none."""


def tradeoff(predicted: Floats, predicted_cost: Floats, quality: Floats, cost: Floats, best: int) -> Tradeoff:
    """All [R, M]; `best` is the LLM of highest accuracy on train (as in LLMRouterBench, arXiv 2601.07206)."""
    rows = np.arange(len(quality))
    reference, dollars = float(quality[:, best].mean()), float(cost[:, best].mean())
    performance = float(quality[rows, predicted.argmax(1)].mean()) / reference - 1
    saving = 0.0
    for weight in np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 60)]):
        chosen = (predicted - weight * np.log10(np.maximum(predicted_cost, 1e-9))).argmax(1)
        if quality[rows, chosen].mean() >= reference:
            saving = max(saving, 1 - float(cost[rows, chosen].mean()) / dollars)
    return Tradeoff(performance, saving)
