"""Knowledge of a contestant, and its interface. Letters: U users, Q queries, R asked rows, M LLMs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from personabench.heads import Heads
from router_model.data.pools import Pool
from router_model.data.population import Population
from router_model.data.simulation import History, TrainingLog

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Kind = Literal["reference", "non-personal", "personal", "bound"]


@dataclass(frozen=True)
class Known:
    """All that a deployed router could know: cards, queries, outcomes of the train folds, logs of training users."""

    pool: Pool
    """Quality, reply lengths and task are blank (NaN, "") outside of the train folds."""
    embeddings: Floats
    """[Q, E]"""
    train: Ints
    """Rows of the train folds."""
    heads: Heads
    log: TrainingLog
    best_single: int
    """The LLM that training users would have liked most on average, on train folds."""
    seed: int
    validate: Callable[[Contestant], float]
    """Mean gap closed on validation users and folds: for tuning, and for nothing else."""
    memory: dict[object, object] = field(default_factory=dict, compare=False)
    """Shared by the contestants of a round, such as a fit that several of them use."""
    newcomers: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """LLMs that joined after training: there is nothing of them in the log, and few outcomes."""


class Contestant(Protocol):
    """A router in the benchmark."""

    name: str
    kind: Kind

    def fit(self, known: Known) -> None:
        """Learn from training users and outcomes."""

    def scores(self, rows: Ints, history: History) -> Floats:
        """Expected reward [U, R, M] of every LLM for each user's queries `rows` [R], given that user's history."""


@runtime_checkable
class Uncertain(Protocol):
    """A contestant that also says how sure it is."""

    def deviations(self, rows: Ints, history: History) -> Floats:
        """Standard deviation [U, R, M] of `scores`: uncertainty about the user."""


@runtime_checkable
class Remembering(Protocol):
    """A contestant that learned something of each training user which a new user can't have."""

    def scores_of_trained(self, rows: Ints, who: Ints, history: History) -> Floats:
        """As `scores`, for the users at positions `who` [U] of the training log, whose `history` it learned from."""


@runtime_checkable
class Informed(Protocol):
    """A bound: it knows what no router can know."""

    def tell(self, population: Population, pool: Pool) -> None:
        """True tastes and outcomes, before `fit`."""


@runtime_checkable
class Seer(Protocol):
    """A bound that sees the outcome before it chooses."""

    def see(self, utility: Floats, counted: Bools) -> None:
        """True utility [U, R, M] and which queries [U, R] count, before `scores`."""


def blank(pool: Pool, keep: Ints) -> Pool:
    """The pool without any outcome or label outside of the rows `keep`."""
    known = np.zeros(len(pool.queries), dtype=np.bool_)
    known[keep] = True
    return replace(
        pool,
        task=np.where(known, pool.task, ""),
        quality=np.where(known[:, None], pool.quality, np.nan).astype(np.float32),
        completion_tokens=np.where(known[:, None], pool.completion_tokens, np.nan).astype(np.float32),
    )
