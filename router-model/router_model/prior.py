"""What is believed before any data: what a card says of an LLM, and what people tend to like.

Training starts from here, and where training data cannot speak (nine to thirty LLMs don't determine forty card features)
this is what stays.
"""

from __future__ import annotations

import math

import torch

from router_model.artifact import CardFeature
from router_model.model import KINDS, NON_LINEAR, RATING, THUMB, Router

CARD_FEATURES = (
    CardFeature(field="input_price", transform="log10", mean=-0.2, std=0.7),
    CardFeature(field="output_price", transform="log10", mean=0.2, std=0.8),
    CardFeature(field="context_window", transform="log10", mean=4.9, std=0.6),
    CardFeature(field="size_b", transform="log10", mean=1.3, std=0.6),
    CardFeature(field="open_weights", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="reasoning", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="tools", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="vision", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="json_schema", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="benchmarks.mmlu", transform="identity", mean=0.75, std=0.12),
    CardFeature(field="benchmarks.mmlu_pro", transform="identity", mean=0.6, std=0.18),
    CardFeature(field="benchmarks.gpqa", transform="identity", mean=0.5, std=0.18),
    CardFeature(field="benchmarks.math", transform="identity", mean=0.65, std=0.22),
    CardFeature(field="benchmarks.gsm8k", transform="identity", mean=0.85, std=0.12),
    CardFeature(field="benchmarks.humaneval", transform="identity", mean=0.75, std=0.15),
    CardFeature(field="benchmarks.livecodebench", transform="identity", mean=0.4, std=0.18),
    CardFeature(field="benchmarks.arena_elo", transform="identity", mean=1280.0, std=80.0),
)

# Log-odds of a good answer for one standard deviation of a card's field.
ABILITY = {
    "output_price": 0.35,
    "input_price": 0.15,
    "size_b": 0.45,
    "context_window": 0.1,
    "reasoning": 0.25,
    "benchmarks.mmlu": 0.15,
    "benchmarks.mmlu_pro": 0.2,
    "benchmarks.gpqa": 0.25,
    "benchmarks.math": 0.2,
    "benchmarks.gsm8k": 0.1,
    "benchmarks.humaneval": 0.1,
    "benchmarks.livecodebench": 0.2,
    "benchmarks.arena_elo": 0.4,
}
ABILITY_AT_MEAN = 0.6
LOG_TOKENS = {"output_price": 0.1, "reasoning": 0.35}
LOG_TOKENS_AT_MEAN = 5.3


def value_column(field: str) -> int:
    """Column of a field's value in a card's features (its presence is the next one)."""
    return 2 * [f.field for f in CARD_FEATURES].index(field)


def believe_cards(router: Router) -> None:
    """Sets the LLM node's prior by hand: ability from price, size and benchmarks; reply length near the average."""
    node = router.llm_node
    with torch.no_grad():
        for layer in (node.card_quality, node.card_length, node.text_quality, node.text_length):
            layer.weight.zero_()
        node.card_quality.bias.zero_()
        node.card_length.bias.zero_()
        node.card_quality.bias[0] = ABILITY_AT_MEAN
        node.card_length.bias[0] = LOG_TOKENS_AT_MEAN
        for field, slope in ABILITY.items():
            node.card_quality.weight[0, value_column(field)] = slope
        for field, slope in LOG_TOKENS.items():
            node.card_length.weight[0, value_column(field)] = slope
        node.quality_log_precision.fill_(math.log(3.0))
        node.length_log_precision.fill_(math.log(8.0))
        router.length_log_noise.fill_(math.log(0.4))
        router.kind_llm.zero_()
        router.kind_llm[KINDS.index("outcome")] = 1.0
        router.kind_llm[KINDS.index("judge")] = 0.5
        router.kind_llm[RATING] = 0.02
        router.kind_llm[THUMB] = 0.02


def believe_people(router: Router) -> None:
    """Sets the user node's prior by hand: quality is liked, cost and length mildly disliked, all with a wide spread."""
    sizes, node = router.sizes, router.user_node
    tasks = 1 + sizes.tasks
    mean = torch.zeros(sizes.user)
    spread = torch.full((sizes.user,), 0.08)
    for row, (centre, width) in enumerate(((0.1, 0.25), (0.3, 0.2), (-0.12, 0.2), (-0.02, 0.15))):
        mean[row * tasks], spread[row * tasks] = centre, width
    spread[4 * tasks : 4 * tasks + NON_LINEAR] = 0.03
    spread[4 * tasks + NON_LINEAR :] = 0.12
    # preference weights of rather quality-first, price-first, terse and thorough people, and of anybody
    leaning = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.1, 0.0], [-0.15, -0.25, 0.0], [0.0, -0.05, -0.2], [0.0, 0.05, 0.2]])
    with torch.no_grad():
        node.log_weight.zero_()
        node.mean.copy_(mean.expand_as(node.mean))
        for component in range(sizes.components):
            node.mean[component, tasks * torch.arange(1, 4)] += leaning[component % len(leaning)]
        node.factor.copy_(torch.diag(-spread.log()).expand_as(node.factor))
        router.kind_log_precision.fill_(math.log(2.0))
        router.kind_log_precision[RATING] = math.log(8.0)
        router.kind_log_precision[THUMB] = math.log(2.25)
        router.kind_gain.fill_(0.67)
        router.kind_gain[RATING] = 1.0
        router.kind_user.fill_(1.0)
        router.kind_user[KINDS.index("outcome")] = 0.0
        router.trade.copy_(torch.tensor([1.0, 1.0]))
