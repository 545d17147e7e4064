"""Other kinds of people than the usual ones, and kinds of tenants: how frequent each kind of people is among its users.

The usual people, whom training's simulator draws, feel a dollar by its logarithm and like makers and LLMs by name.
People who weigh an answer against a share of a price do neither, as PersonalizedRouter's users (arXiv 2511.16883): to
them all cheap LLMs cost next to nothing. What they pay is a x right - (1 - a) x dollars / scale, and that is projected
on the features, so that nothing of these kinds hangs on a pool: neither its questions nor its users nor its prices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.network import Router, Sizes, UserFeatures
from router_model.priors.user import Blocks

Doubles = NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

SCALES = ((3e-4, 1e-3), (1e-3, 1e-2), (1e-2, 3e-2))
"""Dollars that weigh as much as a right answer to who cares for nothing else: a kind for each range."""
TRADE_OFFS = (0.2, 1.0)
DRAWN = 400  # people, of each kind
LEAST_DOLLARS, MOST_DOLLARS = 1e-5, 1e-1
USUAL_SHARE, USUAL_REACH = 0.15, 1.6
"""What an answer mostly costs of the scale, and the deviation of its logarithm: where the projection must be right."""
RIDGE = 3e-3
MISFIT = 0.2
"""Deviation, in reward, of how far what usual people would like of an LLM's answers is from what others like of them:
chosen on validation users (EXPERIMENTS.md); `src/routing/model/popularity.ts` has the same."""
# Deviations of what such people have beside their trade-off.
SLACK_MAIN, SLACK_BASE, SLACK_LENGTH, SLACK_TASK, SLACK_BEND, SLACK_LIKING = 0.03, 0.075, 0.015, 0.025, 0.03, 0.025

MOSTLY = 0.99
"""Of a tenant's users are usual people, at the usual tenant."""
ONE_SCALE = 0.9
"""Of a tenant's users feel dollars by the same scale, where most do so."""
USUAL_TENANTS = 0.99
"""Of tenants: chosen on validation users (EXPERIMENTS.md)."""


@dataclass(frozen=True)
class Kind:
    """A Gaussian over K weights."""

    mean: Doubles
    covariance: Doubles


def dollars_kind(sizes: Sizes, low: float, high: float) -> Kind:
    """People who pay for a right answer what is a share of `low` to `high` dollars."""
    blocks, width = Blocks.of(sizes), 1 + sizes.tasks
    features = UserFeatures(sizes)
    usd = torch.logspace(math.log10(LEAST_DOLLARS), math.log10(MOST_DOLLARS), 300, dtype=torch.double)
    _, cost, _ = features.standardise(torch.zeros_like(usd), usd, torch.full_like(usd, 150.0))
    none = torch.zeros_like(usd)
    codes = none.new_zeros(len(usd), sizes.provider_code + sizes.name_code)
    phi = features(none, cost, none, none.new_zeros(len(usd), sizes.tasks), codes).numpy()
    # of cost alone: linear, 1, squared, beyond the usual, saturating
    squared, beyond = blocks.bends[2], blocks.bends[4]
    columns = np.array([width, 3 * width, squared, beyond, *blocks.bends[6:]])
    x, dollars = phi[:, columns], usd.numpy()
    rng = np.random.default_rng(0)
    drawn = np.zeros((DRAWN, sizes.user))
    for weights in drawn:
        a, scale = rng.uniform(*TRADE_OFFS), math.exp(rng.uniform(math.log(low), math.log(high)))
        counts = np.exp(-0.5 * (np.log(dollars / (scale * USUAL_SHARE)) / USUAL_REACH) ** 2) + 0.02
        weighted = x * counts[:, None]
        felt = np.linalg.solve(
            weighted.T @ x + RIDGE * np.eye(len(columns)), weighted.T @ np.clip(dollars / scale, 0, 1)
        )
        weights[0], weights[3 * width] = a / 2, a / 2
        weights[columns] -= (1 - a) * felt
    slack = np.zeros(sizes.user)
    slack[blocks.main] = SLACK_MAIN
    slack[2 * width], slack[3 * width] = SLACK_LENGTH, SLACK_BASE
    for tied in blocks.tied[:3]:
        slack[tied] = SLACK_TASK
    slack[blocks.bends], slack[blocks.liked] = SLACK_BEND, SLACK_LIKING
    return Kind(drawn.mean(0), np.cov(drawn.T) + np.diag(slack**2))


def kinds_of_tenants(people: int, usual: float = USUAL_TENANTS) -> tuple[Doubles, Doubles]:
    """How frequent kinds of people are at tenants [Y, 1 + people], the usual people first, and kinds of tenants [Y]:
    nearly all usual; one other kind mostly; all others alike.
    """
    shares = [np.array([MOSTLY, *[(1 - MOSTLY) / people] * people])]
    for kind in range(people):
        share = np.full(1 + people, (1 - ONE_SCALE) / 2 / max(people - 1, 1))
        share[0], share[1 + kind] = (1 - ONE_SCALE) / 2, ONE_SCALE
        shares.append(share / share.sum())
    shares.append(np.array([0.05, *[0.95 / people] * people]))
    prior = np.array([usual, *[(1 - usual) / (len(shares) - 1)] * (len(shares) - 1)])
    return np.stack(shares), prior


def with_people(router: Router, usual: float = USUAL_TENANTS) -> Router:
    """The same router, who also knows people who count dollars."""
    kinds = [dollars_kind(router.sizes, *scale) for scale in SCALES]
    shares, prior = kinds_of_tenants(len(kinds), usual)
    made = _resized(router, len(kinds), len(prior))
    node = made.user_node
    with torch.no_grad():
        node.others_mean.copy_(torch.as_tensor(np.stack([kind.mean for kind in kinds])))
        node.others_covariance.copy_(torch.as_tensor(np.stack([kind.covariance for kind in kinds])))
        node.log_share.copy_(torch.log(torch.as_tensor(shares)))
        node.log_tenant.copy_(torch.log(torch.as_tensor(prior)))
    node.derive()
    return made


def popular_among(people: NDArray[np.floating[Any]], evidence: NDArray[Real]) -> NDArray[Real]:
    """What a tenant's users said of LLMs [M, V], as far as it says how well liked these are (the last two numbers),
    where `people` [J] are so frequent, the usual ones first; none: all are usual.

    Popularity is measured against what usual people would like. Where others are frequent it is also their taste in
    prices, which their kind tells already, and which more voices do not average out: so the mean stays as it is, but
    no number of voices makes it surer than that misfit, times how frequent others are.
    """
    others = 1 - people[0] if len(people) else 0.0
    share = 1 / (1 + np.maximum(evidence[:, -2:-1], 0) * (MISFIT * others) ** 2)
    made = evidence.copy()
    made[:, -2:] *= share
    return made


def without_people(router: Router) -> Router:
    """The same router, to whom everybody is one of the usual people."""
    if not router.sizes.people:
        return router
    return _resized(router, 0, 0)


OF_PEOPLE = tuple(f"user_node.{name}" for name in ("others_mean", "others_covariance", "log_share", "log_tenant"))


def _resized(router: Router, people: int, tenants: int) -> Router:
    """The same weights, with room for so many kinds."""
    made = Router(replace(router.sizes, people=people, tenants=tenants))
    kept = {name: value for name, value in router.state_dict().items() if name not in OF_PEOPLE}
    for name, buffer in list(made.named_buffers()):
        # Some are as long as the training data had LLMs.
        if name in kept and kept[name].shape != buffer.shape:
            owner, _, field = name.rpartition(".")
            setattr(made.get_submodule(owner), field, torch.zeros_like(kept[name]))
    made.load_state_dict(kept, strict=False)
    return made.train(router.training)
