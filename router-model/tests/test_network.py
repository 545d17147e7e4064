from __future__ import annotations

import pytest
import torch
from near import ROUNDING, assert_near
from tiny import SIZES, edges, queries, tiny_router

from router_model.export.onnx import realistic
from router_model.kinds import KINDS, OUTCOME, RATING, THUMB
from router_model.network import PARTS, TASTES, Router, outcome_terms
from router_model.priors.user import starts_of


@pytest.fixture(scope="module")
def router() -> Router:
    return tiny_router()


def recent(message: torch.Tensor) -> torch.Tensor:
    """Sums [1, H] of a user with all messages [G] in the newest block."""
    return torch.nn.functional.pad(message, (0, SIZES.user_sums - SIZES.user_message)).unsqueeze(0)


def scored(router: Router, **change: torch.Tensor) -> tuple[torch.Tensor, ...]:
    inputs = {**realistic(router, "score", {"B": 3, "M": 4}, 1), **change}
    with torch.no_grad():
        return router.score(**inputs)


def test_order_of_history_does_not_matter(router: Router) -> None:
    with torch.no_grad():
        messages, _ = router.edge(**edges(router, 30))
        forwards = router.user(recent(messages.sum(0)))
        shuffled = router.user(recent(messages[torch.randperm(30)].sum(0)))
    assert_near(forwards, shuffled)


def test_what_is_said_of_tastes_is_what_scores_come_from(router: Router) -> None:
    """Liking by codes, and what a right answer, a lower price, a longer answer is worth: mean and deviation."""
    k, codes = SIZES.user, SIZES.provider_code + SIZES.name_code
    with torch.no_grad():
        sums = recent(router.edge(**edges(router, 30))[0].sum(0))
        state, taste, spread, since = router.described(sums)
        made = realistic(router, "score", {"B": 1, "M": 4}, 1)
        *_, codes_of, _ = router.split_z(made["z"])
        popularity = router.split_z(made["z"])[2]
        parts = router.score(**{**made, "state": state, "cost_weight": torch.tensor([-1.0])})[2]
        mean, covariance = state[0, :k], state[0, k:].unflatten(-1, (k, k))
        features, half = router.features, torch.full((2,), 0.75)
        seen = features.standardise(half, torch.tensor([3e-4, 3e-3]), torch.tensor([150.0, 150.0]))
        cheap, dear = features(*seen, torch.full((2, SIZES.tasks), 1 / SIZES.tasks), torch.zeros(2, codes))
    assert torch.equal(state, router.user(sums))
    assert_near(parts[0, :, PARTS.index("liking")] - popularity, codes_of @ taste[0, len(TASTES) :])
    assert_near(taste[0, TASTES.index("cost")], (cheap - dear) @ mean)
    at = TASTES.index("cost")
    assert_near(spread[0, at, at], (cheap - dear) @ covariance @ (cheap - dear))
    assert_near(since.sum(-1), torch.ones(1))
    assert spread.shape == (1, SIZES.directions, SIZES.directions)
    assert (torch.linalg.eigvalsh(spread[0]) > -1e-6).all()


def test_replaced_rating_leaves_no_trace(router: Router) -> None:
    made = edges(router, 8)
    with torch.no_grad():
        messages, to_llm = router.edge(**made)
        changed, _ = router.edge(**{**made, "reward": -made["reward"]})
        again, _ = router.edge(**made)
    assert torch.equal(messages, again)  # subtracting what was added is exact
    sums = messages.sum(0) - messages[3] + changed[3]
    direct = torch.cat([messages[:3], changed[3:4], messages[4:]]).sum(0)
    assert_near(sums, direct)
    assert to_llm.shape == (8, SIZES.llm_message)


def test_weight_zero_says_nothing(router: Router) -> None:
    made = edges(router, 9)
    made["kind"] = torch.arange(9) % len(KINDS)
    made["weight"] = torch.zeros(9)
    with torch.no_grad():
        to_user, to_llm = router.edge(**made)
    assert torch.count_nonzero(to_user) == 0
    assert torch.count_nonzero(to_llm) == 0


def test_outcomes_speak_of_llms_alone(router: Router) -> None:
    made = edges(router, 4)
    made["kind"] = torch.full((4,), OUTCOME)
    with torch.no_grad():
        to_user, to_llm = router.edge(**made)
    assert torch.count_nonzero(to_user) == 0
    assert torch.count_nonzero(to_llm) > 0


def test_messages_add_no_certainty_that_is_not_there(router: Router) -> None:
    made = edges(router, 40)
    k = SIZES.user
    with torch.no_grad():
        messages, _ = router.edge(**made)
    for message in messages.double():
        whole = torch.zeros(k, k, dtype=torch.double)
        rows, columns = torch.triu_indices(k, k)
        whole[rows, columns] = whole[columns, rows] = message[: k * (k + 1) // 2]
        # Rounding its entries to float32 moves an eigenvalue by half of this at most (Weyl).
        assert torch.linalg.eigvalsh(whole).min() >= -ROUNDING * torch.linalg.matrix_norm(whole)


@pytest.mark.parametrize("kind", [RATING, THUMB])
def test_reward_moves_the_belief_towards_itself_and_makes_it_surer(router: Router, kind: int) -> None:
    made = {name: value[:1].expand(5, *value.shape[1:]) for name, value in edges(router, 1).items()}
    made["kind"] = torch.full((5,), kind)
    score = {
        "query": queries(1),
        "prompt_tokens": made["prompt_tokens"][:1],
        "cost_weight": torch.tensor([-1.0]),
    }
    means, stds = [], []
    for reward in (-1.0, 0.0, 1.0):
        with torch.no_grad():
            messages, _ = router.edge(**{**made, "reward": torch.full((5,), reward)})
            sums = recent(messages.sum(0) * (reward != 0))
            mean, std, *_ = router.score(**score, state=router.user(sums), z=made["z"][:1])
        means.append(mean.item())
        stds.append(std.item())
    assert means[0] < means[1] < means[2]
    assert max(stds[0], stds[2]) < stds[1]


def test_candidates_do_not_see_each_other(router: Router) -> None:
    inputs = realistic(router, "score", {"B": 3, "M": 4}, 1)
    mean, std, parts, quality, tokens, apart, _ = scored(router)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = scored(router, z=inputs["z"][order])
    for whole, other in zip((mean, std, parts, quality, tokens, apart), shuffled, strict=False):
        assert_near(whole[:, order], other)
    doubled = scored(router, z=torch.cat([inputs["z"], inputs["z"][:1]]))
    assert_near(doubled[0][:, -1], mean[:, 0])
    alone = scored(router, z=inputs["z"][1:2])
    assert_near(alone[0][:, 0], mean[:, 1])


def test_parts_add_up(router: Router) -> None:
    mean, std, parts, quality, tokens, *_ = scored(router)
    assert_near(parts.sum(-1), mean)
    assert (std > 0).all()
    assert ((quality > 0) & (quality < 1)).all()
    assert (tokens >= 1).all()


def test_cost_weight_goes_from_best_to_cheapest(router: Router) -> None:
    inputs = realistic(router, "score", {"B": 3, "M": 4}, 1)
    best, _, _, quality, tokens, *_ = scored(router, cost_weight=torch.zeros(3))
    cheap, *_ = scored(router, cost_weight=torch.ones(3))
    price = router.split_z(inputs["z"])[3]
    dollars = inputs["prompt_tokens"].unsqueeze(-1) * price[:, 0] + tokens * price[:, 1]
    assert torch.equal(best.argmax(-1), quality.argmax(-1))
    assert torch.equal(cheap.argmax(-1), dollars.argmin(-1))


def test_nothing_is_doubted_of_the_favourite_itself(router: Router) -> None:
    inputs = realistic(router, "score", {"B": 3, "M": 4}, 1)
    *_, apart, _ = scored(router, anchor=inputs["z"][2:3])
    assert (apart[:, 2] < 1e-4).all()
    assert (apart[:, [0, 1, 3]] > 1e-3).all()


def test_outcomes_of_a_strong_llm_raise_it_to_its_truth() -> None:
    """Nine in ten right, by a card that says four in five: the more outcomes, the nearer."""
    card, truth = torch.tensor(1.386), 0.9
    found = []
    for outcomes in (10, 100, 1000):
        precision = information = torch.zeros(())
        for right, share in ((1.0, truth), (-1.0, 1 - truth)):
            curvature, pull = outcome_terms(card, torch.tensor(right))
            precision, information = precision + outcomes * share * curvature, information + outcomes * share * pull
        prior = 4.0
        found.append(torch.sigmoid((information + prior * card) / (precision + prior)).item())
    assert 0.8 < found[0] < found[1] < found[2]
    assert found[2] == pytest.approx(truth, rel=0.03)


def test_llm_without_evidence_is_its_card_and_evidence_moves_it(router: Router) -> None:
    made = realistic(router, "llm", {"M": 3}, 2)
    with torch.no_grad():
        z = router.llm(**{**made, "evidence": torch.zeros_like(made["evidence"])})
        expected = router.llm_node.quality.prior_mean(made["card"], made["text"])
        asked = queries(60, 3)
        edge = realistic(router, "edge", {"N": 60}, 3)
        edge |= {"kind": torch.full((60,), OUTCOME), "reward": torch.ones(60), "weight": torch.ones(60)}
        edge["z"] = z[:1].expand(60, -1)
        good = router.llm(**{**made, "evidence": router.edge(**edge)[1].sum(0).expand(3, -1)})
        before = router.predict(asked, edge["prompt_tokens"], z)[0].mean(0)
        after = router.predict(asked, edge["prompt_tokens"], good)[0].mean(0)
    assert_near(z[:, : SIZES.quality], expected)
    assert (after > before).all()


def test_rating_of_many_users_makes_an_llm_popular(router: Router) -> None:
    made = edges(router, 50)
    made |= {"kind": torch.full((50,), RATING), "reward": torch.ones(50)}
    with torch.no_grad():
        _, to_llm = router.edge(**made)
        cards = realistic(router, "llm", {"M": 1}, 0)
        liked = router.llm(**{**cards, "evidence": to_llm.sum(0, keepdim=True)})
    assert router.split_z(liked)[2].item() > 0


def test_extreme_inputs_stay_finite(router: Router) -> None:
    made = edges(router, 4)
    made["prompt_tokens"] = torch.tensor([0.0, 1e7, -5.0, 1.0])
    made["completion_tokens"] = torch.tensor([-1.0, 0.0, 1e7, 5.0])
    made["cost_usd"] = torch.tensor([-1.0, 0.0, 1e5, 1e-12])
    made["reading"] = router.encoder.reading(torch.zeros(4, SIZES.query)).detach()
    with torch.no_grad():
        to_user, to_llm = router.edge(**made)
        state = router.user(recent(1e4 * to_user.sum(0)))
    for value in (to_user, to_llm, state):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize(("taste", "sign"), [("quality", 1), ("frugal", -1)])
def test_a_taste_to_start_with_is_a_deviation_of_the_prior(router: Router, taste: str, sign: int) -> None:
    """Information b moves the mean by C b: along what is asked, the price of quality, by one deviation."""
    node = router.user_node
    said = torch.zeros(SIZES.user, dtype=torch.double)
    for weight, value in starts_of(node)[taste].items():
        said[int(weight)] = value
    covariance = node.population_covariance.double()
    moved = covariance @ said
    towards = said / said.norm() * sign
    assert float(towards @ moved) * sign == pytest.approx(float((towards @ covariance @ towards).sqrt()), rel=1e-3)
    assert sign * float(moved[0]) > 0
