"""The bound that tells right answers from wrong ones by what is believed of the user."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personabench.baselines.exact_reading import ExactReading
from personabench.baselines.simple import TruePopulation
from router_model.data.simulation import RATING_NOISE


def bound(episode, kind=ExactReading):
    made = kind()
    made.tell(episode.population, episode.pool)
    made.fit(episode.known)
    return made


@pytest.fixture(scope="module")
def exact(episodes):
    return bound(episodes("dense"))


def gap(contestant, judgement, n):
    utility = judgement.utility(n)
    return judgement.gain(judgement.chosen(contestant, n, utility), utility).gap_closed[0]


def test_one_rating_is_a_mixture_of_a_right_and_of_a_wrong_answers(episodes, exact):
    history = episodes("dense").tests["none"].history.first(1)
    inside = np.flatnonzero(np.abs(history.reward[:, 0]) < 0.99)[:4]
    history = history.of(inside)
    found = exact.expected(history)
    plane = exact.planes(history)[:, 0].numpy()
    chance = exact.heads.quality[history.query[:, 0], history.llm[:, 0]].clip(0.02, 0.98)
    prior = [x.numpy() for x in (exact.prior_mean, exact.prior_covariance, exact.belief.log_weight)]
    for user in range(len(inside)):
        likely, means = [], []
        for mean, covariance, log_weight in zip(*prior, strict=True):
            for sign, share in ((1, chance[user]), (-1, 1 - chance[user])):
                phi = plane[user, 0] + sign * plane[user, 1]
                variance = phi @ covariance @ phi + RATING_NOISE**2
                apart = history.reward[user, 0] - phi @ mean
                likely.append(np.exp(log_weight) * share * np.exp(-0.5 * apart**2 / variance) / np.sqrt(variance))
                means.append(mean + covariance @ phi / variance * apart)
        by_hand = np.average(means, axis=0, weights=likely)
        assert np.abs(found[user] - by_hand).max() < 1e-5


def test_whoever_tells_right_from_wrong_learns_more_and_silence_tells_nothing(episodes, exact):
    episode = episodes("dense")
    test = episode.tests["none"]
    plain = bound(episode, TruePopulation)
    assert gap(exact, test, 20) > gap(plain, test, 20)
    few = test.history.first(5).of(np.arange(6))
    silent = replace(few, rated=np.zeros_like(few.rated))
    assert np.allclose(exact.expected(silent), exact.expected(few.first(0)))


def test_thumbs_are_read_too(episodes):
    episode = episodes("sparse")
    test = episode.tests["none"]
    exact = bound(episode)
    scores = exact.scores(test.rows[:5], test.history.first(20))
    assert np.isfinite(scores).all()
    assert np.ptp(scores, axis=0).max() > 0
    assert exact.kind == "bound"
