"""Loss from messages that don't know their user: the same inference with every user's own belief.

A reward's message takes the population's belief for granted, so that it can be added, taken back and sent by anybody.
Here each message starts from what all others say of that very user (expectation propagation: Minka 2001, UAI), which no
sum could hold; the prior is the population as one Gaussian. Letters: U users, N rewards, K weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from personabench.bench.artifact_router import ArtifactRouter
from router_model.data.simulation import History
from router_model.network import Router, predicted_tokens

Floats = NDArray[np.float32]
PASSES = 2


@dataclass(frozen=True)
class _Edge:
    """One reward of each of U users; see `Router.edge`."""

    plane: Tensor
    """[U, 2, K]"""
    chance: Tensor
    shift: Tensor
    """[U, 2]: popularity."""
    reward: Tensor
    kind: Tensor


def own_beliefs(router: ArtifactRouter, weights: Router, history: History) -> Floats:
    """Expected preference weights [U, K] after a history, all of it rated."""
    with torch.no_grad():
        edges = [_edge(router, weights, history, step) for step in range(history.query.shape[1])]
        node = weights.user_node
        prior = torch.linalg.inv(node.population_covariance.double())
        pull = prior @ node.population_mean.double()
        users = len(history.users)
        precision, information = prior.expand(users, -1, -1).clone(), pull.expand(users, -1).clone()
        said = [(torch.zeros(users, 2, 2).double(), torch.zeros(users, 2).double()) for _ in edges]
        for _ in range(PASSES):
            for n, edge in enumerate(edges):
                others = precision - _whole(edge, said[n][0]), information - _pull(edge, said[n][1])
                said[n] = _message(weights, edge, *others)
                precision, information = others[0] + _whole(edge, said[n][0]), others[1] + _pull(edge, said[n][1])
        return np.asarray(torch.linalg.solve(precision, information).numpy(), dtype=np.float32)


def _whole(edge: _Edge, precision: Tensor) -> Tensor:
    return edge.plane.transpose(-1, -2) @ precision @ edge.plane


def _pull(edge: _Edge, information: Tensor) -> Tensor:
    return (information.unsqueeze(-2) @ edge.plane).squeeze(-2)


def _message(weights: Router, edge: _Edge, precision: Tensor, information: Tensor) -> tuple[Tensor, Tensor]:
    """Precision [U, 2, 2] and information [U, 2], given what all other rewards say."""
    covariance = torch.linalg.inv(precision)
    mean = (edge.plane @ (covariance @ information.unsqueeze(-1))).squeeze(-1)
    spread = edge.plane @ covariance @ edge.plane.transpose(-1, -2) + 1e-6 * torch.eye(2).double()
    sure, told = weights.reading(mean + edge.shift, spread, edge.chance, edge.reward, edge.kind)
    return sure, told - (sure @ edge.shift.unsqueeze(-1)).squeeze(-1)


def _edge(router: ArtifactRouter, weights: Router, history: History, step: int) -> _Edge:
    rows, llm = history.query[:, step], history.llm[:, step]
    of_quality, of_length, task = weights.encoder(torch.as_tensor(router.query[rows]))
    skill, talk, popularity, _, codes, _ = weights.split_z(torch.as_tensor(router.z[llm]))
    quality = weights.features.quality((of_quality * skill).sum(-1))
    chance = quality.double().clamp(0.02, 0.98)
    tokens = torch.as_tensor(history.completion_tokens[:, step])
    tokens = torch.where(torch.isfinite(tokens), tokens, predicted_tokens((of_length * talk).sum(-1)))
    _, cost, length = weights.features.standardise(quality, torch.as_tensor(history.cost_usd[:, step]), tokens)
    one = torch.ones_like(cost)
    right, wrong = (weights.features(sign * one, cost, length, task, codes).double() for sign in (1, -1))
    plane = torch.stack([(right + wrong) / 2, (right - wrong) / 2], -2)
    shift = torch.stack([popularity, torch.zeros_like(popularity)], -1).double()
    kind = torch.full((len(rows),), router.artifact.manifest.kinds.index(history.kind_name))
    return _Edge(plane, chance, shift, torch.as_tensor(history.reward[:, step]).double(), kind)
