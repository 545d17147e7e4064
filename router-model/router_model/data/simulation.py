"""Logs of simulated users' requests: user, query, LLM that answered, reward.

Letters: U users, Q queries of the pool, M LLMs, N requests of a user, D query features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from router_model.data.pools import Pool
from router_model.data.population import TRAIN, VALIDATION, Population, generator

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Feedback = Literal["dense", "thumbs", "sparse", "retries"]
FEEDBACKS: tuple[Feedback, ...] = ("dense", "thumbs", "sparse", "retries")

RATING_NOISE = 0.15
THUMB_SHARPNESS = 4.0
SPARSE_RATE = 0.1
INVERTED = 0.2  # share of an adversarial rater's rewards that say the opposite
SATISFIED = 0.9  # share of thumbs up that mostly satisfied raters give
UNIFORM_SHARE = 0.3  # of a logging policy
TEMPERATURE = 0.1  # of the rest of it, a softmax


@dataclass(frozen=True)
class History:
    """N requests of each of U users, as a gateway logs them. All [U, N] but `users`."""

    users: Ints
    """[U], into the population."""
    query: Ints
    """Row of the pool."""
    llm: Ints
    """Column of the pool."""
    reward: Floats
    """[-1, 1]; 0 where the user said nothing."""
    rated: Bools
    kind: Feedback
    cost_usd: Floats
    completion_tokens: Floats
    """NaN = not known."""
    propensity: Floats
    """Probability with which the logging policy chose `llm`."""

    @property
    def kind_name(self) -> str:
        """Kind of the rewards in the artifact's words."""
        return {"dense": "rating", "retries": "regeneration"}.get(self.kind, "thumb")

    def first(self, n: int) -> History:
        """The first n requests of every user."""
        return replace(self, **{name: getattr(self, name)[:, :n] for name in _BY_REQUEST})

    def last(self, n: int) -> History:
        """The last n requests of every user."""
        return replace(self, **{name: getattr(self, name)[:, self.query.shape[1] - n :] for name in _BY_REQUEST})

    def reordered(self, order: Ints) -> History:
        """Each user's requests in another order [U, N]."""
        parts: dict[str, Any] = {name: np.take_along_axis(getattr(self, name), order, 1) for name in _BY_REQUEST}
        return replace(self, **parts)

    def of(self, index: Ints) -> History:
        """Some of the users, by position."""
        return replace(self, **{name: getattr(self, name)[index] for name in ("users", *_BY_REQUEST)})


_BY_REQUEST = ("query", "llm", "reward", "rated", "cost_usd", "completion_tokens", "propensity")


def sigmoid(x: Floats) -> Floats:
    """Logistic function."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), dtype=np.float32)


def rate(population: Population, utility: Floats, feedback: Feedback, rng: np.random.Generator) -> tuple[Floats, Bools]:
    """Rewards [U, N] that users give for answers of that utility, and who gave one."""
    shift = getattr(population, "shift", "none")
    noisy = utility + RATING_NOISE * rng.standard_normal(utility.shape)
    if feedback == "dense":
        reward = np.clip(noisy + (0.5 if shift == "satisfied" else 0.0), -1, 1)
    else:
        lift = satisfied_lift(utility) if shift == "satisfied" else 0.0
        reward = np.where(rng.random(utility.shape) < sigmoid(THUMB_SHARPNESS * (utility + lift)), 1.0, -1.0)
    if feedback == "retries":  # who is content says nothing; a thumb down is what the others would have given
        rated = np.asarray(reward < 0)
        return np.where(rated, reward, 0.0).astype(np.float32), rated
    if shift == "adversarial":
        reward = np.where(rng.random(utility.shape) < INVERTED, -reward, reward)
    rated = rng.random(utility.shape) < SPARSE_RATE if feedback == "sparse" else np.ones(utility.shape, dtype=np.bool_)
    return np.where(rated, reward, 0.0).astype(np.float32), rated


def satisfied_lift(utility: Floats) -> float:
    """Offset to utilities that makes 90 % of thumbs go up."""
    low, high = -3.0, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        up = float(sigmoid(THUMB_SHARPNESS * (utility + middle)).mean())
        low, high = (middle, high) if up < SATISFIED else (low, middle)
    return low


@dataclass(frozen=True)
class LoggingPolicy:
    """The router that was live while the log was written: 70 % softmax of a population model, 30 % uniform.

    The model is a ridge regression of rewards on query features for each LLM, learned from an earlier, uniformly
    explored log: it knows no true mean.
    """

    coefficients: Floats
    """[M, D]"""

    @staticmethod
    def learn(log: History, features: Floats, llms: int, ridge: float = 10.0) -> LoggingPolicy:
        """From an earlier log; `features` [Q, D] of the pool's queries, the first being 1."""
        rated = log.rated.ravel()
        x = features[log.query.ravel()[rated]]
        y = log.reward.ravel()[rated]
        chosen = log.llm.ravel()[rated]
        mean = float(y.mean()) if len(y) else 0.0
        coefficients = np.zeros((llms, features.shape[1]))
        for llm in range(llms):
            mine = x[chosen == llm]
            gram = mine.T @ mine + ridge * np.eye(x.shape[1])
            coefficients[llm] = np.linalg.solve(gram, mine.T @ (y[chosen == llm] - mean))
        return LoggingPolicy(coefficients.astype(np.float32))

    def propensities(self, features: Floats) -> Floats:
        """[Q, M], rows sum to 1."""
        score = features @ self.coefficients.T / TEMPERATURE
        weight = np.exp(score - score.max(-1, keepdims=True))
        softmax = weight / weight.sum(-1, keepdims=True)
        mixed = (1 - UNIFORM_SHARE) * softmax + UNIFORM_SHARE / score.shape[-1]
        return np.asarray(mixed, dtype=np.float32)


def simulate_history(
    population: Population,
    users: Ints,
    pool: Pool,
    rows: Ints,
    propensities: Floats,
    requests: int,
    feedback: Feedback,
    rng: np.random.Generator,
) -> History:
    """Requests of users under a policy. `rows` [n] or [U, n]: queries to draw from, again only when all were asked;
    `propensities` [Q, M] of the whole pool.
    """
    choices = np.broadcast_to(rows, (len(users), rows.shape[-1]))
    rounds = max(1, -(-requests // choices.shape[1]))
    asked = np.concatenate([rng.permuted(choices, axis=1) for _ in range(rounds)], axis=1)[:, :requests]
    cumulative = np.cumsum(propensities[asked].astype(np.float64), -1)
    llm = (rng.random((*asked.shape, 1)) > cumulative / cumulative[..., -1:]).sum(-1)
    utility = population.utility_at(users, pool, asked, llm, np.arange(requests))
    reward, rated = rate(population, utility, feedback, rng)
    return History(
        users=users,
        query=asked,
        llm=llm,
        reward=reward,
        rated=rated,
        kind=feedback,
        cost_usd=pool.cost_usd()[asked, llm],
        completion_tokens=pool.completion_tokens[asked, llm],
        propensity=propensities[asked, llm],
    )


@dataclass(frozen=True)
class TrainingLog:
    """The log of a deployed router: its training users and its validation users."""

    train: History
    validation: History
    policy: LoggingPolicy
    propensities: Floats
    """[Q, M] of the logging policy on every query of the pool."""
    fresh: History
    """Training users on validation folds: what a tenant's log is to an artifact, questions that training never saw."""


def simulate_log(
    population: Population, pool: Pool, features: Floats, feedback: Feedback, seed: int, requests: int = 100
) -> TrainingLog:
    """Logs of train users on train folds and of validation users on validation folds, by a policy with a past.

    `features` [Q, D] of the queries, the first being 1, are all that the logging policy reads of a query.
    """
    rng = generator(seed, "log", pool.name, feedback)
    train = np.flatnonzero(population.split == TRAIN)
    validation = np.flatnonzero(population.split == VALIDATION)
    uniform = np.full(pool.quality.shape, 1 / len(pool.cards), dtype=np.float32)
    rows = pool.rows(pool.folds.train)
    earlier = simulate_history(population, train, pool, rows, uniform, 30, feedback, rng)
    policy = LoggingPolicy.learn(earlier, features, len(pool.cards))
    propensities = policy.propensities(features)
    known = simulate_history(population, train, pool, rows, propensities, requests, feedback, rng)
    unseen = pool.rows(pool.folds.validation)
    checked = simulate_history(population, validation, pool, unseen, propensities, requests, feedback, rng)
    fresh = simulate_history(population, train, pool, unseen, propensities, requests, feedback, rng)
    return TrainingLog(known, checked, policy, propensities, fresh)
