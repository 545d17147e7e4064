"""The regression and the bounds with the graph's own reading of queries: what is due to how it reads them?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from personabench.baselines.exact_reading import ExactReading
from personabench.baselines.regression import BestRegression
from personabench.baselines.simple import TruePopulation, TrueTastes
from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.contestant import Known
from personabench.bench.variants import VARIANTS


def borrow(known: Known, folder: Path) -> Known:
    """The same with the quality, length and cost that an artifact predicts of queries whose outcomes it can't know.

    On train queries, whose outcomes the artifact has seen, the shared cross-fitted predictions stay.
    """
    router = ArtifactRouter(folder)
    router.fit(known)
    unseen = np.setdiff1d(np.arange(len(known.pool.queries)), known.train)
    quality, tokens, cost = router.outcomes(unseen)
    heads = known.heads
    parts = {"quality": quality, "cost_usd": cost}
    if np.isfinite(heads.completion_tokens).all():
        parts["completion_tokens"] = tokens
    else:
        del parts["cost_usd"]
    borrowed = {name: getattr(heads, name).copy() for name in parts}
    for name, value in parts.items():
        borrowed[name][unseen] = value
    return replace(known, heads=replace(heads, **borrowed), memory={})


class BorrowedHeads(BestRegression):
    """The regression."""

    def __init__(self, folder: Path) -> None:
        """The artifact to borrow from."""
        super().__init__(VARIANTS)
        self.folder = folder
        self.name = f"{BestRegression.name}, on the graph's heads"

    def fit(self, known: Known) -> None:
        """Replace the heads, then as ever."""
        super().fit(borrow(known, self.folder))


class BorrowedPopulation(TruePopulation):
    """Bound on what histories can tell a router that reads queries as the graph does."""

    def __init__(self, folder: Path) -> None:
        """The artifact to borrow from."""
        self.folder = folder
        self.name = f"{self.name}, on the graph's heads"

    def fit(self, known: Known) -> None:
        """Replace the heads, then as ever."""
        super().fit(borrow(known, self.folder))


class BorrowedExact(ExactReading, BorrowedPopulation):
    """The same bound for who reads each rating by what is believed of its user: what the graph could learn at most."""


class BorrowedTastes(TrueTastes):
    """The ceiling of a router that reads queries as the graph does."""

    def __init__(self, folder: Path) -> None:
        """The artifact to borrow from."""
        self.folder = folder
        self.name = "true tastes, the graph's predicted quality"

    def fit(self, known: Known) -> None:
        """Replace the heads, then as ever."""
        super().fit(borrow(known, self.folder))
