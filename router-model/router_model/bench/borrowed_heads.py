"""The regression with the graph's own reading of queries: what of the graph's gain is due to how it reads them?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from router_model.baselines.regression import BestRegression
from router_model.bench.artifact_router import ArtifactRouter
from router_model.bench.contestant import Known
from router_model.bench.variants import VARIANTS


class BorrowedHeads(BestRegression):
    """The regression on the quality, length and cost that an artifact predicts.

    On train queries, whose outcomes the artifact has seen, the shared cross-fitted predictions stay.
    """

    def __init__(self, folder: Path) -> None:
        """The artifact to borrow from."""
        super().__init__(VARIANTS)
        self.router = ArtifactRouter(folder)
        self.name = f"{BestRegression.name}, on the graph's heads"

    def fit(self, known: Known) -> None:
        """Replace the heads, then as ever."""
        self.router.fit(known)
        unseen = np.setdiff1d(np.arange(len(known.pool.queries)), known.train)
        quality, tokens, cost = self.router.outcomes(unseen)
        heads = known.heads
        parts = {"quality": quality, "cost_usd": cost}
        if np.isfinite(heads.completion_tokens).all():
            parts["completion_tokens"] = tokens
        else:
            del parts["cost_usd"]
        borrowed = {name: getattr(heads, name).copy() for name in parts}
        for name, value in parts.items():
            borrowed[name][unseen] = value
        super().fit(replace(known, heads=replace(heads, **borrowed), memory={}))
