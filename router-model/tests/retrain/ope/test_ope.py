"""Off-policy evaluation against a simulated world whose truth is known, and against Open Bandit Pipeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router_model.retrain.ope import Sample, SampleError, check_propensities, difference, dr, estimate, ips, snips
from router_model.retrain.ope.sample import Doubles

M, FEATURES = 5, 3


class World:
    """Users with tastes for candidates, contexts, a logging policy that reads both, and another policy to judge."""

    def __init__(self, seed: int, users: int = 80, mean_rows: int = 25) -> None:
        self.rng = np.random.default_rng(seed)
        fixed = np.random.default_rng(7)  # the same world each time; only the log differs
        self.weights = fixed.normal(size=(FEATURES, M)) * 0.4
        self.rows_of = 1 + self.rng.poisson(mean_rows - 1, users)
        self.user = np.repeat(np.arange(users), self.rows_of)
        self.taste = self.rng.normal(size=(users, M)) * 0.3
        self.context = self.rng.normal(size=(len(self.user), FEATURES))
        self.expected = np.tanh(self.context @ self.weights)  # of an average user
        self.mean = self.expected + self.taste[self.user]

    def log(self, sharpness: float = 2.0, explore: float = 0.3) -> Sample:
        scores = sharpness * (self.context @ self.weights + 0.5 * self.taste[self.user])
        chance = softmax(scores) * (1 - explore) + explore / M
        action = (chance.cumsum(1) > self.rng.random((len(chance), 1))).argmax(1)
        reward = self.mean[np.arange(len(action)), action] + 0.3 * self.rng.normal(size=len(action))
        return Sample(action, reward, chance, self.user)

    def policy(self) -> Doubles:
        return softmax(4.0 * (self.context @ (self.weights + 0.2)))

    def truth(self) -> float:
        """The policy's value over all users and contexts: tastes are zero on average, and it doesn't know them."""
        fixed = np.random.default_rng(8)
        context = fixed.normal(size=(400_000, FEATURES))
        return float((softmax(4.0 * (context @ (self.weights + 0.2))) * np.tanh(context @ self.weights)).sum(1).mean())


def softmax(x: Doubles) -> Doubles:
    e = np.exp(x - x.max(1, keepdims=True))
    return normalised(e)


def test_intervals_cover_the_truth() -> None:
    truth, runs = World(0).truth(), 200
    of_uniform = float(np.tanh(np.random.default_rng(8).normal(size=(400_000, FEATURES)) @ World(0).weights).mean())
    covered = dict.fromkeys(("ips", "snips", "dr", "difference"), 0)
    widths: dict[str, float] = {}
    for seed in range(runs):
        world = World(seed)
        sample, policy = world.log(), world.policy()
        uniform = np.full_like(policy, 1 / M)
        predicted = 0.7 * world.expected + 0.1  # wrong, as predictions are
        robust = dr(sample, policy, predicted)
        found = {
            "ips": estimate(ips(sample, policy), sample.cluster),
            "snips": estimate(snips(sample, policy), sample.cluster),
            "dr": estimate(robust, sample.cluster),
        }
        for name, e in found.items():
            covered[name] += e.low <= truth <= e.high
            widths[name] = widths.get(name, 0.0) + (e.high - e.low) / runs
        gain = difference(robust, dr(sample, uniform, predicted), sample.cluster)
        covered["difference"] += gain.low <= truth - of_uniform <= gain.high
    assert all(0.90 * runs <= hits <= 0.99 * runs for hits in covered.values()), covered
    assert widths["dr"] < widths["snips"] < widths["ips"], "each refinement should narrow the interval here"


def test_an_interval_over_rows_would_be_too_narrow() -> None:
    """Why intervals go by user: the same rows as if each were a user of its own."""
    truth, runs, naive = World(0).truth(), 60, 0
    for seed in range(runs):
        world = World(seed, users=30, mean_rows=60)
        sample = world.log()
        e = estimate(dr(sample, world.policy(), world.expected), np.arange(len(sample)))
        naive += e.low <= truth <= e.high
    assert naive < 0.85 * runs


def test_doubly_robust_needs_only_one_of_the_two() -> None:
    world = World(3, users=3000)
    sample, policy = world.log(), world.policy()
    truth = float((policy * world.mean).sum(1).mean())
    wrong = Sample(sample.action, sample.reward, np.full_like(sample.propensity, 1 / M), sample.cluster)
    nonsense = np.random.default_rng(0).normal(size=policy.shape)
    assert dr(sample, policy, nonsense).value == pytest.approx(truth, abs=0.02)
    assert dr(wrong, policy, world.mean).value == pytest.approx(truth, abs=0.01)
    assert abs(ips(wrong, policy).value - truth) > 0.05
    assert abs(float((policy * nonsense).sum(1).mean()) - truth) > 0.05, "a prediction that is believed as it is"


def test_agrees_with_open_bandit_pipeline() -> None:
    obp = pytest.importorskip("obp.ope", reason="obp is not installed: npm run setup")
    world = World(1)
    sample, policy = world.log(), world.policy()
    predicted = 0.5 * world.expected
    shared = {
        "reward": sample.reward,
        "action": sample.action,
        "pscore": sample.taken(sample.propensity),
        "action_dist": policy[:, :, None],
        "position": np.zeros(len(sample), int),
        "estimated_rewards_by_reg_model": predicted[:, :, None],
    }
    pairs = [
        (obp.InverseProbabilityWeighting(), ips(sample, policy)),
        (obp.SelfNormalizedInverseProbabilityWeighting(), snips(sample, policy)),
        (obp.DoublyRobust(), dr(sample, policy, predicted)),
    ]
    for theirs, ours in pairs:
        assert ours.value == pytest.approx(theirs.estimate_policy_value(**shared), rel=1e-9)
    # Where every row is a user of its own, its bootstrap and our interval mean the same thing.
    ends = obp.DoublyRobust().estimate_interval(**shared, n_bootstrap_samples=400, random_state=1)
    e = estimate(dr(sample, policy, predicted), np.arange(len(sample)))
    width = ends["95.0% CI (upper)"] - ends["95.0% CI (lower)"]
    assert e.high - e.low == pytest.approx(width, rel=0.15)


def test_true_propensities_are_believed_and_wrong_ones_are_not() -> None:
    values = np.array([check_propensities(World(seed).log()).p_value for seed in range(100)])
    assert (values < 0.01).mean() <= 0.03
    sample = World(5).log()
    assert check_propensities(sample).mean_weight == pytest.approx(1, abs=0.1)
    lies = {
        "uniform": np.full_like(sample.propensity, 1 / M),
        "sharper": normalised(sample.propensity**1.5),
        "shifted by one candidate": np.roll(sample.propensity, 1, axis=1),
        "one candidate favoured": normalised(sample.propensity * np.array([1.5, 1, 1, 1, 1])),
    }
    for name, propensity in lies.items():
        assert check_propensities(replace(sample, propensity=propensity)).p_value < 1e-4, name


def normalised(x: Doubles) -> Doubles:
    shares: Doubles = x / x.sum(1, keepdims=True)
    return shares


def test_candidates_that_were_filtered_out_take_no_part() -> None:
    world = World(2)
    chance = world.policy()
    chance[::2, 0] = 0
    chance = normalised(chance)
    action = (chance.cumsum(1) > world.rng.random((len(chance), 1))).argmax(1)
    sample = Sample(action, world.mean[np.arange(len(action)), action], chance, world.user)
    assert check_propensities(sample).p_value > 1e-3
    never = np.where(chance > 0, 1.0, 0.0)
    predicted = np.where(chance > 0, world.expected, np.nan)
    assert np.isfinite(dr(sample, normalised(never), predicted).value)


def test_one_user_says_nothing_of_users() -> None:
    world = World(4, users=1, mean_rows=50)
    e = estimate(ips(world.log(), world.policy()), world.user)
    assert (e.low, e.high, e.users) == (-np.inf, np.inf, 1)


def test_rows_that_no_estimator_can_use_are_refused() -> None:
    chance = np.array([[0.5, 0.5], [1.0, 0.0]])
    one = np.ones(2)
    with pytest.raises(SampleError, match="propensity of zero"):
        Sample(np.array([0, 1]), one, chance, np.arange(2))
    with pytest.raises(SampleError, match="sum to 1"):
        Sample(np.array([0, 0]), one, chance * 0.9, np.arange(2))
    with pytest.raises(SampleError, match="not one of 2"):
        Sample(np.array([0, 2]), one, chance, np.arange(2))
    with pytest.raises(SampleError, match="no rows"):
        Sample(np.zeros(0, int), np.zeros(0), np.zeros((0, 2)), np.zeros(0, int))
