"""Simulated users: what each of them would have thought of every answer.

utility = a(task) quality - b(task) log cost + c length + liking(provider) + liking(llm) + bias, in fixed units
(`units.py`): a user is the same person on every pool, and most utilities lie in [-1, 1], the scale of rewards. Tastes
for LLMs, providers and tasks are drawn from a hash of the seed and the name: a name never seen before has a
well-defined taste.
Letters: U users, Q queries, M LLMs, N requests of a user.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from router_model.data.cards import Card
from router_model.data.pools import ASSUMED_COMPLETION_TOKENS, Pool
from router_model.units import LEAST_DOLLARS, standard_cost, standard_length

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PERSONAS = ("quality_first", "price_first", "balanced", "terse", "thorough", "expert")
# Mean weights of quality, dislike of cost, liking of length. An expert is `price_first` outside of own subjects.
CENTRES = np.array(
    [[0.46, 0.02, 0.0], [0.15, 0.2, 0.0], [0.32, 0.1, 0.0], [0.26, 0.05, -0.17], [0.26, 0.04, 0.15], [0.55, 0.02, 0.03]]
)
ANTI_CORRELATED = np.array(
    [[0.42, 0.2, 0.0], [0.12, 0.02, 0.0], [0.3, 0.17, 0.04], [0.12, 0.0, -0.12], [0.42, 0.17, 0.17], [0.55, 0.17, 0.0]]
)
EXPERT, PRICE_FIRST = PERSONAS.index("expert"), PERSONAS.index("price_first")

Shift = Literal[
    "none",
    "heavy_tailed",
    "anti_correlated",
    "wrong_is_worthless",
    "budget",
    "ideal_length",
    "satisfied",
    "drift",
    "flip",
    "adversarial",
    "shared",
    "linear_dollars",
    "good_enough",
    "lexicographic",
    "one_favourite",
]
# The last four aren't made of the model's features: dollars instead of their logarithm; any LLM whose mean on the task
# reaches a threshold is as good as another, any other a nuisance; right answers first and then cheap ones, or the other
# way round; as judges' personas say it, one answer is the favourite and all others are none.
SHIFTS: tuple[Shift, ...] = tuple(shift for shift in get_args(Shift) if shift != "none")
FLIP_AT = 40  # requests after which a user of `flip` is another person
DRIFT_OVER = 100  # requests over which a user of `drift` becomes another person

TRAIN, VALIDATION, TEST = 0, 1, 2


def cost_units(cost_usd: Floats) -> Floats:
    """Dollars in the unit of preference weights."""
    return _float(standard_cost(np.log(np.maximum(cost_usd, LEAST_DOLLARS, dtype=np.float64))))


def length_units(completion_tokens: Floats) -> Floats:
    """Reply tokens in the unit of preference weights; an unknown length is `ASSUMED_COMPLETION_TOKENS`."""
    tokens = np.where(np.isnan(completion_tokens), ASSUMED_COMPLETION_TOKENS, completion_tokens)
    return _float(standard_length(np.log(np.maximum(tokens, 1.0, dtype=np.float64))))


def linear_cost_units(pool: Pool) -> Floats:
    """Dollars [Q, M] from -1 at the pool's 1st percentile to 3 at its 99th: linear, and as strong as `cost_units`."""
    cost = pool.cost_usd()
    low, high = np.percentile(cost, [1, 99])
    return _float(4 * np.clip((cost - low) / max(float(high - low), 1e-12), 0, 1) - 1)


def level_of(pool: Pool) -> Floats:
    """Where each LLM's mean quality lies between the worst and the best on the query's task, [Q, M], 0..1."""
    made = np.zeros_like(pool.quality)
    for task in np.unique(pool.task):
        rows = pool.task == task
        mean = np.nanmean(pool.quality[rows], 0)
        made[rows] = (mean - mean.min()) / max(float(mean.max() - mean.min()), 1e-6)
    return made


def outcome_features(pool: Pool) -> Floats:
    """Realised quality, cost and length [Q, M, 3] in the units of preference weights."""
    parts = (2 * pool.quality - 1, cost_units(pool.cost_usd()), length_units(pool.completion_tokens))
    return np.stack(parts, -1).astype(np.float32)


class Population(Protocol):
    """Users with a known utility. `time` counts the requests that a user has made before; tastes may change with it."""

    @property
    def split(self) -> Ints:
        """[U]: TRAIN, VALIDATION or TEST."""

    def utility(self, users: Ints, pool: Pool, rows: Ints, time: int = 0) -> Floats:
        """[len(users), len(rows), M]: what each user would have thought of each answer."""

    def utility_at(self, users: Ints, pool: Pool, rows: Ints, llms: Ints, time: Ints) -> Floats:
        """[U, N]: the same for single answers; `rows`, `llms` [U, N], `time` [N]."""


@dataclass(frozen=True)
class Tastes:
    """Numbers of U users; everything that a hash of names doesn't give."""

    persona: Ints
    """[U]"""
    split: Ints
    """[U]"""
    weights: Doubles
    """[U, 3]: quality, dislike of cost, liking of length."""
    elsewhere: Doubles
    """[U, 3]: the same outside an expert's own subjects; equal to `weights` for all others."""
    task_spread: Doubles
    """[U]: spread of the log of a task's factor on quality and on cost; 0 for those to whom all tasks are alike."""
    provider_spread: Doubles
    """[U]"""
    llm_spread: Doubles
    """[U]"""
    bias: Doubles
    """[U]: a generous or a strict rater; doesn't change what is best."""
    budget: Doubles
    """[U], standard cost, for `budget`."""
    ideal_length: Doubles
    """[U], standard length, for `ideal_length`."""


@dataclass(frozen=True)
class SimulatedPopulation:
    """The generator. `later` are the tastes that users drift or flip to, or whom they share their account with."""

    seed: int
    shift: Shift
    now: Tastes
    later: Tastes
    likings: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """Given tastes of single users for providers or LLMs by name, instead of drawn ones."""

    @property
    def split(self) -> Ints:
        """[U]."""
        return self.now.split

    @property
    def users(self) -> int:
        """U."""
        return len(self.now.split)

    def of_split(self, split: int) -> Ints:
        """Users of a split."""
        return np.flatnonzero(self.split == split)

    def utility(self, users: Ints, pool: Pool, rows: Ints, time: int = 0) -> Floats:
        """Utilities [len(users), len(rows), M] of every answer, after `time` requests."""
        value = self._utility(users, pool, rows, time)
        return _only_the_best(value) if self.shift == "one_favourite" else value

    def _utility(self, users: Ints, pool: Pool, rows: Ints, time: int) -> Floats:
        outcome = self._outcome(pool)[rows][None]
        tasks, index = np.unique(pool.task[rows], return_inverse=True)
        share = self._share_of_later(users, rows[None, :], np.full(len(rows), time))[..., None]
        value = np.zeros((len(users), len(rows), len(pool.cards)), dtype=np.float32)
        for tastes, number in ((self.now, 0), (self.later, 1)):
            part = share if number else 1 - share
            if part.any():
                weights = self._weights(tastes, number, users, tasks)[:, index][:, :, None, :]
                liking = self._liking(tastes, number, users, pool.cards)[:, None, :]
                value += part * self._combine(tastes, users, weights, outcome, liking)
        return value

    def utility_at(self, users: Ints, pool: Pool, rows: Ints, llms: Ints, time: Ints) -> Floats:
        """Utilities [U, N] of single answers, each at its own time."""
        if self.shift != "one_favourite":
            return self._utility_at(users, pool, rows, llms, time)
        every = [self._utility_at(users, pool, rows, np.full_like(rows, m), time) for m in range(len(pool.cards))]
        best = _only_the_best(np.stack(every, -1))
        return np.asarray(np.take_along_axis(best, llms[..., None], -1)[..., 0])

    def _utility_at(self, users: Ints, pool: Pool, rows: Ints, llms: Ints, time: Ints) -> Floats:
        outcome = self._outcome(pool)[rows, llms]
        tasks, index = np.unique(pool.task, return_inverse=True)
        share = self._share_of_later(users, rows, time)
        who = np.arange(len(users))[:, None]
        value = np.zeros(rows.shape, dtype=np.float32)
        for tastes, number in ((self.now, 0), (self.later, 1)):
            part = share if number else 1 - share
            if part.any():
                weights = self._weights(tastes, number, users, tasks)[who, index[rows]]
                liking = self._liking(tastes, number, users, pool.cards)[who, llms]
                value += part * self._combine(tastes, users, weights, outcome, liking)
        return value

    def true_weights(self, users: Ints, tasks: Sequence[str]) -> Floats:
        """[U, T, 3] by task; for bounds only, no contestant sees them."""
        return self._weights(self.now, 0, users, np.asarray(tasks))

    def true_liking(self, users: Ints, cards: Sequence[Card]) -> Floats:
        """[U, M] with the bias; for bounds only."""
        return self._liking(self.now, 0, users, cards)

    def _outcome(self, pool: Pool) -> Floats:
        """Quality, cost and length [Q, M, 3] as these users see them."""
        seen = outcome_features(pool)
        if self.shift == "linear_dollars":
            seen[..., 1] = linear_cost_units(pool)
        if self.shift == "good_enough":
            seen[..., 0] = level_of(pool)
        return seen

    def _share_of_later(self, users: Ints, rows: Ints, time: Ints) -> Floats:
        """How much of the other tastes is in each (user, query), 0..1."""
        shape = np.broadcast_shapes((len(users), 1), rows.shape)
        if self.shift == "flip":
            return np.broadcast_to(time >= FLIP_AT, shape).astype(np.float32)
        if self.shift == "drift":
            return np.broadcast_to(np.minimum(1.0, time / DRIFT_OVER), shape).astype(np.float32)
        if self.shift == "shared":
            # the account's other user asks: a fixed coin for each user and query
            return ((users[:, None] * 2654435761 + rows * 40503 + self.seed) // 7 % 2).astype(np.float32)
        return np.zeros(shape, dtype=np.float32)

    def _weights(self, tastes: Tastes, number: int, users: Ints, tasks: NDArray[np.str_]) -> Floats:
        """[U, T, 3]."""
        columns = []
        for task in tasks:
            own = self._normal(number, "subject", str(task))[users, None]
            mine = 1 / (1 + np.exp(-4 * own))
            weights = mine * tastes.weights[users] + (1 - mine) * tastes.elsewhere[users]
            spread = tastes.task_spread[users]
            drawn = [self._normal(number, f"task {what}", str(task))[users] for what in ("quality", "cost")]
            factor = [np.exp(spread * x) for x in drawn]
            columns.append(weights * np.stack([*factor, np.ones(len(users))], -1))
        return np.stack(columns, 1).astype(np.float32)

    def _liking(self, tastes: Tastes, number: int, users: Ints, cards: Sequence[Card]) -> Floats:
        """[U, M], with the user's bias."""
        columns = []
        for card in cards:
            provider = tastes.provider_spread[users] * self._liking_of(number, "provider", card.vendor)[users]
            llm = tastes.llm_spread[users] * self._liking_of(number, "llm", card.name)[users]
            given = [self._given(users, name) for name in (card.vendor, card.name)]
            parts = [np.where(np.isnan(own), drawn, own) for own, drawn in zip(given, (provider, llm), strict=True)]
            columns.append(parts[0] + parts[1] + tastes.bias[users])
        return np.stack(columns, 1).astype(np.float32)

    def _given(self, users: Ints, name: str) -> Doubles:
        return np.array([self.likings.get(int(user), {}).get(name.lower(), np.nan) for user in users])

    def _liking_of(self, number: int, kind: str, name: str) -> Doubles:
        """Standard tastes of all users for a name: their own, and a bit of fashion that all share."""
        fashion = generator(self.seed, "fashion", kind, name).standard_normal()
        own = self._normal(number, kind, name)
        if self.shift == "heavy_tailed":
            own = np.sign(own) * np.abs(own) ** 2
        return 0.9 * own + 0.4 * fashion

    def _normal(self, number: int, kind: str, name: str) -> Doubles:
        return generator(self.seed + 7919 * number, kind, name).standard_normal(self.users)

    def _combine(self, tastes: Tastes, users: Ints, weights: Floats, outcome: Floats, liking: Floats) -> Floats:
        """Utility from weights [..., 3], outcomes [..., 3] and liking [...]."""
        quality, cost, length = outcome[..., 0], outcome[..., 1], outcome[..., 2]
        a, b, c = weights[..., 0], weights[..., 1], weights[..., 2]
        wide = (slice(None),) + (None,) * (np.broadcast(a, quality).ndim - 1)
        if self.shift == "budget":
            over = cost - _float(tastes.budget[users][wide])
            cost = np.where(over > 0, 2.5 * over, 0.0).astype(np.float32)
        if self.shift == "ideal_length":
            apart = length - _float(tastes.ideal_length[users][wide])
            length = np.minimum(apart, -apart)
            c = (np.abs(c) + 0.1).astype(np.float32)
        if self.shift == "good_enough":
            least = 0.3 + 0.3 * _float(tastes.budget[users][wide] + 1)  # 0.3 to 0.9
            quality = np.where(quality >= least, 1.0, -1.0).astype(np.float32)
        if self.shift == "lexicographic":
            price_first = (tastes.persona[users] == PRICE_FIRST)[wide] | (tastes.budget[users][wide] < -0.5)
            a, b = (np.where(price_first, *pair).astype(np.float32) for pair in ((0.005, 0.5), (0.25, 0.025)))
            c, liking = np.zeros_like(c), np.zeros_like(liking)
        value = a * quality - b * cost + c * length + liking
        if self.shift == "wrong_is_worthless":
            right = 0.5 * (quality + 1)
            value = right * value - (1 - right) * (0.3 + a)
        return np.asarray(value, dtype=np.float32)

    def save(self, path: Path) -> None:
        """Writes the users as JSON; the drawn tastes follow from seed and names."""
        arrays = {name: _columns(tastes) for name, tastes in (("now", self.now), ("later", self.later))}
        likings = {str(user): dict(named) for user, named in self.likings.items()}
        made = {"schema": SCHEMA, "seed": self.seed, "shift": self.shift, **arrays, "likings": likings}
        path.write_text(json.dumps(made) + "\n")

    @staticmethod
    def load(path: Path) -> SimulatedPopulation:
        """Reads what `save` wrote. Raises `ValueError` for another file."""
        made = json.loads(path.read_text())
        if not isinstance(made, dict) or made.get("schema") != SCHEMA:
            raise ValueError(f"{path}: not a population file ({SCHEMA})")
        now, later = (Tastes(**{k: np.array(v) for k, v in made[name].items()}) for name in ("now", "later"))
        likings = {
            int(user): {name.lower(): float(value) for name, value in named.items()}
            for user, named in made["likings"].items()
        }
        return SimulatedPopulation(made["seed"], made["shift"], now, later, likings)


SCHEMA = "persona-router/population/1"


def _only_the_best(value: Floats) -> Floats:
    """1/2 for the answer [.., M] of the highest utility, -1/2 for all others."""
    best = value == value.max(-1, keepdims=True)
    return np.where(best, 0.5, -0.5).astype(np.float32)


def _float(x: Doubles) -> Floats:
    return x.astype(np.float32)


def _columns(tastes: Tastes) -> dict[str, list[object]]:
    return {name: np.asarray(value).tolist() for name, value in asdict(tastes).items()}


def simulate(seed: int, users: int = 1000, shift: Shift = "none") -> SimulatedPopulation:
    """Users of six personas with a continuous spread, 70 / 10 / 20 % train / validation / test."""
    now = _draw(generator(seed, "users", shift), users, shift)
    later = replace(_draw(generator(seed, "later users", shift), users, shift), split=now.split)
    return SimulatedPopulation(seed, shift, now, later)


def _draw(rng: np.random.Generator, users: int, shift: Shift) -> Tastes:
    centres = CENTRES
    if shift == "anti_correlated":
        # users who want quality dislike cost most, and the thorough are the thrifty
        centres = ANTI_CORRELATED
    tail = 0.8 if shift == "heavy_tailed" else 0.3
    persona = rng.integers(len(PERSONAS), size=users)
    # each user is mostly one persona and a bit of the others
    mixture = 0.75 * np.eye(len(PERSONAS))[persona] + 0.25 * rng.dirichlet(np.full(len(PERSONAS), 0.5), size=users)
    factor = np.exp(tail * rng.standard_normal((users, 3)) - tail**2 / 2)
    offset = 0.04 * rng.standard_normal((users, 3))
    weights = (mixture @ centres) * factor + offset
    thrifty = (mixture @ centres * 0.3 + 0.7 * centres[PRICE_FIRST]) * factor + offset
    expert = (persona == EXPERT)[:, None]
    return Tastes(
        persona=persona,
        split=_split(rng, users),
        weights=weights,
        elsewhere=np.where(expert, thrifty, weights),
        task_spread=np.where(rng.random(users) < 0.4, 0.6, 0.0),
        provider_spread=0.09 * np.exp(0.5 * rng.standard_normal(users)),
        llm_spread=0.07 * np.exp(0.5 * rng.standard_normal(users)),
        bias=0.15 * rng.standard_normal(users) + 0.05,
        budget=rng.uniform(-1.0, 1.0, users),
        ideal_length=rng.uniform(-1.2, 1.2, users),
    )


def _split(rng: np.random.Generator, users: int) -> Ints:
    order = rng.permutation(users)
    split = np.full(users, TEST, dtype=np.int64)
    split[order[: round(0.7 * users)]] = TRAIN
    split[order[round(0.7 * users) : round(0.8 * users)]] = VALIDATION
    return split


def generator(seed: int, *names: str) -> np.random.Generator:
    """A random generator of its own for each seed and names."""
    digest = hashlib.sha256("/".join([str(seed), *(name.lower() for name in names)]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
