"""The folded user is `Router.described`: the same belief, by as few inverses as there is evidence for."""

from __future__ import annotations

import pytest
import torch
from tiny import edges, tiny_router

from router_model.export.fold_user import FoldedUser
from router_model.network import Router
from router_model.priors.people import with_people, without_people


def sums_of(router: Router, in_blocks: list[int], seed: int) -> torch.Tensor:
    """[H], of so many rewards in each block, the newest first."""
    blocks = []
    for i, count in enumerate(in_blocks):
        messages = (
            router.edge(**edges(router, count, seed + i))[0] if count else torch.zeros(1, router.sizes.user_message)
        )
        blocks.append(messages.sum(0))
    return torch.cat(blocks)


IN_BLOCKS = [[0, 0, 0, 0], [3, 0, 0, 0], [2, 12, 0, 0], [1, 12, 12, 0], [4, 12, 12, 30], [0, 0, 5, 0], [0, 0, 0, 7]]


@pytest.mark.parametrize("people", [True, False], ids=["kinds of people", "one kind"])
@pytest.mark.parametrize("in_blocks", [*([one] for one in IN_BLOCKS), IN_BLOCKS, IN_BLOCKS[:2]])
def test_folding_changes_no_belief(in_blocks: list[list[int]], people: bool) -> None:
    router = (with_people if people else without_people)(tiny_router(2))
    tenant = torch.randn(len(in_blocks), router.sizes.tenants) if people else None
    with torch.no_grad():
        sums = torch.stack([sums_of(router, of_one, seed) for seed, of_one in enumerate(in_blocks)])
        expected, found = router.described(sums, tenant), FoldedUser(router)(sums, tenant)
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-6 * a.abs().max().clamp(min=1e-6)
