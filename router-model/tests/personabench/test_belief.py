"""Sums over edges are all that the regression's belief is made of."""

import pytest
import torch

from personabench.baselines.belief import BeliefConfig, Evidence, MixtureBelief

USERS, EDGES, WEIGHTS = 7, 12, 4


def evidence() -> Evidence:
    made = torch.Generator().manual_seed(0)
    phi = torch.randn(USERS, EDGES, WEIGHTS, dtype=torch.float64, generator=made)
    own = 0.3 * torch.randn(USERS, WEIGHTS, dtype=torch.float64, generator=made)
    noise = 0.2 * torch.randn(USERS, EDGES, dtype=torch.float64, generator=made)
    weight = torch.rand(USERS, EDGES, dtype=torch.float64, generator=made)
    weight[:, ::4] = 0  # not rated
    return Evidence(phi, (phi @ own.unsqueeze(-1)).squeeze(-1) + noise, weight)


def test_a_round_is_that_of_the_edges_themselves() -> None:
    known = evidence()
    start, after = (MixtureBelief(BeliefConfig(rounds=rounds)) for rounds in (0, 1))
    start.fit(known)
    after.fit(known)
    prior, total, rated = torch.linalg.inv(start.covariance[0]), 0.0, 0
    posterior = start.posterior(known)
    for user in range(USERS):
        phi, reward, weight = known.phi[user], known.reward[user], known.weight[user]
        precision = prior + (phi.T * weight) @ phi / start.noise
        mean = torch.linalg.solve(precision, prior @ start.mean[0] + (phi.T * weight) @ reward / start.noise)
        assert posterior.expectation()[user].tolist() == pytest.approx(mean.tolist())
        doubt = ((phi @ torch.linalg.inv(precision)) * phi).sum(-1)
        total += float((weight * ((reward - phi @ mean) ** 2 + doubt)).sum())
        rated += int((weight > 0).sum())
    assert after.noise == pytest.approx(total / rated)


def test_more_rounds_make_the_edges_more_likely() -> None:
    known, reached = evidence(), []
    for rounds in (1, 3, 9):
        belief = MixtureBelief(BeliefConfig(rounds=rounds))
        belief.fit(known)
        bend = torch.ones_like(known.reward)
        _, log_evidence = belief._given(*belief._sums(known, bend))
        reached.append(float((log_evidence + belief._constant(known, bend)).mean()))
    assert reached == sorted(reached)
