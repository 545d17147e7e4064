"""Scores of the same questions for many users, from few runs of a scoring graph.

A graph router's score is affine in the mean of a user's state, and its variances are linear in the covariance
(`Router.score`). So what the graph says of the states 0 and e_1 .. e_K gives the features of every answer; all users'
scores are matrix products then. Letters: U users, n questions, M LLMs, K weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router_model.network import LEAST_VARIANCE

Floats = NDArray[np.float32]
Run = Callable[[Floats], Mapping[str, Floats]]
"""Outputs of the scoring graph for the same questions, each with a state [n, S]."""

NEAR = 2e-4  # of the scale of rewards


@dataclass(frozen=True)
class Scores:
    """What a scoring graph makes of any state of a graph router."""

    level: Floats
    """[n, M]: means of a user who likes nothing."""
    phi: Floats
    """[n, M, K]"""
    favourite: int
    """Whom `apart` is counted from."""

    def means(self, states: Floats) -> Floats:
        """[U, n, M]."""
        n, llms, k = self.phi.shape
        flat = states[:, :k] @ self.phi.reshape(-1, k).T
        return np.asarray(flat.reshape(-1, n, llms) + self.level, dtype=np.float32)

    def deviations(self, states: Floats) -> Floats:
        """[U, n, M]: `std`."""
        return self._spread(self.phi, states)

    def aparts(self, states: Floats) -> Floats:
        """[U, n, M]: deviation of the difference to the favourite."""
        return self._spread(self.phi - self.phi[:, self.favourite, None], states)

    def _spread(self, x: Floats, states: Floats) -> Floats:
        n, llms, k = x.shape
        flat, made = x.reshape(-1, k), np.empty((len(states), n, llms), dtype=np.float32)
        for row, state in zip(made, states, strict=True):
            variance = ((flat @ state[k:].reshape(k, k)) * flat).sum(1)
            row[:] = np.sqrt(np.maximum(variance, LEAST_VARIANCE)).reshape(n, llms)
        return made


def probe(run: Run, size: int, favourite: int, known: Floats) -> Scores | None:
    """From 1 + K runs; None where the graph isn't a graph router's: it says otherwise of the state `known` [S]."""
    k = (math.isqrt(1 + 4 * size) - 1) // 2
    if k * (k + 1) != size:
        return None
    states = np.zeros((1 + k, size), dtype=np.float32)
    states[1:, :k] = np.eye(k, dtype=np.float32)
    level, *others = (run(state)["mean"] for state in states)
    made = Scores(level, np.stack([other - level for other in others], -1), favourite)
    out = run(known)
    pairs = [(made.means, "mean"), (made.deviations, "std"), *([(made.aparts, "apart")] if "apart" in out else [])]
    return made if all(np.abs(of(known[None])[0] - out[name]).max() < NEAR for of, name in pairs) else None
