"""LinUCB (Li et al. 2010) and Thompson sampling (Agrawal & Goyal 2013), a linear model for each user on its own.

No user learns from another one; all start at the average taste. Exploration matters only where choices make the history
(see `bench.regret`); on a logged history both are the same ridge regression.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personabench.baselines.population_taste import average_taste
from personabench.baselines.preferences import Preferences
from personabench.bench.contestant import Kind, Known
from personabench.bench.live import drawn
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Doubles = NDArray[np.float64]


class PerUserLinear:
    """Ridge regression on the features phi, towards the average taste."""

    kind: Kind = "personal"

    def __init__(self, name: str = "LinUCB / Thompson, per user", ridge: float = 8.0) -> None:
        """`ridge`: strength of the pull towards the average taste, in rewards; tuned on validation."""
        self.name = name
        self.ridge = ridge

    def fit(self, known: Known) -> None:
        """Where all users start, and how noisy rewards are."""
        self.preferences = Preferences.of(known)
        self.start = np.zeros(self.preferences.size)
        taste, liking = average_taste(known)
        self.start[:4] = taste
        self.start[self.preferences.llm_columns] = liking
        log = known.log.train
        residual = log.reward - self.preferences.edges(log) @ self.start
        self.noise = float(np.sqrt((residual[log.rated] ** 2).mean()))

    def belief(self, history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean [U, K] and covariance [U, K, K] of each user's weights."""
        phi = self.preferences.edges(history).astype(np.float64) * history.rated[..., None]
        gram = np.swapaxes(phi, 1, 2) @ phi + self.ridge * np.eye(phi.shape[-1])
        information = (phi * history.reward[..., None]).sum(1) + self.ridge * self.start
        covariance = np.linalg.inv(gram)
        mean = (covariance @ information[..., None])[..., 0]
        return mean.astype(np.float64), (self.noise**2 * covariance).astype(np.float64)

    def begin(self, users: int) -> BanditSession:
        """New users at the average taste."""
        return BanditSession(self, users)

    def scores(self, rows: Ints, history: History) -> Floats:
        """Reward [U, R, M] by each user's ridge regression."""
        grid = self.preferences.grid(rows)
        mean, _ = self.belief(history)
        flat = mean.astype(np.float32) @ grid.reshape(-1, grid.shape[-1]).T
        return np.asarray(flat.reshape(len(mean), *grid.shape[:2]), dtype=np.float32)


class BanditSession:
    """Inverse gram matrix and information of U users, updated by the formula of Sherman & Morrison."""

    def __init__(self, bandit: PerUserLinear, users: int) -> None:
        """All users start at the average taste."""
        self.preferences, self.noise = bandit.preferences, bandit.noise
        k = self.preferences.size
        self.inverse: Doubles = np.broadcast_to(np.eye(k) / bandit.ridge, (users, k, k)).copy()
        self.information: Doubles = np.broadcast_to(bandit.ridge * bandit.start, (users, k)).copy()

    def expect(self, rows: Ints) -> tuple[Floats, Floats]:
        """Mean and deviation [U, M] by each user's ridge regression."""
        phi = self.preferences.grid(rows).astype(np.float64)
        weights = (self.inverse @ self.information[..., None])[..., 0]
        mean = (phi @ weights[..., None])[..., 0]
        variance = ((phi @ self.inverse) * phi).sum(-1)
        return mean.astype(np.float32), (self.noise * np.sqrt(np.maximum(variance, 0))).astype(np.float32)

    def draw(self, rows: Ints, width: float, rng: np.random.Generator) -> Floats:
        """Mean [U, M] under weights drawn around the estimated ones."""
        mean = (self.inverse @ self.information[..., None])[..., 0]
        weights = drawn(mean, self.noise**2 * self.inverse, width, rng)
        return np.asarray((self.preferences.grid(rows) @ weights[..., None])[..., 0], dtype=np.float32)

    def observe(self, rows: Ints, llm: Ints, reward: Floats, rated: Bools, cost_usd: Floats, tokens: Floats) -> None:
        """One rank-one update of each user's inverse gram matrix."""
        phi = self.preferences.answered(rows, llm, cost_usd, tokens).astype(np.float64) * rated[:, None]
        moved = (self.inverse @ phi[..., None])[..., 0]
        scale = 1 + (phi * moved).sum(-1)
        self.inverse -= moved[:, :, None] * moved[:, None, :] / scale[:, None, None]
        self.information += phi * reward[:, None]
