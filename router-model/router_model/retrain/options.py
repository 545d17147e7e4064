"""How a retraining goes about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from router_model.retrain.gates import Limits
from router_model.retrain.policy import Gamma
from router_model.retrain.sample import MOST

Watch = Callable[[str, int, int], None]
"""Hears of a step, how much of it is done, and of how much."""


JUDGED = 50_000
"""Rewards that are judged by default: an interval of some 0.02 (docs/learning.md)."""


class RetrainError(ValueError):
    """Nothing can be trained; the message says what is missing."""


@dataclass(frozen=True)
class Options:
    """How much of the log each step looks at, and how it is judged."""

    held_out: float = 0.2
    """Share of the users that are kept for judging."""
    prior_users: int = 1000
    """Most users that teach the prior: 350 kB of evidence each, and a thousand people's tastes are enough."""
    reading_users: int = 400
    """Most users whose histories teach how to read rewards."""
    reading_answers: int = 20_000
    """Most of their answers, spread evenly over them."""
    judged_rows: int = JUDGED
    """Most rewards of held-out users that are judged, spread evenly over these users."""
    single_rows: int = 200_000
    """Most rewards of the other users that tell which single LLM is best, spread as evenly."""
    most_rows: int = MOST
    """Most interactions, and most rewards, that are read: of a larger log some users, each with all of theirs."""
    evidence_edges: int = 300_000
    """Most of the newest rewards that become evidence about LLMs."""
    gamma: Gamma = field(default_factory=Gamma)
    limits: Limits = field(default_factory=Limits)
    waived: tuple[str, ...] = ()
    seed: int = 0
