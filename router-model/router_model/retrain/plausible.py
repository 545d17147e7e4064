"""Whether a model predicts what can be: rewards lie between -1 and 1, on the log's questions and on any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router_model.retrain.logbook import Logbook
from router_model.retrain.replay import Doubles, Floats, Ints, Model, Replay, answers_of, score, states_of, visit

MADE_UP = 256
"""Questions, in random directions."""
MOST_TOKENS = 1e5
"""Of a made-up question."""
USERS = 16
"""Whose beliefs answer them, beside that of a stranger."""


@dataclass(frozen=True)
class Extremes:
    """Furthest from zero of what a model predicts; infinite where anything is not a number."""

    mean: float
    """Of expected rewards."""
    std: float
    """Of their deviations."""
    mean_of: str = ""
    """The LLM of which the furthest reward is expected."""
    std_of: str = ""


def extremes(log: Logbook, answers: Ints, model: Model, found: Replay, seed: int) -> Extremes:
    """Of a model, and of its replay of `answers`."""
    users = np.unique(log.decisions.user[log.answers.decision[answers]])[:USERS].astype(np.int64)
    made = _made_up(model, states_of_users(log, model, users), log.answers.queries.width, seed)
    return _furthest(log, [found.mean, found.cold, made[0]], [found.std, made[1]])


def of_made_up(log: Logbook, model: Model, states: Floats, seed: int) -> Extremes:
    """Of what a model predicts for users in some states [n, S], on made-up questions."""
    means, stds = _made_up(model, states, log.answers.queries.width, seed)
    return _furthest(log, [means], [stds])


def made_up_questions(width: int, seed: int) -> tuple[Floats, Floats]:
    """Queries [n, E] in random directions, and tokens [n] of their prompts, from 1 to `MOST_TOKENS`."""
    generator = np.random.default_rng(seed)
    query = generator.standard_normal((MADE_UP, width)).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    return query, np.exp(generator.uniform(0, np.log(MOST_TOKENS), MADE_UP)).astype(np.float32)


def states_of_users(log: Logbook, model: Model, users: Ints) -> Floats:
    """A stranger's state and some users', as their last answers found them (and some before), [.., S]."""
    sums = np.concatenate([some.sums[-1:] for some in visit(model, log, answers_of(log, users))])
    return states_of(model, np.concatenate([np.zeros_like(sums[:1]), sums]))


def _made_up(model: Model, states: Floats, width: int, seed: int) -> tuple[Doubles, Doubles]:
    query, tokens = made_up_questions(width, seed)
    made = [score(model, query, tokens, np.repeat(state[None], len(query), 0)) for state in states]
    means, stds = (np.concatenate([one[name] for one in made]).astype(np.float64) for name in ("mean", "std"))
    return means, stds


def _furthest(log: Logbook, means: Sequence[Doubles], stds: Sequence[Doubles]) -> Extremes:
    (mean, mean_of), (std, std_of) = (_largest(parts) for parts in (means, stds))
    return Extremes(mean, std, log.llms[mean_of], log.llms[std_of])


def _largest(parts: Sequence[Doubles]) -> tuple[float, int]:
    """Of [.., M], and of which of M."""
    whole = np.abs(np.concatenate(parts))
    whole[~np.isfinite(whole)] = np.inf
    by_llm = whole.max(0) if len(whole) else np.full(whole.shape[1], np.inf)
    return float(by_llm.max()), int(by_llm.argmax())
