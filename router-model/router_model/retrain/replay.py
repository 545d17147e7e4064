"""Users' histories once more, under a model: what it would have predicted at each answer from what it knew by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_model.evidence import Memory
from router_model.retrain.logbook import Edges, Logbook
from router_model.retrain.runner import Runner, to_llms

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGE_BATCH = 2048
STATE_BATCH = 128


@dataclass(frozen=True)
class Model:
    """A router that knows its candidates."""

    runner: Runner
    z: Floats
    """[M, Z], in the order of the log's LLMs."""
    memory: Memory
    """How users' messages are kept."""


@dataclass(frozen=True)
class Replay:
    """Predictions for n answers, each from the rewards that had come in when it was asked for."""

    answer: Ints
    """[n] row of `Answers`."""
    rewards: Ints
    """[n] how many rewards the user had given."""
    mean: Doubles
    """[n, M], expected reward."""
    std: Doubles
    """[n, M], from what is not known of the user."""
    quality: Doubles
    """[n, M]"""
    cold: Doubles
    """[n, M], expected reward for a user of whom nothing is known."""

    def of(self, answer: Ints) -> Replay:
        """The rows for some answers, in their order."""
        order = np.argsort(self.answer)
        rows = order[np.searchsorted(self.answer[order], answer)]
        return Replay(
            self.answer[rows], self.rewards[rows], self.mean[rows], self.std[rows], self.quality[rows], self.cold[rows]
        )


@dataclass(frozen=True)
class Visit:
    """n answers of one user, in order of time, and what was known of the user when each was asked for."""

    answer: Ints
    """[n] row of `Answers`."""
    rewards: Ints
    """[n] how many rewards the user had given."""
    sums: Floats
    """[s, W, G], each of the sums that were current at one of the answers."""
    which: Ints
    """[n] row of `sums`."""


def visit(
    model: Model, log: Logbook, answers: Ints, progress: Callable[[int, int], None] | None = None
) -> Iterator[Visit]:
    """Goes through some rewarded answers, user by user, at most `STATE_BATCH` at a time."""
    asked_by = log.decisions.user[log.answers.decision[answers]]
    users = np.unique(asked_by)
    order = np.argsort(asked_by, kind="stable")
    parts = np.split(answers[order], np.searchsorted(asked_by[order], users[1:]))
    for done, (user, rows) in enumerate(zip(users.tolist(), parts, strict=True)):
        yield from _visit_user(model, log, edges_of(log.edges, user), rows)
        if progress is not None:
            progress(done + 1, len(users))


def answers_of(log: Logbook, users: Ints) -> Ints:
    """Rewarded answers of some users."""
    return np.unique(log.edges.row[np.isin(log.edges.user, users)])


def replay(model: Model, log: Logbook, answers: Ints, progress: Callable[[int, int], None] | None = None) -> Replay:
    """Predictions for some rewarded answers, in order of user and time."""
    parts: list[tuple[NDArray[Any], ...]] = []
    cold_state: Floats | None = None
    for some in visit(model, log, answers, progress):
        if cold_state is None:
            cold_state = states_of(model, np.zeros_like(some.sums[:1]))
        states = states_of(model, some.sums)
        found = _score(model, log, some.answer, states[some.which])
        cold = _score(model, log, some.answer, np.repeat(cold_state, len(some.answer), 0))
        columns = [found["mean"], found["std"], found["quality"], cold["mean"]]
        parts.append((some.answer, some.rewards, *(column.astype(np.float64) for column in columns)))
    if not parts:
        none = np.zeros((0, len(log.llms)))
        return Replay(np.zeros(0, np.int64), np.zeros(0, np.int64), none, none, none, none)
    return Replay(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def edges_of(edges: Edges, user: int) -> Edges:
    """A user's edges, by time: `Edges` is sorted by user."""
    start, end = np.searchsorted(edges.user, [user, user + 1])
    return edges.only(np.arange(start, end))


def messages(model: Model, log: Logbook, edges: Edges) -> Iterator[tuple[Edges, Floats]]:
    """Messages to the user [n, G] of edges, in batches."""
    for some in _batches(edges):
        yield some, model.runner.run("edge", _inputs(model, log, some))["user_message"]


def llm_messages(model: Model, log: Logbook, edges: Edges) -> Iterator[tuple[Edges, Floats]]:
    """Messages to the LLM [n, V] of edges, in batches."""
    for some in _batches(edges):
        yield some, to_llms(model.runner, _inputs(model, log, some))


def _batches(edges: Edges) -> Iterator[Edges]:
    for start in range(0, len(edges), EDGE_BATCH):
        yield edges.only(np.arange(start, min(start + EDGE_BATCH, len(edges))))


def _inputs(model: Model, log: Logbook, edges: Edges) -> dict[str, NDArray[Any]]:
    """Of edge.onnx, for some edges."""
    answers, rows = log.answers, edges.row
    return {
        **_asked(model, log, rows),
        "z": model.z[answers.llm[rows]],
        "reward": edges.value,
        "kind": edges.kind,
        "weight": edges.weight,
        "prompt_tokens": answers.prompt_tokens[rows],
        "completion_tokens": answers.completion_tokens[rows],
        "cost_usd": answers.cost_usd[rows],
    }


def _asked(model: Model, log: Logbook, rows: Ints) -> dict[str, Floats]:
    queries = log.answers.queries
    if queries.encoder is not None and model.runner.reads:
        return {"reading": queries.reading(rows, queries.encoder)}
    return {"query": queries.vector(rows)}


def user_sums(model: Model, log: Logbook, edges: Edges) -> Doubles:
    """One user's sums [G] after all the edges, of all blocks."""
    total: Doubles | None = None
    for _, made in messages(model, log, edges):
        decay = model.memory.fade ** np.arange(len(made) - 1, -1, -1, dtype=np.float64)
        added = decay @ made.astype(np.float64)
        total = added if total is None else total * model.memory.fade ** len(made) + added
    assert total is not None
    return total


def _visit_user(model: Model, log: Logbook, edges: Edges, rows: Ints) -> Iterator[Visit]:
    answers = log.answers
    rows = rows[np.argsort(log.decisions.ts[answers.decision[rows]], kind="stable")]
    asked = log.decisions.ts[answers.decision[rows]]
    before = np.searchsorted(edges.ts, asked, "left")  # rewards that had come in
    told = _Told(model, log, edges)
    for start in range(0, len(rows), STATE_BATCH):
        part = slice(start, start + STATE_BATCH)
        wanted, place = np.unique(before[part], return_inverse=True)
        sums = np.concatenate([told.after(int(count)) for count in wanted])
        yield Visit(rows[part], before[part].astype(np.int64), sums, place)


class _Told:
    """What one user has told by and by: messages are made as they are asked for, and only the last sums are kept, for
    those of ten thousand answers would be a gigabyte.
    """

    def __init__(self, model: Model, log: Logbook, edges: Edges) -> None:
        """Of at least one edge, by time."""
        self.memory = model.memory
        self.messages = (message for _, made in messages(model, log, edges) for message in made)
        self.next = next(self.messages, None)
        assert self.next is not None
        self.sums = self.memory.empty(1, len(self.next), np.float64)
        self.seen = 0

    def after(self, count: int) -> Floats:
        """Sums [1, W, G] after so many rewards; not fewer than were asked for before."""
        while self.seen < count and self.next is not None:
            self.sums = self.memory.add(self.sums, self.next[None].astype(np.float64), np.array([self.seen]))
            self.seen += 1
            self.next = next(self.messages, None)
        return self.sums.astype(np.float32)


def states_of(model: Model, sums: Floats) -> Floats:
    """States [s, S] from sums [s, W, G]."""
    states: Floats = model.runner.run("user", {"sums": sums.reshape(len(sums), -1)})["state"]
    return states


def _score(model: Model, log: Logbook, rows: Ints, states: Floats) -> dict[str, NDArray[np.float32]]:
    return score(model, log.answers.queries.vector(rows), log.answers.prompt_tokens[rows], states)


def score(model: Model, query: Floats, prompt_tokens: Floats, states: Floats) -> dict[str, NDArray[np.float32]]:
    """Outputs of score.onnx for n questions, each with a state [n, S], and all LLMs of the model."""
    return model.runner.run(
        "score",
        {
            "query": query,
            "prompt_tokens": prompt_tokens,
            "state": states,
            "z": model.z,
            "cost_weight": np.full(len(query), -1.0, np.float32),
        },
    )
