"""Beliefs before any data: ability from an LLM's card, and tastes that people tend to have.

Training starts from here, and where training data cannot speak (nine to thirty LLMs don't determine forty card
features) this is what stays.
"""

from __future__ import annotations

import json
import math

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.data.ability import AbilitySpec, VerbositySpec
from router_model.data.cards import SPEC_FILE
from router_model.export.artifact import CardFeature
from router_model.kinds import REWARD_KINDS
from router_model.network import Router, Sizes
from router_model.priors.user import Blocks, MixturePrior

CARD_FEATURES = (
    CardFeature(field="ability", transform="identity", mean=0.0, std=1.0),
    CardFeature(field="ability_sd", transform="identity", mean=0.0, std=1.0),
    CardFeature(field="chat", transform="identity", mean=0.0, std=1.0),
    CardFeature(field="agentic", transform="identity", mean=0.0, std=1.0),
    CardFeature(field="reasoning", transform="identity", mean=0.0, std=1.0),
    CardFeature(field="instruction", transform="identity", mean=0.0, std=1.0),
    CardFeature(field="thinking", transform="flag", mean=0.0, std=1.0),
    CardFeature(field="log_verbosity", transform="identity", mean=6.7, std=1.0),
    CardFeature(field="input_price", transform="log10", mean=-0.2, std=0.7),
    CardFeature(field="output_price", transform="log10", mean=0.2, std=0.8),
    CardFeature(field="context_window", transform="log10", mean=4.9, std=0.6),
    CardFeature(field="size_b", transform="log10", mean=1.3, std=0.6),
    CardFeature(field="open_weights", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="tools", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="vision", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="json_schema", transform="flag", mean=0.5, std=0.5),
)

# Log-odds of a good answer for one deviation of ability; what else a card holds speaks through ability alone.
ABILITY = {"ability": 1.0}
ABILITY_AT_MEAN = 1.0
# Log tokens for one more of it.
LOG_TOKENS = {"log_verbosity": 0.8}
LOG_TOKENS_AT_MEAN = 5.6


def ability_specs() -> tuple[AbilitySpec, VerbositySpec]:
    """What cards are read by: `data/ability.json`, which `python -m router_model abilities` writes."""
    made = json.loads(SPEC_FILE.read_text(encoding="utf-8"))
    return AbilitySpec.model_validate(made["ability"]), VerbositySpec.model_validate(made["verbosity"])


def value_column(field: str) -> int:
    """Column of a field's value in a card's features (its presence is the next one)."""
    return 2 * [f.field for f in CARD_FEATURES].index(field)


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
        node.quality.gain[: sizes.known_tasks] = 1.0
        node.quality.doubt[value_column("ability_sd")] = 1.0
        node.length.card.bias[: sizes.known_tasks] = LOG_TOKENS_AT_MEAN
        for field, slope in LOG_TOKENS.items():
            node.length.card.weight[: sizes.known_tasks, value_column(field)] = slope


def believe_rewards(router: Router) -> None:
    """Sets what each kind of reward means, by the table of kinds."""
    with torch.no_grad():
        for k, kind in enumerate(REWARD_KINDS):
            strength = router.reading.log_noise if kind.dense else router.reading.log_gain
            strength[k] = math.log(kind.strength)
            router.kind_user[k], router.kind_llm[k] = kind.to_user, kind.to_llm


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
