"""A Gaussian-mixture belief over a user's weights w, learned from many users by expectation-maximisation.

reward = w . phi + noise for ratings; P(thumb up) = sigmoid(w . phi) for thumbs, with the quadratic bound of Jaakkola &
Jordan (2000), which makes that likelihood Gaussian with a weight per edge.
Letters: U users, N edges, K features, J components.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Floats = NDArray[np.float32]
Likelihood = Literal["linear", "logistic"]
SPLIT_AT = 5
"""Round from which on there are several components."""
NEGLIGIBLE = 1e-9
"""Of a user's belief: a component with less isn't inverted."""


@dataclass(frozen=True)
class BeliefConfig:
    """Settings, tuned on validation."""

    likelihood: Likelihood = "linear"
    components: int = 1
    doubt: float = 0.0
    """How much noisier an edge is whose quality is in doubt."""
    rounds: int = 300
    """At most so many; fewer where it has converged."""
    enough: float = 1e-4
    """Log evidence a user that a round must add, else it has converged."""
    pseudo_users: float = 400.0
    """Strength of the pull of each component's covariance to a diagonal one."""
    seed: int = 0


@dataclass(frozen=True)
class Evidence:
    """Edges of U users in float64; `weight` 0 = not rated."""

    phi: Tensor
    """[U, N, K]"""
    reward: Tensor
    """[U, N]"""
    weight: Tensor
    """[U, N]: factor on the precision."""

    @cached_property
    def sums(self) -> Sums:
        """All that a linear likelihood needs of the edges, whatever the noise: no round has to look at them again."""
        weighted = self.phi * self.weight.unsqueeze(-1)
        return Sums(
            weighted.transpose(-1, -2) @ self.phi,
            (weighted.transpose(-1, -2) @ self.reward.unsqueeze(-1)).squeeze(-1),
            (self.weight * self.reward**2).sum(1),
            (self.weight > 0).sum(1),
        )


@dataclass(frozen=True)
class Sums:
    """Sums over each user's edges."""

    gram: Tensor
    """[U, K, K]: weight phi phi^T."""
    information: Tensor
    """[U, K]: weight reward phi."""
    squares: Tensor
    """[U]: weight reward^2."""
    rated: Tensor
    """[U]"""


@dataclass(frozen=True)
class Posterior:
    """Belief over the weights of U users."""

    log_weight: Tensor
    """[U, J]"""
    mean: Tensor
    """[U, J, K]"""
    within: Tensor
    """[U, K, K]: mean of the components' covariances."""
    pooled: Tensor
    """[J, K, K]: each component's covariances, summed over the users by their weights."""

    def expectation(self) -> Tensor:
        """[U, K]."""
        return (self.log_weight.exp().unsqueeze(-1) * self.mean).sum(1)

    def total_covariance(self) -> Tensor:
        """[U, K, K]: within and between components."""
        apart = self.mean - self.expectation().unsqueeze(1)
        weighted = self.log_weight.exp().unsqueeze(-1) * apart
        return self.within + weighted.transpose(-1, -2) @ apart


class MixtureBelief:
    """The prior and what the rewards of new users make of it."""

    def __init__(self, config: BeliefConfig) -> None:
        """Before `fit` there is no belief."""
        self.config = config
        self.noise = 0.1
        self.rounds = 0
        self.log_weight = torch.zeros(1, dtype=torch.float64)
        self.mean = torch.zeros(1, 0, dtype=torch.float64)
        self.covariance = torch.zeros(1, 0, 0, dtype=torch.float64)

    def fit(self, evidence: Evidence) -> None:
        """Learns weights, means, covariances and noise from training users."""
        k, components = evidence.phi.shape[-1], self.config.components
        self._start(evidence)
        bend = torch.ones_like(evidence.reward)
        before = -math.inf
        for number in range(self.config.rounds):
            if number == SPLIT_AT and components > 1:
                self._split(self._posterior(evidence, bend), components)
                before = -math.inf
            posterior, log_evidence = self._given(*self._sums(evidence, bend))
            reached = float((log_evidence + self._constant(evidence, bend)).mean())
            self.rounds = number
            if number > SPLIT_AT + 1 and reached - before < self.config.enough:
                break
            before = reached
            if self.config.likelihood == "logistic":
                bend = self._bend(evidence, posterior)
            self._maximise(evidence, posterior, k)

    def posterior(self, evidence: Evidence) -> Posterior:
        """Belief after some edges; empty edges give the prior."""
        if self.config.likelihood == "linear":
            return self._posterior(evidence, torch.ones_like(evidence.reward))
        posterior = self._posterior(evidence, self._bend(evidence, self._prior(len(evidence.reward))))
        for _ in range(4):
            posterior = self._posterior(evidence, self._bend(evidence, posterior))
        return posterior

    def rearrange(self, source: Sequence[int | slice]) -> None:
        """Belief over other features: feature i is the old `source[i]`, or a further one of a group of old features.

        A further one has the group's mean, and its variance with the spread of its means; it is independent.
        """
        kept = [i for i, where in enumerate(source) if isinstance(where, int)]
        old = torch.tensor([where for where in source if isinstance(where, int)])
        j, size = len(self.mean), len(source)
        mean = self.mean.new_zeros(j, size)
        covariance = self.mean.new_zeros(j, size, size)
        mean[:, kept] = self.mean[:, old]
        index = torch.tensor(kept)
        covariance[:, index[:, None], index[None, :]] = self.covariance[:, old[:, None], old[None, :]]
        variance = self.covariance.diagonal(dim1=-2, dim2=-1)
        for i, where in enumerate(source):
            if isinstance(where, slice):
                mean[:, i] = self.mean[:, where].mean(1)
                covariance[:, i, i] = variance[:, where].mean(1) + self.mean[:, where].var(1, correction=0)
        self.mean, self.covariance = mean, covariance

    def _start(self, evidence: Evidence) -> None:
        k = evidence.phi.shape[-1]
        phi = evidence.phi.reshape(-1, k)
        weight = evidence.weight.reshape(-1)
        target = self._target(evidence).reshape(-1)
        gram = (phi * weight.unsqueeze(-1)).T @ phi
        ridge = 1e-2 * float(weight.sum()) * torch.eye(k, dtype=phi.dtype)
        mean = torch.linalg.solve(gram + ridge, phi.T @ (weight * target))
        residual = (weight * (target - phi @ mean) ** 2).sum() / weight.sum()
        self.noise = float(residual)
        self.log_weight = torch.zeros(1, dtype=phi.dtype)
        self.mean = mean.unsqueeze(0)
        self.covariance = 0.05 * torch.eye(k, dtype=phi.dtype).unsqueeze(0)

    def _target(self, evidence: Evidence) -> Tensor:
        # a thumb's log-odds are about four times its expected reward near zero
        return evidence.reward * (2.0 if self.config.likelihood == "logistic" else 1.0)

    def _bend(self, evidence: Evidence, posterior: Posterior) -> Tensor:
        """Where the quadratic touches the logistic, sqrt E[(w . phi)^2], [U, N]."""
        mean, covariance = posterior.expectation(), posterior.total_covariance()
        second = covariance + mean.unsqueeze(-1) * mean.unsqueeze(-2)
        return ((evidence.phi @ second) * evidence.phi).sum(-1).clamp(min=1e-8).sqrt()

    def _prior(self, users: int) -> Posterior:
        j, k = self.mean.shape
        weight = torch.softmax(self.log_weight, 0).view(-1, 1, 1)
        within = (weight * self.covariance).sum(0).expand(users, k, k)
        mean = self.mean.expand(users, j, k)
        return Posterior(self.log_weight.expand(users, j), mean, within, users * weight * self.covariance)

    def _posterior(self, evidence: Evidence, bend: Tensor) -> Posterior:
        return self.from_sums(*self._sums(evidence, bend))

    def _sums(self, evidence: Evidence, bend: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over edges of tau phi phi^T [U, K, K] and of pull phi [U, K]; `bend` is for thumbs."""
        if self.config.likelihood == "linear":
            return evidence.sums.gram / self.noise, evidence.sums.information / self.noise
        tau, pull = evidence.weight * 2 * bound(bend), evidence.weight * 0.5 * evidence.reward
        gram = (evidence.phi * tau.unsqueeze(-1)).transpose(-1, -2) @ evidence.phi
        return gram, (evidence.phi.transpose(-1, -2) @ pull.unsqueeze(-1)).squeeze(-1)

    def _constant(self, evidence: Evidence, bend: Tensor) -> Tensor:
        """What the log evidence [U] has beside what the weights explain; a bound of it for thumbs."""
        if self.config.likelihood == "linear":
            return -0.5 * (evidence.sums.squares / self.noise + evidence.sums.rated * math.log(self.noise))
        each = functional.logsigmoid(bend) - bend / 2 + bound(bend) * bend**2
        return (evidence.weight * each).sum(1)

    def from_sums(self, gram: Tensor, information: Tensor) -> Posterior:
        """Belief given sums over edges of tau phi phi^T [U, K, K] and tau reward phi [U, K]."""
        return self._given(gram, information)[0]

    def _given(self, gram: Tensor, information: Tensor) -> tuple[Posterior, Tensor]:
        """The belief, and how likely [U] it makes the sums, in logarithms."""
        log_weights, means, factors = [], [], []
        for j in range(len(self.log_weight)):
            prior = torch.linalg.inv(self.covariance[j])
            start = prior @ self.mean[j]
            factor = torch.linalg.cholesky(prior + gram)
            target = start + information
            mean = torch.cholesky_solve(target.unsqueeze(-1), factor).squeeze(-1)
            evidence_of = 0.5 * (mean * target).sum(-1) - 0.5 * (self.mean[j] @ start)
            evidence_of = evidence_of + 0.5 * torch.logdet(prior) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            log_weights.append(torch.log_softmax(self.log_weight, 0)[j] + evidence_of)
            means.append(mean)
            factors.append(factor)
        log_weight = torch.stack(log_weights, 1)
        share = torch.softmax(log_weight, 1)
        within, pooled = torch.zeros_like(gram), torch.zeros_like(self.covariance)
        for j, factor in enumerate(factors):
            who = torch.nonzero(share[:, j] > NEGLIGIBLE).squeeze(-1)
            weighted = share[who, j].view(-1, 1, 1) * torch.cholesky_inverse(factor[who])
            within.index_add_(0, who, weighted)
            pooled[j] = weighted.sum(0)
        made = Posterior(torch.log_softmax(log_weight, 1), torch.stack(means, 1), within, pooled)
        return made, torch.logsumexp(log_weight, 1)

    def _split(self, posterior: Posterior, components: int) -> None:
        """Starts the components at clusters of users, by their posterior means in units of the prior's spread."""
        mean = posterior.expectation()
        scale = self.covariance[0].diagonal().sqrt()
        label = clusters(((mean - self.mean[0]) / scale).numpy().astype(np.float32), components, self.config.seed)
        groups = [mean[torch.as_tensor(label == j)] for j in range(components)]
        sizes = torch.tensor([float(len(group)) for group in groups], dtype=mean.dtype)
        self.log_weight = torch.log((sizes + 1) / (sizes.sum() + components))
        self.mean = torch.stack([group.mean(0) if len(group) else self.mean[0] for group in groups])
        self.covariance = (0.7 * self.covariance[0]).expand(components, -1, -1).clone()

    def _maximise(self, evidence: Evidence, posterior: Posterior, k: int) -> None:
        weight = posterior.log_weight.exp()
        size = weight.sum(0)
        self.log_weight = torch.log((size + 1) / (size.sum() + len(size)))
        anchor = self.mean.mean(0)
        mean = (torch.einsum("uj,ujk->jk", weight, posterior.mean) + 2 * anchor) / (size + 2).unsqueeze(-1)
        apart = posterior.mean - mean
        weighted = (weight.unsqueeze(-1) * apart).permute(1, 2, 0)
        scatter = weighted @ apart.transpose(0, 1) + posterior.pooled
        pseudo = self.config.pseudo_users
        pooled = scatter.sum(0) / size.sum()
        pull = pseudo * torch.diag(pooled.diagonal())
        self.mean = mean
        self.covariance = (scatter + pull) / (size + pseudo).view(-1, 1, 1) + 1e-6 * torch.eye(k, dtype=mean.dtype)
        if self.config.likelihood == "linear":
            expectation, sums = posterior.expectation(), evidence.sums
            second = posterior.total_covariance() + expectation.unsqueeze(-1) * expectation.unsqueeze(-2)
            error = sums.squares - 2 * (expectation * sums.information).sum(-1) + (sums.gram * second).sum((-1, -2))
            self.noise = float(error.sum() / sums.rated.sum().clamp(min=1))


def bound(bend: Tensor) -> Tensor:
    """lambda of Jaakkola & Jordan: tanh(xi / 2) / (4 xi)."""
    return torch.tanh(bend / 2) / (4 * bend)


def clusters(x: Floats, k: int, seed: int) -> NDArray[np.int64]:
    """k-means labels [n]."""
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(k, n_init=4, random_state=seed).fit_predict(x), dtype=np.int64)
