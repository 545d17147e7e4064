"""Third stage of training: the mixture prior over preference weights, by expectation maximisation on training users.

A user enters as evidence (A_u, b_u), the sums of the messages of a long history; weights are never known exactly.
Covariances are structured, so that 700 users suffice and LLMs that training never saw are treated alike: a full block
for the weights of quality, cost, length and 1; one variance for each row of task deviations, each non-linear feature,
and each code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.network import NON_LINEAR, Sizes, UserNode

Doubles = NDArray[np.float64]

NEGLIGIBLE = 1e-12
"""Responsibility of a component."""


@dataclass
class MixturePrior:
    """J Gaussians over K weights."""

    weight: Doubles  # [J]
    mean: Doubles  # [J, K]
    covariance: Doubles  # [J, K, K]


@dataclass(frozen=True)
class Blocks:
    """Features that share a variance."""

    main: NDArray[np.int64]
    tied: tuple[NDArray[np.int64], ...]
    vendor: NDArray[np.int64]
    name: NDArray[np.int64]
    bends: NDArray[np.int64]

    @property
    def centred(self) -> NDArray[np.int64]:
        """Features whose mean stays zero in training, which has seen too few kinds of people to bend a taste."""
        return np.concatenate([self.bends, self.liked])

    @property
    def liked(self) -> NDArray[np.int64]:
        """Of makers and names, whose mean stays zero anywhere: no LLM is liked for its name before it was rated."""
        return np.concatenate([self.vendor, self.name])

    @classmethod
    def of(cls, sizes: Sizes) -> Blocks:
        """Layout of `UserFeatures`."""
        width = 1 + sizes.tasks
        rows = [np.arange(i * width + 1, (i + 1) * width) for i in range(3)]
        start = 3 * width + 1
        bends = np.arange(start, start + NON_LINEAR)
        vendor = np.arange(start + NON_LINEAR, start + NON_LINEAR + sizes.provider_code)
        name = np.arange(vendor[-1] + 1, sizes.user)
        tied = (*rows, *bends[:, None], vendor, name)
        return cls(np.array([0, width, 2 * width, 3 * width]), tied, vendor, name, bends)


def fit_mixture(
    precision: Doubles,
    information: Doubles,
    start: MixturePrior,
    sizes: Sizes,
    iterations: int,
    strength: float = 10.0,
    centred: NDArray[np.int64] | None = None,
    progress: Callable[[int, int], None] | None = None,
    enough: float = 0.0,
    bound: Callable[[MixturePrior], MixturePrior] = lambda prior: prior,
) -> tuple[MixturePrior, list[float]]:
    """Maximises the users' marginal likelihood; `precision` [U, K, K] and `information` [U, K] are sums of messages.

    `strength`: users' worth of belief in the covariance pooled over components. Returns the prior and the mean log
    evidence after each iteration. `centred`: features whose mean stays zero, by default `Blocks.centred`. Stops early
    where an iteration adds less than `enough` log evidence a user. `bound` keeps each iteration's prior within what it
    may be.
    """
    blocks = Blocks.of(sizes)
    zero = blocks.centred if centred is None else centred
    prior = start
    evidence = []
    for iteration in range(iterations):
        share, mean, covariance, log_evidence = _expect(precision, information, prior)
        evidence.append(float(log_evidence.mean()))
        if len(evidence) > 1 and evidence[-1] - evidence[-2] < enough:
            break
        prior = bound(_maximise(share, mean, covariance, prior, blocks, strength, zero))
        if progress is not None:
            progress(iteration + 1, iterations)
    return prior, evidence


def _expect(precision: Doubles, information: Doubles, prior: MixturePrior) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Responsibilities [U, J], posterior means [U, J, K], covariances per component summed over users by their
    responsibilities [J, K, K], log evidence [U].
    """
    users, components = len(precision), len(prior.weight)
    log_share = np.zeros((users, components))
    means = np.zeros((users, components, precision.shape[1]))
    every: list[_Covariances] = []
    for j in range(components):
        inverse = np.linalg.inv(prior.covariance[j])
        found = _Covariances(inverse + precision)
        target = information + inverse @ prior.mean[j]
        means[:, j] = found.times(target)
        gain = np.linalg.slogdet(inverse)[1] - found.logdet
        fit = np.einsum("uk,uk->u", means[:, j], target) - prior.mean[j] @ inverse @ prior.mean[j]
        log_share[:, j] = np.log(prior.weight[j]) + 0.5 * (gain + fit)
        every.append(found)
    top = log_share.max(1, keepdims=True)
    log_evidence = top[:, 0] + np.log(np.exp(log_share - top).sum(1))
    share = np.exp(log_share - log_evidence[:, None])
    pooled = np.stack([found.summed(share[:, j]) for j, found in enumerate(every)])
    return share, means, pooled, log_evidence


class _Covariances:
    """Inverses of precisions [U, K, K]: by their Cholesky factors, since most users are of one component, and of the
    others no covariance is asked for; whole where rounding left a precision without such a factor.
    """

    def __init__(self, precision: Doubles) -> None:
        """Factors them."""
        matrix = torch.from_numpy(precision)
        self.factor, wrong = torch.linalg.cholesky_ex(matrix)
        self.whole = torch.linalg.inv(matrix) if bool(wrong.any()) else None
        if self.whole is None:
            self.logdet: Doubles = 2 * self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1).numpy()
        else:
            self.logdet = np.linalg.slogdet(precision)[1]

    def times(self, target: Doubles) -> Doubles:
        """[U, K], of target [U, K]."""
        column = torch.from_numpy(target).unsqueeze(-1)
        made = torch.cholesky_solve(column, self.factor) if self.whole is None else self.whole @ column
        return np.asarray(made.squeeze(-1).numpy(), dtype=np.float64)

    def summed(self, weight: Doubles) -> Doubles:
        """Sum [K, K] by weights [U]; of weights next to nothing none."""
        who = torch.from_numpy(weight > NEGLIGIBLE)
        some = torch.cholesky_inverse(self.factor[who]) if self.whole is None else self.whole[who]
        return np.asarray(torch.einsum("u,ukl->kl", torch.from_numpy(weight)[who], some).numpy(), dtype=np.float64)


def _maximise(
    share: Doubles,
    mean: Doubles,
    covariance: Doubles,
    prior: MixturePrior,
    blocks: Blocks,
    strength: float,
    centred: NDArray[np.int64],
) -> MixturePrior:
    components, size = prior.mean.shape
    count = share.sum(0)
    pooled_centre = np.einsum("uj,ujk->k", share, mean) / len(share)
    centre = (np.einsum("uj,ujk->jk", share, mean) + 2.0 * pooled_centre) / (count + 2.0)[:, None]
    centre[:, centred] = 0.0
    scatter = np.zeros((components, size, size))
    for j in range(components):
        apart = mean[:, j] - centre[j]
        scatter[j] = covariance[j] + (share[:, j, None] * apart).T @ apart
    pooled = scatter.sum(0) / len(share)
    made = np.zeros_like(scatter)
    for j in range(components):
        raw = (scatter[j] + strength * pooled) / (count[j] + strength)
        made[j][np.ix_(blocks.main, blocks.main)] = raw[np.ix_(blocks.main, blocks.main)]
        made[j][blocks.main, blocks.main] += 1e-5
        for tied in blocks.tied:
            made[j][tied, tied] = max(float(raw[tied, tied].mean()), 1e-6)
    return MixturePrior((count + 1.0) / (count.sum() + components), centre, made)


def spread_start(centre: MixturePrior, weights: Doubles, components: int, blocks: Blocks, seed: int) -> MixturePrior:
    """A start for `fit_mixture`: components at the main weights of random users (k-means++ style) around `centre`."""
    generator = np.random.default_rng(seed)
    main = weights[:, blocks.main]
    scale = main.std(0) + 1e-9
    chosen = [int(generator.integers(len(main)))]
    for _ in range(components - 1):
        near = np.min([(((main - main[c]) / scale) ** 2).sum(1) for c in chosen], axis=0)
        chosen.append(int(generator.choice(len(main), p=near / near.sum())))
    mean = np.repeat(centre.mean[:1], components, 0)
    mean[:, blocks.main] = main[chosen]
    return MixturePrior(np.full(components, 1.0 / components), mean, np.repeat(centre.covariance[:1], components, 0))


def posterior_means(precision: Doubles, information: Doubles, prior: MixturePrior) -> Doubles:
    """Expected weights [U, K] of users, given sums of messages."""
    share, means, _, _ = _expect(precision, information, prior)
    expected: Doubles = np.einsum("uj,ujk->uk", share, means)
    return expected


def starts_of(node: UserNode) -> dict[str, dict[str, float]]:
    """Information about weights, by their place, that moves the prior to people who value quality over cost by a
    deviation more than average (`quality`), or less (`frugal`). Other weights move as they go with these two.
    """
    with torch.no_grad():
        _, spread, _ = node.moments(torch.zeros(1, node.sizes.blocks, node.sizes.belief))
    covariance = spread[0]
    quality, cost = 0, 1 + node.sizes.tasks
    towards = torch.zeros(node.sizes.user, dtype=torch.double)
    towards[quality], towards[cost] = covariance[quality, quality] ** -0.5, covariance[cost, cost] ** -0.5
    said = towards / (towards @ covariance @ towards).sqrt()
    return {
        name: {str(k): round(float(sign * said[k]), 4) for k in (quality, cost)}
        for name, sign in (("quality", 1), ("frugal", -1))
    }


def write_prior(node: UserNode, prior: MixturePrior) -> None:
    """Puts a prior into the user node."""
    factor = np.linalg.cholesky(np.linalg.inv(prior.covariance))
    identity = np.eye(factor.shape[-1])
    lower = factor * (1 - identity) + np.log(np.diagonal(factor, axis1=1, axis2=2))[:, :, None] * identity
    with torch.no_grad():
        node.log_weight.copy_(torch.as_tensor(np.log(prior.weight)))
        node.mean.copy_(torch.as_tensor(prior.mean))
        node.factor.copy_(torch.as_tensor(lower))
    node.summarise()
