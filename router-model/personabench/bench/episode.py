"""One round of the benchmark: a population on a pool, its log, and test users whose tastes are to be found out.

A test user's queries are split at random: one half makes the history, the other is what the router is judged on, so
neither users nor queries of the judgement were seen before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personabench.bench.contestant import Contestant, Known, Seer, blank
from personabench.bench.features import embed_queries, pool_heads, topics
from personabench.heads import HeadsConfig
from personabench.metrics import Gain, Resampling, gain, resample
from router_model.data.pools import Pool
from router_model.data.population import (
    FLIP_AT,
    TEST,
    TRAIN,
    VALIDATION,
    Population,
    Shift,
    SimulatedPopulation,
    generator,
    simulate,
)
from router_model.data.simulation import Feedback, History, TrainingLog, simulate_history, simulate_log

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LENGTHS = (0, 1, 2, 5, 10, 20, 50, 100)
FLIP_LENGTHS = (20, FLIP_AT - 1, FLIP_AT, FLIP_AT + 10, FLIP_AT + 20, FLIP_AT + 40, 100)


@dataclass(frozen=True)
class Setup:
    """Pool, feedback, seed and shifts of one round."""

    pool: str
    feedback: Feedback
    seed: int = 0
    users: int = 1000
    lengths: tuple[int, ...] = LENGTHS
    shifts: tuple[Shift, ...] = ("none",)
    population: Path | None = None


@dataclass(frozen=True)
class Judgement:
    """Users of one split, their histories, and what they would have thought of every answer to the judged queries."""

    population: Population
    pool: Pool
    users: Ints
    """[U]"""
    rows: Ints
    """[R] of the pool."""
    history: History
    """[U, N]"""
    counted: Bools
    """[U, R]: queries that aren't in the user's history."""
    best_single: int
    resampling: Resampling

    memory: dict[int, Floats] = field(default_factory=dict, compare=False)

    def utility(self, n: int) -> Floats:
        """[U, R, M] after n requests."""
        time = n if getattr(self.population, "shift", None) in ("drift", "flip") else 0
        if time not in self.memory:
            self.memory.clear()
            self.memory[time] = self.population.utility(self.users, self.pool, self.rows, time)
        return self.memory[time]

    def chosen(self, contestant: Contestant, n: int, utility: Floats) -> Floats:
        """True utility [U, R] of the contestant's choices after n requests; `utility` is `utility(n)`."""
        if isinstance(contestant, Seer):
            contestant.see(utility, self.counted)
        return pick(utility, contestant.scores(self.rows, self.history.first(n)))

    def gain(self, chosen: Floats, utility: Floats) -> Gain:
        """Gain of the choices."""
        return gain(chosen, utility[..., self.best_single], utility.max(-1), self.counted, self.resampling)


def pick(utility: Floats, scores: Floats) -> Floats:
    """Utility [U, R] of the LLMs with the highest scores; both [U, R, M] or broadcast to it."""
    choice = np.broadcast_to(scores, utility.shape).argmax(-1)
    return np.take_along_axis(utility, choice[..., None], -1)[..., 0]


@dataclass(frozen=True)
class Episode:
    """Everything of one round."""

    setup: Setup
    pool: Pool
    population: Population
    known: Known
    validation: Judgement
    tests: Mapping[Shift, Judgement]
    """Test users of the population as trained on (`none`), and of shifted ones."""
    validation_of: Callable[[Shift], Judgement]
    """Validation users of a shifted population."""


def make_episode(
    setup: Setup, pool: Pool, *, heads: HeadsConfig | None = None, users: Population | None = None
) -> Episode:
    """Population, log and test users of a setup; the training population never has a shift.

    `users`: a population to use instead of the generator's.
    """
    seed = setup.seed
    population = users or _population(setup)
    train = pool.rows(pool.folds.train)
    embeddings = embed_queries(pool)
    log = simulate_log(population, pool, topics(embeddings, train), setup.feedback, seed)
    best = best_single(population, pool, train)
    scene = _Scene(setup, pool, log, best)
    validation = scene.judgement(population, VALIDATION, pool.folds.validation)

    def validate(contestant: Contestant) -> float:
        return mean_gap(contestant, validation, tuple(n for n in setup.lengths if n >= 5))

    known = Known(
        pool=blank(pool, train),
        embeddings=embeddings,
        train=train,
        heads=pool_heads(pool, embeddings, train, heads),
        log=log,
        best_single=best,
        seed=seed,
        validate=validate,
    )
    shifted = {s: population if s == "none" else simulate(seed, setup.users, s) for s in setup.shifts}
    tests = {shift: scene.judgement(other, TEST, pool.folds.test) for shift, other in shifted.items()}

    def validation_of(shift: Shift) -> Judgement:
        other = population if shift == "none" else simulate(seed, setup.users, shift)
        return scene.judgement(other, VALIDATION, pool.folds.validation)

    return Episode(setup, pool, population, known, validation, tests, validation_of)


def _population(setup: Setup) -> Population:
    return SimulatedPopulation.load(setup.population) if setup.population else simulate(setup.seed, setup.users)


@dataclass(frozen=True)
class _Scene:
    """Shared by the judgements of one round."""

    setup: Setup
    pool: Pool
    log: TrainingLog
    best: int

    def judgement(self, population: Population, split: int, folds: tuple[int, ...]) -> Judgement:
        """Histories of users of a split on one half of the folds' queries, and the other half."""
        setup, pool = self.setup, self.pool
        rng = generator(setup.seed, "judgement", pool.name, setup.feedback, str(split))
        users = np.flatnonzero(population.split == split)
        rows = pool.rows(folds)
        order = rng.permuted(np.broadcast_to(np.arange(len(rows)), (len(users), len(rows))), axis=1)
        asked = order[:, : len(rows) // 2]
        counted = np.ones((len(users), len(rows)), dtype=np.bool_)
        np.put_along_axis(counted, asked, False, axis=1)
        history = simulate_history(
            population, users, pool, rows[asked], self.log.propensities, max(setup.lengths), setup.feedback, rng
        )
        resampling = resample(len(users), len(rows), 1000 + setup.seed, 7 + split)
        return Judgement(population, pool, users, rows, history, counted, self.best, resampling)


def mean_gap(contestant: Contestant, judgement: Judgement, lengths: tuple[int, ...]) -> float:
    """Gap closed, mean over history lengths."""
    gaps = []
    for n in lengths:
        utility = judgement.utility(n)
        gaps.append(judgement.gain(judgement.chosen(contestant, n, utility), utility).gap_closed[0])
    return float(np.mean(gaps))


def best_single(population: Population, pool: Pool, rows: Ints) -> int:
    """The LLM that training users would on average have liked most on these queries."""
    users = np.flatnonzero(population.split == TRAIN)
    total = np.zeros(len(pool.cards))
    for part in np.array_split(users, -(-len(users) // 50)):
        total += population.utility(part, pool, rows).sum((0, 1), dtype=np.float64)
    return int(total.argmax())
