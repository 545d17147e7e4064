from __future__ import annotations

import pytest
import torch
from tiny import SIZES, tiny_router
from torch import Tensor

from router_model.export.onnx import realistic
from router_model.features import standard_cost, standard_length, standard_quality
from router_model.model import Router
from router_model.sizes import PARTS


@pytest.fixture(scope="module")
def router() -> Router:
    made = tiny_router(3)
    with torch.no_grad():
        made.features.quality_scale.fill_(1.3)
        made.features.quality_shift.fill_(-0.2)
    return made


def by_the_book(
    router: Router, query: Tensor, prompt_tokens: Tensor, state: Tensor, z: Tensor, cost_weight: Tensor
) -> tuple[Tensor, ...]:
    """What `Router.score` is to give, one step after the other."""
    k = SIZES.user
    quality, dollars, log_tokens, task = router.predict(query, prompt_tokens, z)
    _, _, popularity, _, codes, _ = router.split_z(z)
    outcome = standard_quality(quality), standard_cost(dollars), standard_length(log_tokens)
    phi = router.features(*outcome, task.unsqueeze(1), codes.expand(len(query), -1, -1))  # [B, M, K]
    mean, covariance = state[:, :k], state[:, k:].reshape(-1, k, k)
    variance = torch.einsum("bmk,bkl,bml->bm", phi, covariance, phi)
    parts = []
    for row, asked in enumerate(cost_weight.tolist()):
        weights, liking = mean[row], popularity
        if asked >= 0:
            given = router.quality_only + min(asked, 1.0) * router.cost_for_quality
            weights, liking = weights * (1 - router.not_base) + given, 0 * popularity
        of_row = (phi[row] * weights) @ router.part_of
        of_row[:, PARTS.index("liking")] += liking
        parts.append(of_row)
    stacked = torch.stack(parts)
    return stacked.sum(-1), variance.sqrt(), stacked, quality, log_tokens.exp()


@pytest.mark.parametrize(("requests", "llms"), [(1, 1), (1, 12), (6, 1), (6, 5)])
def test_a_score_is_what_its_parts_say(router: Router, requests: int, llms: int) -> None:
    made = realistic(router, "score", {"B": requests, "M": llms}, 5)
    made["cost_weight"] = torch.tensor([-1.0, 0.0, 0.3, 1.0, 1.7, -0.5])[:requests]
    made["prompt_tokens"][0] = -4.0
    made["prompt_tokens"][-1] = 2e6
    made["z"][0, -SIZES.provider_code - SIZES.name_code - 3] = 0.4  # popular
    made["z"][0, -SIZES.provider_code - SIZES.name_code - 2 :][:2] = 0.0  # free
    with torch.no_grad():
        found, expected = router.score(**made), by_the_book(router, **made)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_later_weights_are_scored_with(router: Router) -> None:
    made = realistic(router, "score", {"B": 2, "M": 3}, 6)
    with torch.no_grad():
        before = router.score(**made)[3]
        router.features.quality_shift.add_(1.0)
        assert (router.score(**made)[3] > before).all()
        router.features.quality_shift.add_(-1.0)
