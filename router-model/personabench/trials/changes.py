"""`trials --only changes`: in how many blocks a user's sums are kept, of what length, how likely changes of taste are.

An artifact's weights read the rewards once; the variants differ in how these messages are kept and believed. Nothing is
trained. Where a user's history starts within a block is chance, and decides how soon a change can be found: every
variant is tried with a few starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personabench.ablate import Ablated
from personabench.bench.artifact_router import ArtifactRouter
from router_model.data.simulation import History
from router_model.network import CHANGE, Router, Sizes

Floats = NDArray[np.float32]
STARTS = 4


@dataclass(frozen=True)
class Keeping:
    """How a user's messages are kept, and what is made of them."""

    count: int
    """Blocks."""
    rewards: int
    """To a block."""
    odds: float
    """Prior odds that tastes changed between two blocks."""

    @property
    def name(self) -> str:
        """For a table."""
        if self.count == 1:
            return "no change of taste"
        model = self == Keeping(Sizes().blocks, Sizes().block_rewards, CHANGE)
        return f"{self.count} blocks of {self.rewards}, odds {self.odds}" + (" (the model)" if model else "")

    @property
    def starts(self) -> tuple[int, ...]:
        """How full the newest block is thought to be at a user's first message."""
        if self.count == 1:
            return (0,)
        return tuple(int(start) for start in np.linspace(0, self.rewards, STARTS, endpoint=False))

    def change(self, router: Router) -> None:
        """Lets a router believe so."""
        router.sizes = replace(router.sizes, blocks=self.count, block_rewards=self.rewards)
        router.user_node.sizes, router.user_node.change = router.sizes, self.odds
        router.user_node.derive()


KEEPINGS = (
    Keeping(1, 1, CHANGE),
    Keeping(4, 12, 0.02),
    Keeping(4, 12, 0.05),
    Keeping(4, 12, 0.1),
    Keeping(3, 12, 0.05),
    Keeping(6, 12, 0.05),
    Keeping(4, 8, 0.05),
    Keeping(4, 16, 0.05),
)


def reader(seen: ArtifactRouter, artifact: Path, keeping: Keeping) -> ArtifactRouter:
    """A router that knows the same LLMs, with this package's messages and another way to keep them."""
    router = copy(seen)
    router.artifact = Ablated(artifact, keeping.name, keeping.change).artifact
    return router


def messages_of(router: ArtifactRouter, history: History, steps: int) -> list[Floats]:
    """Messages [U, G] of each of the first requests of a history, all of it rated."""
    made = []
    for step in range(steps):
        rows, llm, reward = history.query[:, step], history.llm[:, step], history.reward[:, step]
        tokens, cost = history.completion_tokens[:, step], history.cost_usd[:, step]
        made.append(router.messages(rows, llm, reward, history.kind_name, tokens, cost)[0])
    return made


def believed(
    seen: ArtifactRouter, artifact: Path, history: History, lengths: Sequence[int]
) -> Iterator[tuple[str, int, Floats]]:
    """Every way to keep messages and every start: its name, a number of requests, states [U, S] after them."""
    messages = messages_of(reader(seen, artifact, KEEPINGS[0]), history, max(lengths))
    users = len(messages[0])
    for keeping in KEEPINGS:
        router = reader(seen, artifact, keeping)
        for start in keeping.starts:
            sums = router.nothing(users)
            for n, message in enumerate(messages, 1):
                sums = router.memory.add(sums, message, np.full(users, start + n - 1))
                if n in lengths:
                    yield keeping.name, n, router.believe(sums)
