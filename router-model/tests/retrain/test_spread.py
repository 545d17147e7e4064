"""A prior under which no answer is expected to be beyond what a reward can be."""

from __future__ import annotations

import numpy as np
import pytest

from router_model.priors.user import MixturePrior
from router_model.retrain.spread import MOST_MEAN, Seen, possible


def prior_and_seen() -> tuple[MixturePrior, Seen]:
    generator = np.random.default_rng(0)
    root = generator.standard_normal((2, 5, 5)) / 3
    prior = MixturePrior(np.array([0.4, 0.6]), generator.standard_normal((2, 5)), root @ root.transpose(0, 2, 1))
    phi = generator.standard_normal((40, 5))
    phi[0] *= 30  # one answer far from all others
    phi[:, 4] = 0
    return prior, Seen(phi)


def moments(prior: MixturePrior) -> tuple[np.ndarray, np.ndarray]:
    centre = prior.weight @ prior.mean
    apart = prior.mean - centre
    between = (apart * prior.weight[:, None]).T @ apart
    return centre, np.einsum("j,jkl->kl", prior.weight, prior.covariance) + between


@pytest.mark.parametrize("deviation", [1.0, 0.3])
def test_no_answer_is_expected_to_be_beyond_what_a_reward_can_be(deviation: float) -> None:
    prior, seen = prior_and_seen()
    centre, whole = moments(prior)
    assert (np.abs(seen.phi @ centre) > MOST_MEAN).any()
    made = possible(prior, seen, deviation)
    new_centre, new_whole = moments(made)
    assert np.sqrt(np.einsum("nk,kl,nl->n", seen.phi, new_whole, seen.phi)).max() <= deviation * 1.01
    assert np.abs(seen.phi @ new_centre).max() <= MOST_MEAN * 1.01
    assert (np.linalg.eigvalsh(made.covariance) > 0).all()
    assert (np.linalg.eigvalsh(whole - new_whole) > -1e-9).all(), "it narrows alone"
    np.testing.assert_array_equal(made.weight, prior.weight)


def test_a_prior_that_can_be_stays_as_it_is() -> None:
    prior, seen = prior_and_seen()
    made = possible(prior, seen, 1.0)
    assert possible(made, seen, 1.0) is made
    assert possible(prior, Seen(seen.phi * 1e-3), 1.0) is prior


def test_what_says_nothing_of_the_far_answer_keeps_its_spread() -> None:
    root = np.diag([1.0, 0.5, 0.2])[None]
    prior = MixturePrior(np.ones(1), np.zeros((1, 3)), root @ root)
    made = possible(prior, Seen(np.array([[0.0, 40.0, 0.0], [1.0, 0.0, 0.0]])), 1.0)
    np.testing.assert_allclose(np.sqrt(np.diagonal(made.covariance[0])), [1.0, 1 / 40, 0.2], rtol=1e-2)
