"""Whether a model predicts what can be: rewards lie between -1 and 1, on the log's questions and on any other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router_model.retrain.logbook import Logbook
from router_model.retrain.replay import Doubles, Floats, Ints, Model, Replay, score, states_of, visit

MADE_UP = 256
"""Questions, in random directions."""
USERS = 16
"""Whose beliefs answer them, beside that of a stranger."""


@dataclass(frozen=True)
class Extremes:
    """Furthest from zero of what a model predicts; infinite where anything is not a number."""

    mean: float
    """Of expected rewards."""
    std: float
    """Of their deviations."""


def extremes(log: Logbook, answers: Ints, model: Model, found: Replay, seed: int) -> Extremes:
    """Of a model, and of its replay of `answers`."""
    generator = np.random.default_rng(seed)
    states = _states(log, answers, model)
    query = generator.standard_normal((MADE_UP, log.answers.queries.width)).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    tokens = np.exp(generator.uniform(0, np.log(1e5), MADE_UP)).astype(np.float32)
    means, stds = [found.mean, found.cold], [found.std]
    for state in states:
        made = score(model, query, tokens, np.repeat(state[None], MADE_UP, 0))
        means.append(made["mean"].astype(np.float64))
        stds.append(made["std"].astype(np.float64))
    return Extremes(_furthest(means), _furthest(stds))


def _states(log: Logbook, answers: Ints, model: Model) -> Floats:
    """A stranger's, and some users' as their last answers left them."""
    users = np.unique(log.decisions.user[log.answers.decision[answers]])[:USERS]
    rows = answers[np.isin(log.decisions.user[log.answers.decision[answers]], users)]
    sums = np.concatenate([some.sums[-1:] for some in visit(model, log, rows)])
    return states_of(model, np.concatenate([np.zeros_like(sums[:1]), sums]))


def _furthest(parts: list[Doubles]) -> float:
    whole = np.concatenate([part.ravel() for part in parts])
    return float(np.abs(whole).max()) if len(whole) and np.isfinite(whole).all() else float("inf")
