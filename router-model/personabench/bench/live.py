"""Live regret: the router's own choices make the history, 200 requests of each test user, one at a time.

Letters: U users, M LLMs, K features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from personabench.bench.episode import Judgement
from personabench.metrics import Interval, interval
from router_model.data.simulation import rate
from router_model.retrain.policy import Gamma, inverse_gap

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REQUESTS = 200
Policy = Literal["ucb", "thompson", "inverse gap", "greedy"]


class Session(Protocol):
    """Beliefs of a contestant about U users while they use it."""

    def expect(self, rows: Ints) -> tuple[Floats, Floats]:
        """Mean and standard deviation [U, M] of the reward of each LLM on each user's next query `rows` [U]."""

    def draw(self, rows: Ints, width: float, rng: np.random.Generator) -> Floats:
        """The same mean [U, M] if weights drawn from each user's posterior, its deviations times `width`, were true."""

    def observe(self, rows: Ints, llm: Ints, reward: Floats, rated: Bools, cost_usd: Floats, tokens: Floats) -> None:
        """Takes in the outcome of that query; all [U]. NaN tokens = not known."""


@runtime_checkable
class Learner(Protocol):
    """A contestant that can be live."""

    def begin(self, users: int) -> Session:
        """New users without a history."""


@dataclass(frozen=True)
class Exploration:
    """How a choice is made from means and deviations; settings tuned on validation users."""

    policy: Policy
    width: float = 1.0
    """Deviations added (ucb), or factor on those of the drawn weights (thompson)."""
    base: float = 80.0
    per_reward: float = 8.0
    """Inverse gap: the gateway's `Gamma`."""


def explore(session: Session, rows: Ints, exploration: Exploration, step: int, rng: np.random.Generator) -> Ints:
    """LLM [U] for each user's next query `rows` [U]."""
    if exploration.policy == "thompson":
        return best_of(session.draw(rows, exploration.width, rng))
    mean, std = session.expect(rows)
    if exploration.policy == "greedy":
        return best_of(mean)
    if exploration.policy == "ucb":
        return best_of(mean + exploration.width * std)
    every, gamma = np.ones(mean.shape, dtype=np.bool_), Gamma(exploration.base, exploration.per_reward)
    propensity = inverse_gap(mean.astype(np.float64), every, every, np.full(len(mean), step), gamma)
    draw = rng.random((len(mean), 1))
    return np.asarray(np.minimum((draw > np.cumsum(propensity, 1)).sum(1), mean.shape[1] - 1), dtype=np.int64)


def best_of(scores: Floats) -> Ints:
    """The highest of each row."""
    return np.asarray(scores.argmax(1), dtype=np.int64)


@dataclass(frozen=True)
class Regret:
    """Utility missed by each user, request by request: [U, N]."""

    missed: Floats

    @property
    def curve(self) -> Doubles:
        """[N]: cumulative, mean over users."""
        return np.asarray(np.cumsum(self.missed.mean(0, dtype=np.float64)), dtype=np.float64)

    @property
    def by_user(self) -> Doubles:
        """[U]: total."""
        return np.asarray(self.missed.sum(1, dtype=np.float64), dtype=np.float64)


def live(
    judgement: Judgement, learner: Learner, exploration: Exploration, seed: int, requests: int = REQUESTS
) -> Regret:
    """Serve every user of a judgement, from nothing. The same seed asks the same queries, whatever the learner."""
    asked_rng, rng = np.random.default_rng((seed, 1)), np.random.default_rng((seed, 2))
    pool, users = judgement.pool, judgement.users
    rounds = -(-requests // len(judgement.rows))
    order = [asked_rng.permuted(np.tile(judgement.rows, (len(users), 1)), axis=1) for _ in range(rounds)]
    asked = np.concatenate(order, axis=1)[:, :requests]
    session = learner.begin(len(users))
    cost = pool.cost_usd()
    who = np.arange(len(users))
    place = {int(row): i for i, row in enumerate(judgement.rows)}
    utility = judgement.utility(0)
    missed = np.zeros((len(users), requests), dtype=np.float32)
    for step in range(requests):
        rows = asked[:, step]
        llm = explore(session, rows, exploration, step, rng)
        worth = utility[who, np.array([place[int(row)] for row in rows])]
        got = worth[who, llm]
        missed[:, step] = worth.max(1) - got
        reward, rated = rate(judgement.population, got[:, None], judgement.history.kind, rng)
        session.observe(rows, llm, reward[:, 0], rated[:, 0], cost[rows, llm], pool.completion_tokens[rows, llm])
    return Regret(missed)


def ratio(a: Regret, b: Regret, seed: int = 0, replicates: int = 500) -> Interval:
    """Total regret of a over that of b, with a bootstrap over the users that both served."""
    n = len(a.by_user)
    weight = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)
    weights = np.vstack([np.ones((1, n)), weight])
    return interval((weights @ a.by_user) / (weights @ b.by_user))


def tune(
    judgement: Judgement, learner: Learner, options: list[Exploration], seed: int, requests: int = REQUESTS
) -> Exploration:
    """The exploration with the least regret on validation users."""
    totals: list[float] = [float(live(judgement, learner, option, seed, requests).curve[-1]) for option in options]
    return options[int(np.argmin(totals))]


WIDTHS = (0.0, 0.1, 0.3, 1.0)
OPTIONS: dict[str, Callable[[], list[Exploration]]] = {
    "ucb": lambda: [Exploration("ucb", width) for width in WIDTHS],
    "thompson": lambda: [Exploration("thompson", width) for width in WIDTHS],
    "inverse gap": lambda: [
        Exploration("inverse gap", base=base, per_reward=each) for base, each in ((10, 2), (80, 8), (320, 32))
    ],
}


def drawn(mean: Doubles, covariance: Doubles, width: float, rng: np.random.Generator) -> Doubles:
    """Weights [U, K] from Gaussians of that mean [U, K] and covariance [U, K, K], `width` times as wide."""
    if width == 0:
        return mean
    factor = np.linalg.cholesky(covariance + 1e-9 * np.eye(mean.shape[-1]))
    noise = rng.standard_normal(mean.shape)
    return np.asarray(mean + width * (factor @ noise[..., None])[..., 0], dtype=np.float64)
