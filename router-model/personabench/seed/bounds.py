"""What could be won: routers that are told what a user wants, some of it or all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personabench.bench.borrowed_heads import borrow
from personabench.bench.contestant import Kind, Known
from router_model.collect.strategies import CostEfficiencyPopulation
from router_model.data.pools import Pool
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class OwnBest:
    """For each user the LLM that would have been best on the train folds: all that a fixed choice can win."""

    name = "own best fixed LLM, a told"
    kind: Kind = "bound"

    def tell(self, population: CostEfficiencyPopulation, pool: Pool) -> None:
        """True tastes and outcomes."""
        self.population, self.pool = population, pool

    def fit(self, known: Known) -> None:
        """Remember the train folds."""
        self.train = known.train

    def scores(self, rows: Ints, history: History) -> Floats:
        """Mean utility on the train folds [U, R, M], whatever the query."""
        mean = self.population.utility(history.users, self.pool, self.train).mean(1)
        return np.broadcast_to(mean[:, None], (len(mean), len(rows), mean.shape[1]))


class Told:
    """Each user's a and the true cost, with predicted quality: the ceiling of a router that reads queries so."""

    kind: Kind = "bound"

    def __init__(self, artifact: Path | None = None) -> None:
        """Quality as the artifact predicts it, or by the shared heads."""
        self.artifact = artifact
        self.name = f"a and cost told, {'the graph' if artifact else 'shared heads'}'s quality"

    def tell(self, population: CostEfficiencyPopulation, pool: Pool) -> None:
        """True tastes and costs."""
        self.population, self.cost = population, population.cost(pool)

    def fit(self, known: Known) -> None:
        """Predictions of quality."""
        self.quality = (borrow(known, self.artifact) if self.artifact else known).heads.quality

    def scores(self, rows: Ints, history: History) -> Floats:
        """Reward [U, R, M] of the predicted answers."""
        a = self.population.weight[history.users][:, None, None]
        return np.asarray(a * self.quality[rows] - (1 - a) * self.cost[rows], dtype=np.float32)


class Oracle:
    """The best answer to each question for each user."""

    name = "oracle"
    kind: Kind = "bound"

    def tell(self, population: CostEfficiencyPopulation, pool: Pool) -> None:
        """True tastes and outcomes."""
        self.population, self.pool = population, pool

    def fit(self, known: Known) -> None:
        """Nothing to learn."""

    def scores(self, rows: Ints, history: History) -> Floats:
        """True utility [U, R, M]."""
        return self.population.utility(history.users, self.pool, rows)
