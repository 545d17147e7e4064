"""Reads a query."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.sizes import Sizes

GAIN = 8.0  # of an embedding, whose entries are about 1/16


class QueryEncoder(nn.Module):
    """Reads a query's embedding: features of quality [.., D], of length [.., L], and a soft task group [.., T].

    Features of quality and of length are the probabilities of the tasks that training knows, then latents of each. A softmax over tasks is what makes nine LLMs on 4,000 questions
    teach more than they do to a free multi-layer network.
    """

    group: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `prior`."""
        super().__init__()
        self.sizes = sizes
        self.register_buffer("group", torch.full((sizes.known_tasks, sizes.tasks), 1.0 / sizes.tasks))
        read = sizes.hidden + sizes.query
        self.hidden = nn.Linear(sizes.query, sizes.hidden)
        self.task = nn.Linear(read, sizes.known_tasks)
        self.latent = nn.Linear(read + sizes.known_tasks, sizes.difficulties + sizes.verbosities)
        self.dropout = (0.0, 0.0)  # of the embedding and of the hidden layer, while training

    def read(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Task logits [.., known tasks] and latents [.., difficulties + verbosities]."""
        x = functional.dropout(query * GAIN, self.dropout[0], self.training)
        hidden = functional.dropout(torch.relu(self.hidden(x)), self.dropout[1], self.training)
        read = torch.cat([hidden, x], -1)
        logits = self.task(read)
        return logits, self.latent(torch.cat([read, 4 * torch.softmax(logits, -1).detach()], -1))

    def features(self, logits: Tensor, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From what `read` returns to what `forward` returns."""
        difficulty, verbosity = latent.split((self.sizes.difficulties, self.sizes.verbosities), -1)
        task = torch.softmax(logits, -1)
        group = task @ self.group
        return torch.cat([task, difficulty], -1), torch.cat([task, verbosity], -1), group

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        return self.features(*self.read(query))
