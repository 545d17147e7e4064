"""A router small enough to test in seconds: beliefs as before any training, random where those are silent."""

from __future__ import annotations

import torch

from router_model.export.onnx import example, realistic
from router_model.kinds import RATING, THUMB
from router_model.network import Router, Sizes
from router_model.priors.prior import CARD_FEATURES, believe_cards, believe_people, believe_rewards

SIZES = Sizes(
    query=12,
    card=2 * len(CARD_FEATURES),
    provider_code=3,
    name_code=5,
    known_tasks=4,
    tasks=2,
    difficulties=2,
    verbosities=2,
    hidden=8,
    components=3,
    kin=4,
)


def tiny_router(seed: int = 0) -> Router:
    """Deterministic in `seed`."""
    torch.manual_seed(seed)
    router = Router(SIZES)
    believe_cards(router)
    believe_rewards(router)
    believe_people(router)
    with torch.no_grad():
        router.user_node.mean.add_(0.1 * torch.randn_like(router.user_node.mean))
        router.llm_node.quality.set_kin(
            torch.randn(2, SIZES.query), torch.randn(2, SIZES.quality), 4.0, torch.ones(SIZES.query)
        )
    router.user_node.summarise()
    return router.eval()


def queries(count: int, seed: int = 0) -> torch.Tensor:
    """Of which `realistic` gives edge.onnx the readings."""
    return example("score", SIZES, {"B": count, "M": 1}, seed)["query"]


def edges(router: Router, count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Inputs of edge.onnx for so many made-up rewards that reach a user."""
    made = realistic(router, "edge", {"N": count}, seed)
    made["kind"] = torch.where(torch.arange(count) % 2 == 0, RATING, THUMB)
    made["weight"] = torch.ones(count)
    return made
