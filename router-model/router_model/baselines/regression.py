"""Hierarchical Bayesian regression per user: the simple strong baseline, and the bar for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.baselines.belief import BeliefConfig, Evidence, MixtureBelief, Posterior
from router_model.baselines.preferences import Preferences
from router_model.bench.contestant import Kind, Known
from router_model.simulation import THUMB_SHARPNESS, History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Regression:
    """Posterior mean of w . phi under a Gaussian or mixture prior that training users' logs gave."""

    kind: Kind = "personal"

    def __init__(self, config: BeliefConfig, name: str | None = None) -> None:
        """One variant."""
        self.config = config
        shape = "Gaussian" if config.components == 1 else "mixture"
        self.name = name or f"regression, {shape}, {config.likelihood}"

    def fit(self, known: Known) -> None:
        """Empirical Bayes on the training log."""
        self.preferences = Preferences.of(known)
        self.belief = MixtureBelief(self.config)
        self.belief.fit(self.evidence(known.log.train))

    def evidence(self, history: History) -> Evidence:
        """Edges of a history."""
        weight = history.rated / (1 + self.config.doubt * self.preferences.doubt(history))
        arrays = (self.preferences.edges(history), history.reward, weight)
        return Evidence(*(torch.as_tensor(array, dtype=torch.float64) for array in arrays))

    def posterior(self, history: History) -> Posterior:
        """Belief over each user's weights."""
        return self.belief.posterior(self.evidence(history))

    def scores(self, rows: Ints, history: History) -> Floats:
        """See `Contestant`."""
        grid = self.preferences.grid(rows)
        mean = self.posterior(history).expectation().numpy().astype(np.float32)
        flat = mean @ grid.reshape(-1, grid.shape[-1]).T
        return np.asarray(flat.reshape(len(mean), *grid.shape[:2]) * self._scale, dtype=np.float32)

    def deviations(self, rows: Ints, history: History) -> Floats:
        """See `Uncertain`."""
        grid = self.preferences.grid(rows)
        flat = grid.reshape(-1, grid.shape[-1])
        factors = np.linalg.cholesky(self.posterior(history).total_covariance().numpy()).astype(np.float32)
        made = [np.sqrt(((flat @ factor) ** 2).sum(-1)).reshape(grid.shape[:2]) for factor in factors]
        return np.asarray(np.stack(made) * self._scale, dtype=np.float32)

    @property
    def _scale(self) -> np.float32:
        """From log-odds of a thumb to the scale of rewards."""
        return np.float32(1 / THUMB_SHARPNESS if self.config.likelihood == "logistic" else 1)


class BestRegression:
    """The regression: of several variants the one that validation users would have been served best by."""

    kind: Kind = "personal"
    name = "the regression"

    def __init__(self, variants: Sequence[BeliefConfig]) -> None:
        """Logistic variants are tried for thumbs only."""
        self.variants = variants

    def fit(self, known: Known) -> None:
        """Fits all variants, keeps one."""
        thumbs = known.log.train.kind != "dense"
        fitted: list[tuple[float, Regression]] = []
        for config in self.variants:
            if thumbs or config.likelihood == "linear":
                variant = Regression(replace(config, seed=known.seed))
                variant.fit(known)
                fitted.append((known.validate(variant), variant))
        self.validation = {f"{variant.config}": gap for gap, variant in fitted}
        self.chosen = max(fitted, key=lambda pair: pair[0])[1]

    def scores(self, rows: Ints, history: History) -> Floats:
        """See `Contestant`."""
        return self.chosen.scores(rows, history)

    def deviations(self, rows: Ints, history: History) -> Floats:
        """See `Uncertain`."""
        return self.chosen.deviations(rows, history)
