"""Inputs of the graph baselines: node features of a pool, and episodes cut out of users' histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from personabench.bench.contestant import Known
from personabench.bench.features import embedder
from router_model.data.cards import price_matrix
from router_model.data.population import cost_units, length_units
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SCALE = 4.0  # embeddings have length 1: this gives their components a spread of a fraction of 1


@dataclass(frozen=True)
class Nodes:
    """Features of a pool's nodes."""

    query: Tensor
    """[Q, E]"""
    task: Tensor
    """[Q, T] soft task"""
    llm: Tensor
    """[M, E + 2]: embedded card and log prices"""
    family: Tensor
    """[2, edges]: LLMs of the same maker, both directions"""

    @staticmethod
    def of(known: Known) -> Nodes:
        """From what is known."""
        cards = known.pool.cards
        text = SCALE * embedder().embed([card.text for card in cards])
        price = np.log10(np.maximum(price_matrix(cards), 1e-3))
        vendor = [card.vendor for card in cards]
        pairs = [(i, j) for i, a in enumerate(vendor) for j, b in enumerate(vendor) if i != j and a == b]
        return Nodes(
            torch.as_tensor(SCALE * known.embeddings),
            torch.as_tensor(known.heads.task),
            torch.as_tensor(np.hstack([text, price]).astype(np.float32)),
            torch.as_tensor(np.array(pairs, dtype=np.int64).reshape(-1, 2).T),
        )


@dataclass(frozen=True)
class Edges:
    """n interactions as flat tensors."""

    user: Tensor
    """[n]: position of the user in the batch"""
    query: Tensor
    llm: Tensor
    reward: Tensor
    outcome: Tensor
    """[n, 2]: standard cost and length"""

    def take(self, keep: Tensor) -> Edges:
        """Some of them."""
        return Edges(self.user[keep], self.query[keep], self.llm[keep], self.reward[keep], self.outcome[keep])

    @property
    def features(self) -> Tensor:
        """[n, 3]: reward, cost, length."""
        return torch.cat([self.reward.unsqueeze(-1), self.outcome], -1)


def edges_of(history: History) -> Edges:
    """The rated interactions of a history; users are numbered by position."""
    rated = history.rated
    user = np.broadcast_to(np.arange(len(history.users))[:, None], rated.shape)[rated]
    outcome = np.stack([cost_units(history.cost_usd[rated]), length_units(history.completion_tokens[rated])], -1)
    return Edges(
        torch.as_tensor(user.copy()),
        torch.as_tensor(history.query[rated]),
        torch.as_tensor(history.llm[rated]),
        torch.as_tensor(history.reward[rated]),
        torch.as_tensor(outcome.astype(np.float32)),
    )


def cut(history: History, users: int, targets: int, rng: np.random.Generator) -> tuple[Ints, Edges, Edges]:
    """Random users of a log, a random number of their interactions as context, and `targets` others to predict."""
    chosen = rng.choice(len(history.users), size=min(users, len(history.users)), replace=False)
    part = history.of(chosen)
    requests = part.query.shape[1]
    order = rng.permuted(np.broadcast_to(np.arange(requests), part.query.shape), axis=1)
    n = int(min(np.exp(rng.uniform(0, np.log(requests + 1))) - 1, requests - targets))
    shuffled = part.reordered(order)
    return chosen, edges_of(shuffled.first(n)), edges_of(shuffled.last(targets))
