import numpy as np
import pytest

from personabench.metrics import (
    coverage,
    difference,
    expected_calibration_error,
    gain,
    interval,
    resample,
    share_worse_off,
    total,
    tradeoff,
)

RNG = np.random.default_rng(0)
UTILITY = RNG.normal(0, 0.3, (40, 60, 5)).astype(np.float32)
COUNTED = RNG.random((40, 60)) < 0.5
SINGLE, ORACLE = UTILITY[..., 1], UTILITY.max(-1)


def gain_of(chosen, seed=0):
    return gain(chosen, SINGLE, ORACLE, COUNTED, resample(40, 60, seed, 1))


def test_best_single_closes_nothing_and_the_oracle_everything():
    assert gain_of(SINGLE).gap_closed == pytest.approx(np.zeros(501))
    assert gain_of(ORACLE).gap_closed == pytest.approx(np.ones(501))
    half = (SINGLE + ORACLE) / 2
    assert interval(gain_of(half).gap_closed).value == pytest.approx(0.5, abs=1e-5)


def test_only_counted_queries_count():
    spoiled = np.where(COUNTED, ORACLE, -99)
    assert gain_of(spoiled).gap_closed[0] == pytest.approx(1.0)


def test_a_router_does_not_differ_from_itself_but_does_from_the_oracle():
    chosen = UTILITY[..., 2]
    same = difference([gain_of(chosen)], [gain_of(chosen)])
    assert (same.low, same.high) == (0.0, 0.0)
    assert difference([gain_of(ORACLE)], [gain_of(chosen)]).above_zero
    assert difference([gain_of(chosen)], [gain_of(ORACLE)]).below_zero


def test_gains_of_episodes_add_up():
    both = total([gain_of(ORACLE), gain_of(SINGLE, 5)])
    assert both.gap_closed[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no episode"):
        total([])


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        sample = np.random.default_rng(seed).normal(0.3, 1, (30, 30)).astype(np.float32)
        ones = np.ones_like(sample)
        found = interval(gain(sample, 0 * ones, ones, ones > 0, resample(30, 30, seed, seed + 1, 200)).gap_closed)
        hits += found.low <= 0.3 <= found.high
    assert 180 <= hits <= 200


def test_users_are_worse_off_only_beyond_luck_and_tolerance():
    single = np.zeros((3, 100), np.float32)
    noise = RNG.normal(0, 1, 100).astype(np.float32)
    chosen = np.stack([np.full(100, -0.1), np.full(100, -0.001), noise - noise.mean() - 0.02]).astype(np.float32)
    assert share_worse_off(chosen, single, np.ones((3, 100), bool)) == pytest.approx(1 / 3)


def test_calibration_of_a_true_and_of_a_shifted_prediction():
    p = RNG.random(20_000).astype(np.float32)
    y = (RNG.random(20_000) < p).astype(np.float32)
    assert expected_calibration_error(p, y) < 0.02
    assert expected_calibration_error(p + np.float32(0.2), y) == pytest.approx(0.2, abs=0.02)


def test_coverage_of_a_normal_prediction():
    observed = RNG.normal(0, 2, 20_000).astype(np.float32)
    zero = np.zeros_like(observed)
    assert coverage(zero, zero + 2, observed, 0.9) == pytest.approx(0.9, abs=0.01)
    assert coverage(zero, zero + 1, observed, 0.9) < 0.65


def test_tradeoff_of_perfect_predictions():
    quality = np.array([[1, 1], [0, 1], [1, 1], [1, 0]], np.float32)
    cost = np.tile(np.array([0.001, 0.01], np.float32), (4, 1))
    found = tradeoff(quality, cost, quality, cost, best=1)
    assert found.performance_gain == pytest.approx(1 / 0.75 - 1)
    # always the cheap one is right as often as always the dear one
    assert found.cost_saving == pytest.approx(0.9)
