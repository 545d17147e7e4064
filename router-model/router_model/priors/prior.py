"""What is believed before any data: what a card says of an LLM, and what people tend to like.

Training starts from here, and where training data cannot speak (nine to thirty LLMs don't determine forty card
features) this is what stays.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.export.artifact import CardFeature
from router_model.model import JUDGE, KINDS, OUTCOME, Router, Sizes
from router_model.priors.user import Blocks, MixturePrior

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
    "output_price": 0.245,
    "input_price": 0.105,
    "size_b": 0.315,
    "context_window": 0.07,
    "reasoning": 0.175,
    "benchmarks.mmlu": 0.105,
    "benchmarks.mmlu_pro": 0.14,
    "benchmarks.gpqa": 0.175,
    "benchmarks.math": 0.14,
    "benchmarks.gsm8k": 0.07,
    "benchmarks.humaneval": 0.07,
    "benchmarks.livecodebench": 0.14,
    "benchmarks.arena_elo": 0.28,
}
ABILITY_AT_MEAN = 0.6
LOG_TOKENS = {"output_price": 0.1, "reasoning": 0.35}
LOG_TOKENS_AT_MEAN = 5.3


def value_column(field: str) -> int:
    """Column of a field's value in a card's features (its presence is the next one)."""
    return 2 * [f.field for f in CARD_FEATURES].index(field)


# How sharply a kind of reward that is no dense score follows utility: up with probability sigmoid(gain x utility).
GAINS = {"thumb": 4.0, "preference": 4.0, "regeneration": 2.0, "edit": 1.0, "continuation": 1.0, "abort": 1.5}
NOISE = {"outcome": 0.25, "rating": 0.03, "judge": 0.15}  # variance of a dense score around utility


def believed_slopes() -> NDArray[np.float64]:
    """Slopes [F] of ability in a card's features."""
    slopes = np.zeros(2 * len(CARD_FEATURES))
    for field, slope in ABILITY.items():
        slopes[value_column(field)] = slope
    return slopes


def believe_cards(router: Router) -> None:
    """Sets the LLM node's prior by hand: ability from price, size and benchmarks; reply length near the average."""
    sizes, node = router.sizes, router.llm_node
    with torch.no_grad():
        for belief in (node.quality, node.length):
            belief.card.weight.zero_()
            belief.card.bias.zero_()
            belief.factor.copy_(torch.eye(belief.features) * 3.0)
        node.quality.card.bias[: sizes.known_tasks] = ABILITY_AT_MEAN
        node.quality.card.weight[: sizes.known_tasks] = torch.as_tensor(believed_slopes(), dtype=torch.float32)
        node.length.card.bias[: sizes.tasks] = LOG_TOKENS_AT_MEAN
        for field, slope in LOG_TOKENS.items():
            node.length.card.weight[: sizes.tasks, value_column(field)] = slope


def believe_rewards(router: Router) -> None:
    """Sets what each kind of reward means."""
    with torch.no_grad():
        for kind, gain in GAINS.items():
            router.reading.log_gain[KINDS.index(kind)] = math.log(gain)
        for kind, noise in NOISE.items():
            router.reading.log_noise[KINDS.index(kind)] = math.log(noise)
        router.kind_user.fill_(1.0)
        router.kind_user[OUTCOME] = 0.0
        router.kind_llm.zero_()
        router.kind_llm[OUTCOME] = 1.0
        router.kind_llm[JUDGE] = 0.5


def believe_people(router: Router) -> None:
    """Sets the user node's prior by hand: quality is liked, cost mildly disliked, all with a wide spread."""
    sizes, node = router.sizes, router.user_node
    prior = wide_prior(sizes)
    with torch.no_grad():
        node.log_weight.zero_()
        node.mean.copy_(torch.as_tensor(prior.mean).expand_as(node.mean))
        factor = torch.linalg.cholesky(torch.linalg.inv(torch.as_tensor(prior.covariance)))
        factor.diagonal(dim1=-2, dim2=-1).log_()
        node.factor.copy_(factor.expand_as(node.factor))
    node.summarise()


def wide_prior(sizes: Sizes) -> MixturePrior:
    """One broad component: where expectation maximisation starts."""
    width, blocks = 1 + sizes.tasks, Blocks.of(sizes)
    mean, spread = np.zeros(sizes.user), np.full(sizes.user, 0.05)
    for row, (centre, wide, by_task) in enumerate(((0.3, 0.2, 0.15), (-0.08, 0.12, 0.05), (0.0, 0.12, 0.03))):
        mean[row * width] = centre
        spread[row * width], spread[row * width + 1 : (row + 1) * width] = wide, by_task
    mean[3 * width], spread[3 * width] = 0.05, 0.2
    spread[blocks.bends] = 0.03
    spread[blocks.vendor], spread[blocks.name] = 0.1, 0.08
    return MixturePrior(np.ones(1), mean[None], np.diag(spread**2)[None])
