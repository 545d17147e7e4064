import math

import pytest
import torch
from near import assert_near
from tiny import SIZES, edges, tiny_router

from router_model.evidence import at_the_end, log_normal_cdf
from router_model.kinds import KINDS, RATING, THUMB


@pytest.fixture(scope="module")
def router():
    return tiny_router()


def test_log_normal_cdf_in_both_tails():
    z = torch.linspace(-30, 9, 4001, dtype=torch.float64)
    # Logarithms: a difference of 1e-6 is a share of 1e-6 of the probability.
    exact = torch.special.log_ndtr(z)
    assert ((log_normal_cdf(z) - exact).abs() <= 1e-6 + 1e-5 * exact.abs()).all()


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("mean", [-1.2, 0.3, 1.5])
def test_a_rating_at_the_end_leaves_the_moments_of_what_is_beyond(side, mean):
    variance, noise = 0.2, 0.03
    x = torch.linspace(-6, 6, 100_001, dtype=torch.float64)
    density = torch.exp(-0.5 * (x - mean) ** 2 / variance) / math.sqrt(2 * math.pi * variance)
    density = density * torch.special.ndtr((side * x - 1) / math.sqrt(noise))
    total = torch.trapezoid(density, x)
    centre = torch.trapezoid(x * density, x) / total
    spread = torch.trapezoid((x - centre) ** 2 * density, x) / total
    values = (torch.tensor(v, dtype=torch.float64) for v in (mean, variance, noise, side))
    found = torch.stack(at_the_end(*values))
    assert found.tolist() == pytest.approx([total.log().item(), centre.item(), spread.item()], rel=1e-4)


def test_a_rating_at_the_end_says_less_than_one_before_it_where_much_is_expected(router):
    mean, variance = torch.tensor([1.2]).double(), torch.tensor([0.2]).double()
    read = router.reading.moments
    kind = torch.tensor([RATING])
    _, at_end, left_at_end = read(mean, variance, torch.tensor([1.0]).double(), kind)
    _, before, left_before = read(mean, variance, torch.tensor([0.95]).double(), kind)
    assert at_end > mean > before
    assert left_at_end > 2 * left_before


def rated(router, reward, count=60):
    """Sums [1, G] of a rater whose ratings are `reward` [count]."""
    made = {**edges(router, count), "kind": torch.full((count,), RATING), "reward": reward}
    with torch.no_grad():
        return router.edge(**made)[0].sum(0, keepdim=True)


def test_nothing_said_is_nothing_known(router):
    assert not router.leniency(torch.zeros(1, 1, SIZES.user_message)).any()


def test_a_rater_who_likes_nearly_everything_is_found_out_and_then_read_as_one(router):
    normal = torch.linspace(-0.9, 0.7, 60)
    shares = []
    for reward in (normal, (normal + 1.2).clamp(max=1)):
        sums = rated(router, reward)
        plain, lenient, clue = sums.split((SIZES.belief, SIZES.belief, 2), -1)
        share = router.leniency.lenient(*clue.split(1, -1))
        assert_near(router.leniency(sums.unsqueeze(1)).squeeze(1), plain + share * (lenient - plain))
        shares.append(share.item())
    assert shares[0] < 0.2 < 0.6 < shares[1]


def test_whether_a_rater_is_lenient_is_told_by_all_blocks_together(router):
    sums = rated(router, torch.full((60,), 0.9))
    halves = torch.stack([sums * 0.25, sums * 0.75], 1)
    assert_near(router.leniency(halves).sum(1), router.leniency(sums.unsqueeze(1)).squeeze(1))


def test_only_what_users_say_is_read_twice(router):
    made = edges(router, len(KINDS))
    made["kind"] = torch.arange(len(KINDS))
    with torch.no_grad():
        message, _ = router.edge(**made)
    plain, lenient, clue = message.split((SIZES.belief, SIZES.belief, 2), -1)
    said = torch.isin(made["kind"], torch.tensor([RATING, THUMB]))
    apart = (plain - lenient).abs().amax(-1) / plain.abs().amax(-1).clamp(min=1e-30)
    assert (apart > 1e-3).tolist() == said.tolist()
    assert (clue.abs().amax(-1) > 0).tolist() == said.tolist()
