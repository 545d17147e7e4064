"""What a user sees of a (query, LLM) pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.sizes import PARTS, SATURATIONS, Sizes

COST_CENTRE, COST_SCALE = -3.5, 0.8  # log10 dollars
LENGTH_CENTRE, LENGTH_SCALE = math.log(150.0), 0.9  # log tokens
LEAST_DOLLARS = 1e-9
# What `standard_quality`, `standard_cost` and `standard_length` make of 1, quality, log dollars and log tokens (rows).
AFFINE = [
    [1.0, -1.0, -COST_CENTRE / COST_SCALE, -LENGTH_CENTRE / LENGTH_SCALE],
    [0.0, 2.0, 0.0, 0.0],
    [0.0, 0.0, 1 / (COST_SCALE * math.log(10)), 0.0],
    [0.0, 0.0, 0.0, 1 / LENGTH_SCALE],
]


def standard_quality(quality: Tensor) -> Tensor:
    """Probability 0..1 to -1 (wrong) .. 1 (right)."""
    return 2 * quality - 1


def standard_cost(dollars: Tensor) -> Tensor:
    """Dollars to about zero mean and unit spread of their logarithm."""
    scale = COST_SCALE * math.log(10)
    return torch.log(dollars.clamp(min=LEAST_DOLLARS)) * (1 / scale) - COST_CENTRE / COST_SCALE


def standard_length(log_tokens: Tensor) -> Tensor:
    """Log tokens to about zero mean and unit spread."""
    return log_tokens * (1 / LENGTH_SCALE) - LENGTH_CENTRE / LENGTH_SCALE


class UserFeatures(nn.Module):
    """phi(query, llm) [.., K]: [quality, cost, length] x [1, task], 1, some non-linear ones, vendor and name codes.

    Quality, cost and length enter standardised; codes are random signatures, so that likings of single LLMs and vendors
    need no table of LLMs and work for LLMs that training never saw.
    """

    first: Tensor
    saturated: Tensor
    second: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `prior`."""
        super().__init__()
        self.sizes = sizes
        # pairs of [1, quality, cost, length] whose products are features: 1, and what a linear preference can't say
        self.register_buffer("first", torch.tensor([0, 1, 1, 2, 3]), persistent=False)
        self.register_buffer("second", torch.tensor([0, 2, 3, 2, 3]), persistent=False)
        self.register_buffer("saturated", torch.tensor([math.log(usd) for usd in SATURATIONS]), persistent=False)
        self.quality_scale = nn.Parameter(torch.ones(1))
        self.quality_shift = nn.Parameter(torch.zeros(1))

    def quality(self, logit: Tensor) -> Tensor:
        """Probability of a good answer from the LLM node's logit."""
        return torch.sigmoid(self.quality_scale * logit + self.quality_shift)

    def standardise(self, quality: Tensor, cost: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quality 0..1, dollars, tokens, any equal shapes, to the units of preference weights."""
        return standard_quality(quality), standard_cost(cost), standard_length(torch.log(tokens.clamp(min=1.0)))

    def forward(self, quality: Tensor, cost: Tensor, length: Tensor, task: Tensor, codes: Tensor) -> Tensor:
        """All but `task` [.., T], which broadcasts, and `codes` [.., P + C] of one shape [..]; linear in quality, so
        that the expected feature is the feature of the expected quality.
        """
        basic = torch.stack([quality, cost, length], -1)
        with_task = functional.pad(task, (1, 0), value=1.0)
        outer = (basic.unsqueeze(-1) * with_task.unsqueeze(-2)).flatten(-2)
        with_one = functional.pad(basic, (1, 0), value=1.0)
        products = with_one.index_select(-1, self.first) * with_one.index_select(-1, self.second)
        # a budget and an ideal length
        hinges = torch.relu(basic[..., 1:])
        log_dollars = (cost + COST_CENTRE / COST_SCALE) * (COST_SCALE * math.log(10))
        saturating = torch.sigmoid(log_dollars.unsqueeze(-1) - self.saturated)
        return torch.cat([outer, products, hinges, saturating, codes], -1)

    def part_of(self) -> Tensor:
        """[K, R]: 1 where a feature belongs to a part of the score."""
        s = self.sizes
        width = 1 + s.tasks
        parts = [1] * width + [2] * width + [3] * width
        parts += [0, 2, 3, 2, 3, 2, 3, *[2] * len(SATURATIONS)] + [4] * (s.provider_code + s.name_code)
        return functional.one_hot(torch.tensor(parts), len(PARTS)).float()
