"""Routers without learning, and bounds that are told what no router can know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from personabench.baselines.belief import BeliefConfig, Evidence, MixtureBelief
from personabench.bench.contestant import Kind, Known
from router_model.data.pools import Pool
from router_model.data.population import (
    PERSONAS,
    TRAIN,
    Population,
    SimulatedPopulation,
    cost_units,
    length_units,
    simulate,
)
from router_model.data.simulation import RATING_NOISE, THUMB_SHARPNESS, History

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Random:
    """A random LLM."""

    name = "random"
    kind: Kind = "reference"

    def fit(self, known: Known) -> None:
        """Remember the shape."""
        self.known = known

    def scores(self, rows: Ints, history: History) -> Floats:
        """Random numbers [U, R, M], the same for the same seed."""
        rng = np.random.default_rng(self.known.seed)
        return rng.random((len(history.users), len(rows), len(self.known.pool.cards)), dtype=np.float32)


class Cheapest:
    """The LLM whose answer is predicted to cost least."""

    name = "cheapest"
    kind: Kind = "reference"

    def fit(self, known: Known) -> None:
        """Remember predicted costs."""
        self.cost = known.heads.cost_usd

    def scores(self, rows: Ints, history: History) -> Floats:
        """The less dear, the higher: [U, R, M], alike for all users."""
        return np.broadcast_to(-np.log(self.cost[rows]), (len(history.users), *self.cost[rows].shape))


class BestSingle:
    """The LLM that training users would have liked most on average: 0 by definition."""

    name = "best single"
    kind: Kind = "reference"

    def fit(self, known: Known) -> None:
        """Remember it."""
        self.score = np.eye(len(known.pool.cards), dtype=np.float32)[known.best_single]

    def scores(self, rows: Ints, history: History) -> Floats:
        """1 for that LLM, 0 for all others: [U, R, M]."""
        return np.broadcast_to(self.score, (len(history.users), len(rows), len(self.score)))


class BestPerTask:
    """The LLM that training users would have liked most on the query's predicted task."""

    name = "best per task"
    kind: Kind = "reference"

    def tell(self, population: Population, pool: Pool) -> None:
        """Keep the population, for its training users' utilities."""
        self.population, self.pool = population, pool

    def fit(self, known: Known) -> None:
        """Mean utility of training users by task."""
        heads = known.heads
        users = np.flatnonzero(self.population.split == TRAIN)[::4]
        utility = self.population.utility(users, self.pool, known.train).mean(0)
        by_task = [utility[self.pool.task[known.train] == task].mean(0) for task in heads.tasks]
        self.score = np.stack(by_task)[heads.task.argmax(1)]

    def scores(self, rows: Ints, history: History) -> Floats:
        """Mean utility by the query's likeliest task: [U, R, M], alike for all users."""
        return np.broadcast_to(self.score[rows], (len(history.users), *self.score[rows].shape))


class BestSingleInHindsight:
    """For each user the one LLM that would have been best on the judged queries."""

    name = "best single per user, in hindsight"
    kind: Kind = "bound"

    def fit(self, known: Known) -> None:
        """Nothing to learn."""

    def see(self, utility: Floats, counted: Bools) -> None:
        """Sum each LLM's true utility over the judged queries."""
        self.score = np.where(counted[..., None], utility, 0).sum(1, keepdims=True)

    def scores(self, rows: Ints, history: History) -> Floats:
        """These sums [U, R, M], whatever the query."""
        return np.broadcast_to(self.score, (len(history.users), len(rows), self.score.shape[-1]))


class TrueTastes:
    """True tastes applied to predicted quality, cost and length: the rest can't be read from the query yet."""

    name = "true tastes, predicted quality"
    kind: Kind = "bound"

    def tell(self, population: Population, pool: Pool) -> None:
        """Keep the true population."""
        self.population, self.pool = population, pool

    def fit(self, known: Known) -> None:
        """Replace outcomes by predictions."""
        self.pool = replace(self.pool, quality=known.heads.quality, completion_tokens=known.heads.completion_tokens)

    def scores(self, rows: Ints, history: History) -> Floats:
        """True utility [U, R, M] of the predicted answers."""
        return self.population.utility(history.users, self.pool, rows, history.query.shape[1])


class TruePopulation:
    """Bayes with the true population as prior, and true tasks: what histories can tell at most.

    Exact but for the mixture's components being Gaussian, and for thumbs the quadratic bound.
    """

    name = "Bayes with the true population"
    kind: Kind = "bound"

    def tell(self, population: Population, pool: Pool) -> None:
        """Keep the true population and its tasks."""
        self.population, self.pool = population, pool

    def fit(self, known: Known) -> None:
        """Moments of many users of the true population, by persona and by whether tasks matter to them."""
        if not isinstance(self.population, SimulatedPopulation):
            raise ValueError("this bound needs a population of the generator")
        self.heads = known.heads
        self.tasks = np.unique(self.pool.task)
        many = simulate(self.population.seed, 20_000)
        users = np.arange(self.population.users, many.users)
        weights = many.true_weights(users, self.tasks.tolist())
        flat = np.concatenate([weights.reshape(len(users), -1), many.true_liking(users, self.pool.cards)], 1)
        group = 2 * many.now.persona[users] + (many.now.task_spread[users] > 0)
        logistic = known.log.train.kind != "dense"
        scale = THUMB_SHARPNESS if logistic else 1.0
        doubt = float((weights[..., 0] ** 2).mean()) / RATING_NOISE**2
        self.doubt = 0.0 if logistic else doubt
        belief = MixtureBelief(BeliefConfig("logistic" if logistic else "linear"))
        belief.noise = RATING_NOISE**2
        parts = [torch.as_tensor(scale * flat[group == g], dtype=torch.float64) for g in range(2 * len(PERSONAS))]
        belief.log_weight = torch.tensor([len(part) / len(users) for part in parts], dtype=torch.float64).log()
        belief.mean = torch.stack([part.mean(0) for part in parts])
        ridge = 1e-6 * torch.eye(flat.shape[1], dtype=torch.float64)
        belief.covariance = torch.stack([torch.cov(part.T) + ridge for part in parts])
        self.belief = belief

    def scores(self, rows: Ints, history: History) -> Floats:
        """Utility [U, R, M] expected under each user's posterior."""
        heads = self.heads
        cost, length = cost_units(heads.cost_usd), length_units(heads.completion_tokens)
        grid = self._phi(rows[:, None], np.arange(cost.shape[1])[None], cost[rows], length[rows])
        edges = self._phi(
            history.query, history.llm, cost_units(history.cost_usd), length_units(history.completion_tokens)
        )
        quality = heads.quality[history.query, history.llm]
        weight = history.rated / (1 + self.doubt * 4 * quality * (1 - quality))
        arrays = (edges, history.reward, weight)
        posterior = self.belief.posterior(Evidence(*(torch.as_tensor(a, dtype=torch.float64) for a in arrays)))
        mean = posterior.expectation().numpy().astype(np.float32)
        return np.asarray((mean @ grid.reshape(-1, grid.shape[-1]).T).reshape(len(mean), *grid.shape[:2]))

    def _phi(self, query: Ints, llm: Ints, cost: Floats, length: Floats) -> Floats:
        quality = 2 * self.heads.quality[query, llm] - 1
        task = (self.pool.task[query][..., None] == self.tasks).astype(np.float32)
        basic = np.stack([quality, -cost, length], -1)
        by_task = (task[..., :, None] * basic[..., None, :]).reshape(*basic.shape[:-1], 3 * len(self.tasks))
        one_hot = np.broadcast_to(
            np.eye(len(self.pool.cards), dtype=np.float32)[llm], (*basic.shape[:-1], len(self.pool.cards))
        )
        return np.concatenate([by_task, one_hot], -1)
