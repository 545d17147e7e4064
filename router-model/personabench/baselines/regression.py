"""Hierarchical Bayesian regression per user: the simple strong baseline, and the bar for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from personabench.baselines.belief import BeliefConfig, Evidence, MixtureBelief, Posterior
from personabench.baselines.preferences import Preferences
from personabench.bench.contestant import Kind, Known
from personabench.bench.live import drawn
from router_model.data.simulation import THUMB_SHARPNESS, History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
        if self.config not in known.memory:
            belief = MixtureBelief(self.config)
            belief.fit(self.evidence(known.log.train))
            known.memory[self.config] = belief
        self.belief = cast(MixtureBelief, copy(known.memory[self.config]))

    def join(self, known: Known) -> None:
        """Believe of a new LLM or provider what is believed of any."""
        old, self.preferences = self.preferences, Preferences.of(known)
        self.belief.rearrange(self.preferences.columns_in(old))

    def evidence(self, history: History) -> Evidence:
        """Edges of a history."""
        weight = history.rated / (1 + self.config.doubt * self.preferences.doubt(history))
        arrays = (self.preferences.edges(history), history.reward, weight)
        return Evidence(*(torch.as_tensor(array, dtype=torch.float64) for array in arrays))

    def posterior(self, history: History) -> Posterior:
        """Belief over each user's weights."""
        return self.belief.posterior(self.evidence(history))

    def scores(self, rows: Ints, history: History) -> Floats:
        """Reward [U, R, M] expected under each user's posterior."""
        grid = self.preferences.grid(rows)
        mean = self.posterior(history).expectation().numpy().astype(np.float32)
        flat = mean @ grid.reshape(-1, grid.shape[-1]).T
        return np.asarray(flat.reshape(len(mean), *grid.shape[:2]) * self._scale, dtype=np.float32)

    def deviations(self, rows: Ints, history: History) -> Floats:
        """Its standard deviation [U, R, M] under each user's posterior."""
        grid = self.preferences.grid(rows)
        flat = grid.reshape(-1, grid.shape[-1])
        factors = np.linalg.cholesky(self.posterior(history).total_covariance().numpy()).astype(np.float32)
        made = [np.sqrt(((flat @ factor) ** 2).sum(-1)).reshape(grid.shape[:2]) for factor in factors]
        return np.asarray(np.stack(made) * self._scale, dtype=np.float32)

    def begin(self, users: int) -> RegressionSession:
        """New users, whose thumbs are read as rewards of 1 and -1."""
        return RegressionSession(self, users)

    @property
    def _scale(self) -> np.float32:
        """From log-odds of a thumb to the scale of rewards."""
        return np.float32(1 / THUMB_SHARPNESS if self.config.likelihood == "logistic" else 1)


class RegressionSession:
    """Sums of evidence of U users, one request at a time."""

    def __init__(self, regression: Regression, users: int) -> None:
        """Users without a history. Raises `ValueError` for the logistic likelihood, whose evidence isn't a sum."""
        if regression.config.likelihood != "linear":
            raise ValueError("only the linear likelihood has evidence that adds up")
        self.preferences, self.belief = regression.preferences, regression.belief
        self.doubt = regression.config.doubt
        k = self.preferences.size
        self.gram = torch.zeros(users, k, k, dtype=torch.float64)
        self.information = torch.zeros(users, k, dtype=torch.float64)

    def expect(self, rows: Ints) -> tuple[Floats, Floats]:
        """Mean and deviation [U, M] from the sums so far."""
        phi = torch.as_tensor(self.preferences.grid(rows), dtype=torch.float64)
        posterior = self.belief.from_sums(self.gram, self.information)
        mean = (phi @ posterior.expectation().unsqueeze(-1)).squeeze(-1)
        variance = ((phi @ posterior.total_covariance()) * phi).sum(-1)
        return mean.numpy().astype(np.float32), variance.clamp(min=0).sqrt().numpy().astype(np.float32)

    def draw(self, rows: Ints, width: float, rng: np.random.Generator) -> Floats:
        """Mean [U, M] under weights drawn from each user's posterior."""
        posterior = self.belief.from_sums(self.gram, self.information)
        weights = drawn(posterior.expectation().numpy(), posterior.total_covariance().numpy(), width, rng)
        return np.asarray((self.preferences.grid(rows) @ weights[..., None])[..., 0], dtype=np.float32)

    def observe(self, rows: Ints, llm: Ints, reward: Floats, rated: Bools, cost_usd: Floats, tokens: Floats) -> None:
        """Add the reward's evidence to each user's sums."""
        phi = torch.as_tensor(self.preferences.answered(rows, llm, cost_usd, tokens), dtype=torch.float64)
        quality = self.preferences.heads.quality[rows, llm]
        weight = rated / (1 + self.doubt * 4 * quality * (1 - quality)) / self.belief.noise
        tau = torch.as_tensor(weight, dtype=torch.float64).unsqueeze(-1)
        self.gram += (tau * phi).unsqueeze(-1) * phi.unsqueeze(-2)
        self.information += tau * torch.as_tensor(reward, dtype=torch.float64).unsqueeze(-1) * phi


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
            if config.likelihood == "linear" if not thumbs else config.doubt == 0:
                variant = Regression(config)
                variant.fit(known)
                key = ("validated", config)
                if key not in known.memory:
                    known.memory[key] = known.validate(variant)
                fitted.append((cast(float, known.memory[key]), variant))
        self.chosen = max(fitted, key=lambda pair: pair[0])[1]
        linear = [pair for pair in fitted if pair[1].config.likelihood == "linear"]
        self.linear = max(linear, key=lambda pair: pair[0])[1]

    def join(self, known: Known) -> None:
        """Both the chosen variant and the one that is live take the new LLMs in."""
        self.chosen.join(known)
        if self.linear is not self.chosen:
            self.linear.join(known)

    def begin(self, users: int) -> RegressionSession:
        """New users of the chosen variant; of its linear sibling, where a logistic one was chosen."""
        return self.linear.begin(users)

    def scores(self, rows: Ints, history: History) -> Floats:
        """Those of the chosen variant, [U, R, M]."""
        return self.chosen.scores(rows, history)

    def deviations(self, rows: Ints, history: History) -> Floats:
        """Those of the chosen variant, [U, R, M]."""
        return self.chosen.deviations(rows, history)
