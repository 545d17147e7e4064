"""The folded edge is `Router.edge`: the same messages and sums of them, by fewer operators."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_router

from router_model.export.fold_edge import FoldedEdge
from router_model.export.onnx import realistic
from router_model.kinds import KINDS
from router_model.network import Router


@pytest.fixture(scope="module")
def router() -> Router:
    made = tiny_router(3)
    with torch.no_grad():
        made.features.quality_scale.fill_(1.3)
        made.features.quality_shift.fill_(-0.2)
    return made


@given(
    sums=st.integers(1, 5),
    each=st.integers(1, 6),
    seed=st.integers(0, 5),
    end=st.booleans(),
    told=st.booleans(),
    silent=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_folding_changes_no_message(sums: int, each: int, seed: int, end: bool, told: bool, silent: bool) -> None:
    router = tiny_router(seed)
    made = realistic(router, "edge", {"N": sums * each}, seed)
    made["kind"] = torch.arange(sums * each) % len(KINDS)
    made["share"] = torch.rand((sums, each), generator=torch.Generator().manual_seed(seed))
    if end:
        made["reward"] = torch.sign(made["reward"])
    if not told:
        made["completion_tokens"] = -torch.ones(sums * each)
        made["cost_usd"] = -torch.ones(sums * each)
    if silent:
        made["weight"][::2] = 0
    with torch.no_grad():
        expected, found = router.edge(**made), FoldedEdge(router)(**made)
    for name, a, b in zip(("user", "llm"), expected, found, strict=True):
        assert a.shape == b.shape, name
        assert (a - b).abs().max() <= 1e-5 * a.abs().max().clamp(min=1e-6), name


def test_a_message_of_no_weight_is_exactly_nothing(router: Router) -> None:
    made = realistic(router, "edge", {"N": 4}, 1)
    made["weight"] = torch.zeros(4)
    with torch.no_grad():
        for message in FoldedEdge(router)(**made):
            assert message.abs().max() == 0


def test_scales_of_quality_count(router: Router) -> None:
    made = realistic(router, "edge", {"N": 12}, 2)
    with torch.no_grad():
        expected, found = router.edge(**made), FoldedEdge(router)(**made)
    for a, b in zip(expected, found, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))
