"""The folded score is `Router.score`: the same numbers, by fewer operators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import SIZES, tiny_router
from torch import Tensor

from router_model.export.fold import FoldedScore
from router_model.export.onnx import realistic
from router_model.network import LEAST_VARIANCE, Router

OUTPUTS = ("mean", "std", "parts", "quality", "completion_tokens", "apart", "reading")


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def router(request: pytest.FixtureRequest) -> Iterator[Router]:
    torch.set_default_dtype(request.param)
    made = tiny_router(3) if request.param == torch.float32 else tiny_router(3).double()
    with torch.no_grad():
        made.features.quality_scale.fill_(1.3)
        made.features.quality_shift.fill_(-0.2)
    yield made
    torch.set_default_dtype(torch.float32)


def scales(router: Router, made: dict[str, Tensor], expected: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """How large the terms are whose sums the outputs are: what rounding is relative to."""
    k = SIZES.user
    phi, _, _ = router.phi(made["query"], made["prompt_tokens"], made["z"])
    learned, covariance = made["state"][:, :k], made["state"][:, k:].unflatten(-1, (k, k))
    weights = torch.maximum(learned.abs(), torch.ones_like(learned))
    terms = (phi.abs() * weights.unsqueeze(1)).sum(-1) + router.split_z(made["z"])[2].abs()
    variance = torch.einsum("bmk,bkl,bml->bm", phi.abs(), covariance.abs(), phi.abs())
    std = expected[1]
    other, _, _ = router.phi(made["query"], made["prompt_tokens"], made["anchor"])
    both = phi.abs() + other.abs()
    aside = torch.einsum("bmk,bkl,bml->bm", both, covariance.abs(), both) / expected[5]
    reading = torch.ones_like(expected[6])
    return terms, variance / std, terms.unsqueeze(-1), torch.ones_like(expected[3]), expected[4], aside, reading


@given(
    requests=st.integers(1, 6),
    llms=st.integers(1, 12),
    seed=st.integers(0, 5),
    cost_weights=st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.3, 1.0, 1.7]), min_size=6, max_size=6),
    prompt=st.sampled_from([-4.0, 0.0, 20.0, 2e6]),
    free=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folding_changes_no_score(
    router: Router, requests: int, llms: int, seed: int, cost_weights: list[float], prompt: float, free: bool
) -> None:
    made = realistic(router, "score", {"B": requests, "M": llms}, seed)
    made["cost_weight"] = torch.tensor(cost_weights[:requests])
    made["prompt_tokens"][-1] = prompt
    codes = SIZES.provider_code + SIZES.name_code
    made["z"][0, -codes - 3] = 0.4  # popular
    if free:
        made["z"][0, -codes - 2 : -codes] = 0.0
    with torch.no_grad():
        found, expected = FoldedScore(router).to(made["query"].dtype)(**made), router.score(**made)
        largest = scales(router, made, expected)
    # Some tens of roundings, each relative to the terms summed up.
    near = 64 * torch.finfo(made["query"].dtype).eps
    for name, one, other, scale in zip(OUTPUTS, found, expected, largest, strict=True):
        error = ((one - other).abs() / scale).max().item()
        assert error <= near, f"{name} is off by {error:.2g} of its terms"


def test_a_given_cost_weight_silences_the_user(router: Router) -> None:
    made = realistic(router, "score", {"B": 3, "M": 4}, 2)
    made["query"], made["prompt_tokens"] = made["query"][:1].expand(3, -1), made["prompt_tokens"][:1].expand(3)
    made["cost_weight"] = torch.full((3,), 0.4)
    made["state"] = made["state"] * torch.tensor([[1.0], [1.0], [0.5]])
    with torch.no_grad():
        mean, *_ = router.score(**made)
    order = mean.argsort(-1)
    assert torch.equal(order[0], order[1]), "of two users in any state, the same candidate is best"
    assert torch.equal(order[0], order[2])


def test_a_score_is_never_certain(router: Router) -> None:
    made = realistic(router, "score", {"B": 1, "M": 2}, 2)
    made["state"] = torch.zeros_like(made["state"])
    with torch.no_grad():
        for score in (router.score, FoldedScore(router).to(made["query"].dtype)):
            assert (score(**made)[1] >= 0.99 * LEAST_VARIANCE**0.5).all()


def test_later_weights_are_scored_with(router: Router) -> None:
    made = realistic(router, "score", {"B": 2, "M": 3}, 6)
    with torch.no_grad():
        before = router.score(**made)[3]
        router.features.quality_shift.add_(1.0)
        assert (router.score(**made)[3] > before).all()
        router.features.quality_shift.add_(-1.0)
