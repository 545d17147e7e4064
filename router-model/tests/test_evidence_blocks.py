from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import SIZES, edges, queries, tiny_router

from router_model.evidence import Memory
from router_model.kinds import RATING
from router_model.network import Router

MEMORY = Memory(count=3, rewards=2, fade=0.5)


@pytest.fixture(scope="module")
def router() -> Router:
    return tiny_router()


def kept(memory: Memory, messages: np.ndarray) -> np.ndarray:
    """Sums [W, G] after messages [N, G]."""
    sums = memory.empty(1, messages.shape[1], np.float64)
    for n, message in enumerate(messages):
        sums = memory.add(sums, message[None], np.array([n]))
    return sums[0]


def test_messages_lie_in_blocks_by_age_and_fade() -> None:
    messages = 2.0 ** np.arange(7)[:, None]
    np.testing.assert_array_equal(kept(replace_fade(1.0), messages)[:, 0], [64, 16 + 32, 1 + 2 + 4 + 8])
    faded = messages * 0.5 ** np.arange(6, -1, -1)[:, None]
    np.testing.assert_allclose(kept(MEMORY, messages).sum(0), faded.sum(0))


def test_users_fill_their_blocks_at_their_own_pace() -> None:
    memory = replace_fade(1.0)
    sums = np.array([[[1.0], [2.0], [4.0]], [[1.0], [2.0], [4.0]]])
    made = memory.add(sums, np.array([[8.0], [8.0]]), np.array([5, 6]))
    np.testing.assert_array_equal(made[:, :, 0], [[9, 2, 4], [8, 1, 6]])


def test_one_block_is_a_plain_sum() -> None:
    messages = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_allclose(kept(Memory(1, 2, 1.0), messages)[0], messages.sum(0))


def replace_fade(fade: float) -> Memory:
    return Memory(MEMORY.count, MEMORY.rewards, fade)


def opinion(router: Router, likes: list[bool]) -> float:
    """Expected reward of an answer for a user whose likes and dislikes of it came in this order."""
    made = {name: value[:1].expand(len(likes), *value.shape[1:]) for name, value in edges(router, 1, 3).items()}
    made["kind"] = torch.full((len(likes),), RATING)
    made["completion_tokens"] = made["cost_usd"] = torch.full((len(likes),), -1.0)  # as predicted
    made["reward"] = torch.tensor([0.8 if like else -0.8 for like in likes])
    with torch.no_grad():
        messages, _ = router.edge(**made)
        sums = kept(SIZES.memory(1.0), messages.numpy().astype(np.float64))
        state = router.user(torch.from_numpy(sums.reshape(1, -1)).float())
        asked = {"query": queries(1, 3), "prompt_tokens": made["prompt_tokens"][:1]}
        mean, *_ = router.score(**asked, state=state, z=made["z"][:1], cost_weight=torch.tensor([-1.0]))
    return mean.item()


def test_a_flip_of_tastes_is_followed(router: Router) -> None:
    """A change is found soon: what was said before it is hardly heard any more."""
    before, after = opinion(router, [True] * 36), opinion(router, [False] * 12)
    assert before > 0.3
    assert after < -0.3
    changed = opinion(router, [True] * 36 + [False] * 12)
    assert changed < 0.5 * after
    router.user_node.log_odds[:-1] = -1e9
    try:
        unmoved = opinion(router, [True] * 36 + [False] * 12)
    finally:
        router.user_node.derive()
    assert unmoved > changed + 0.2


def test_tastes_that_stay_are_believed_in_as_one(router: Router) -> None:
    likes = [n % 3 > 0 for n in range(48)]
    steady = opinion(router, likes)
    router.user_node.log_odds[:-1] = -1e9
    try:
        assert steady == pytest.approx(opinion(router, likes), rel=0.05)
    finally:
        router.user_node.derive()
