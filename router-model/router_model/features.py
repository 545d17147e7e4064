"""What a user sees of a (query, LLM) pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.sizes import PARTS, Sizes


class UserFeatures(nn.Module):
    """phi(query, llm) [.., K]: [quality, cost, length] x [1, task], 1, some non-linear ones, vendor and name codes.

    Quality, cost and length enter standardised; codes are random signatures, so that likings of single LLMs and vendors
    need no table of LLMs and work for LLMs that training never saw.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        # quality, log10 dollars, log tokens
        self.register_buffer("centre", torch.tensor([0.5, -3.5, math.log(150.0)]))
        self.register_buffer("scale", torch.tensor([0.5, 0.8, 0.9]))
        self.quality_scale = nn.Parameter(torch.ones(1))
        self.quality_shift = nn.Parameter(torch.zeros(1))

    def quality(self, logit: Tensor) -> Tensor:
        """Probability of a good answer from the LLM node's logit."""
        return torch.sigmoid(self.quality_scale * logit + self.quality_shift)

    def standardise(self, quality: Tensor, cost: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quality 0..1, dollars, tokens, any equal shapes, to about zero mean and unit spread."""
        log_cost = torch.log10(cost.clamp(min=1e-9))
        log_tokens = torch.log(tokens.clamp(min=1.0))
        return (
            (quality - self.centre[0]) / self.scale[0],
            (log_cost - self.centre[1]) / self.scale[1],
            (log_tokens - self.centre[2]) / self.scale[2],
        )

    def forward(self, quality: Tensor, cost: Tensor, length: Tensor, task: Tensor, codes: Tensor) -> Tensor:
        """All but `task` [.., T], which broadcasts, and `codes` [.., P + C] of one shape [..]; linear in quality, so that the expected
        feature is the feature of the expected quality.
        """
        linear = torch.stack([quality, cost, length], -1)
        with_task = torch.cat([torch.ones_like(task[..., :1]), task], -1)
        outer = (linear.unsqueeze(-1) * with_task.unsqueeze(-2)).flatten(-2)
        # what a linear preference can't say: wrong is worthless, a budget, an ideal length
        one = torch.ones_like(quality)
        bends = (quality * cost, quality * length, cost * cost, length * length, torch.relu(cost), torch.relu(length))
        return torch.cat([outer, torch.stack([one, *bends], -1), codes], -1)

    def part_of(self) -> Tensor:
        """[K, R]: 1 where a feature belongs to a part of the score."""
        s = self.sizes
        width = 1 + s.tasks
        parts = [1] * width + [2] * width + [3] * width
        parts += [0, 2, 3, 2, 3, 2, 3] + [4] * (s.provider_code + s.name_code)
        return functional.one_hot(torch.tensor(parts), len(PARTS)).float()
