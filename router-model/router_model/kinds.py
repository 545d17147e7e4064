"""Kinds of rewards, in one table. Who adds one adds a row at the end; ARTIFACT.md's table is made of this one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RewardKind:
    """Assumptions about a kind before any log was read."""

    name: str
    dense: bool
    """A score: utility plus Gaussian noise. Otherwise up or down: up with probability sigmoid(gain x utility)."""
    strength: float
    """Variance of the noise of a dense kind, gain of any other. Training starts from it, retraining fits it."""
    hint: bool = False
    """Behaviour, of which only one side is ever seen: nothing tells how sharp it is, and clients can make many."""
    lenient: bool = False
    """A user's own grade, which a lenient rater gives too high."""
    to_user: float = 1.0
    """Factor on the message to the user."""
    to_llm: float = 0.0
    """Factor on the message to the LLM about how good the answer was."""
    fallback: str | None = None
    """The kind that it counts as under an artifact that doesn't know it."""

    @property
    def two_sided(self) -> bool:
        """A user's yes as well as their no: fits how a kind is read, and judges a policy."""
        return self.to_user > 0 and not self.hint


REWARD_KINDS = (
    RewardKind("outcome", dense=True, strength=0.25, to_user=0.0, to_llm=1.0),
    RewardKind("rating", dense=True, strength=0.03, lenient=True),
    RewardKind("thumb", dense=False, strength=4.0, lenient=True, fallback="rating"),
    RewardKind("preference", dense=False, strength=4.0),
    RewardKind("regeneration", dense=False, strength=2.0, hint=True),
    RewardKind("edit", dense=False, strength=1.0, hint=True),
    RewardKind("continuation", dense=False, strength=1.0, hint=True),
    RewardKind("abort", dense=False, strength=1.5, hint=True),
    RewardKind("judge", dense=True, strength=0.15, to_llm=0.5),
)
"""Order is the manifest's: a reward's `kind` is its index here."""

KINDS = tuple(kind.name for kind in REWARD_KINDS)
OUTCOME, RATING, THUMB, PREFERENCE, JUDGE = map(KINDS.index, ("outcome", "rating", "thumb", "preference", "judge"))
TWO_SIDED = tuple(KINDS.index(kind.name) for kind in REWARD_KINDS if kind.two_sided)
"""In order of precedence where an answer has several."""
OF_ANSWERS = tuple(KINDS.index(kind.name) for kind in REWARD_KINDS if kind.to_llm > 0)
"""Kinds that say whether the answer was right."""
