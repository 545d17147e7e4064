"""The gateway's choice from given scores: the same rule as `choose.ts`, on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Gamma:
    """`router.gamma` of the configuration: how greedy, by the user's rewards so far."""

    base: float = 80.0
    per_reward: float = 8.0


def greedy(worth: Doubles, candidate: Bools) -> Doubles:
    """Probability one for the first of the best candidates: [n, M] from worth [n, M]."""
    best = np.where(candidate, worth, -np.inf).argmax(1)
    chosen = np.zeros_like(worth)
    chosen[np.arange(len(worth)), best] = 1.0
    return chosen


def inverse_gap(worth: Doubles, candidate: Bools, explored: Bools, rewards: NDArray[np.int64], gamma: Gamma) -> Doubles:
    """Inverse gap weighting (SquareCB, Foster & Rakhlin 2020, arXiv 2002.04926): [n, M].

    `candidate`: passed the filters; `explored`: may be chosen without being best. p = 1 / (K (1 + gamma gap)) over the
    K open candidates, the rest to the best.
    """
    best = greedy(worth, candidate)
    is_best = best > 0
    is_open = candidate & (explored | is_best)
    arms = is_open.sum(1, keepdims=True)
    top = np.where(candidate, worth, -np.inf).max(1, keepdims=True)
    gap = np.where(is_open, top - worth, 0.0)
    greed = (gamma.base + gamma.per_reward * rewards)[:, None]
    chances = np.where(is_open & ~is_best, 1 / (arms * (1 + greed * gap)), 0.0)
    chances[is_best] = 1 - chances.sum(1)
    return chances
