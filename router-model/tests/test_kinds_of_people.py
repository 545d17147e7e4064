"""Kinds of people and of tenants: the closed forms against direct integration, and what users tell of their tenant."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from near import assert_near
from tiny import SIZES, edges, tiny_router

from router_model.evidence import SHARE
from router_model.export.artifact import TOLERANCE, largest_error
from router_model.export.onnx import export_graph, inputs_of, outputs_of, realistic
from router_model.linalg import pack
from router_model.network import Router
from router_model.priors.people import SCALES, kinds_of_tenants, popular_among, with_people, without_people
from router_model.train.weights import load_weights, save_weights


@pytest.fixture(scope="module")
def router() -> Router:
    return with_people(tiny_router())


def sums_of(router: Router, precision: torch.Tensor, information: torch.Tensor) -> torch.Tensor:
    """[1, W, belief] with all in the newest block."""
    made = torch.zeros(1, router.sizes.blocks, router.sizes.belief, dtype=torch.double)
    made[0, 0] = torch.cat([pack(precision, router.sizes.user), information])
    return made


def words(router: Router, kind: int, ratings: int, seed: int) -> torch.Tensor:
    """Gaussian messages of a user of a kind: noisy looks at random combinations of their weights."""
    random = np.random.default_rng(seed)
    mean, covariance = gaussians(router)
    weights = random.multivariate_normal(mean[kind], covariance[kind])
    looks = random.normal(size=(ratings, router.sizes.user)) / np.sqrt(router.sizes.user)
    heard = looks @ weights + 0.1 * random.normal(size=ratings)
    return sums_of(router, torch.as_tensor(100 * looks.T @ looks), torch.as_tensor(100 * looks.T @ heard))


def gaussians(router: Router) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariances of all kinds, the usual people first."""
    node = router.user_node
    return (
        torch.cat([node.population_mean[None], node.others_mean]).double().numpy(),
        torch.cat([node.population_covariance[None], node.others_covariance]).double().numpy(),
    )


def test_silence_tells_nothing_and_leaves_the_mixture(router: Router) -> None:
    node = router.user_node
    silence = torch.zeros(1, SIZES.blocks, SIZES.belief, dtype=torch.double)
    mean, covariance, since, people, told = node.believed(silence)
    shares, tenants = kinds_of_tenants(len(SCALES))
    expected = tenants @ shares
    assert_near(people[0], torch.as_tensor(expected), 1e-5)
    assert float(told.abs().max()) < 1e-5
    assert since.sum().item() == pytest.approx(1)
    means, covariances = gaussians(router)
    centre = expected @ means
    assert_near(mean[0], torch.as_tensor(centre), 1e-4)
    apart = means - centre
    spread = np.einsum("j,jkl->kl", expected, covariances) + np.einsum("j,jk,jl->kl", expected, apart, apart)
    assert_near(covariance[0], torch.as_tensor(spread), 1e-4)


def test_probabilities_are_those_of_direct_integration(router: Router) -> None:
    """Against the density of all messages as one Gaussian vector, where no change of tastes is possible."""
    random = np.random.default_rng(1)
    looks = random.normal(size=(6, SIZES.user)) / np.sqrt(SIZES.user)
    heard = random.normal(size=6) * 0.3
    sums = sums_of(router, torch.as_tensor(25 * looks.T @ looks), torch.as_tensor(25 * looks.T @ heard))
    means, covariances = gaussians(router)
    log_density = []
    for mean, covariance in zip(means, covariances, strict=True):
        whole = looks @ covariance @ looks.T + np.eye(6) / 25
        apart = heard - looks @ mean
        log_density.append(-0.5 * (apart @ np.linalg.solve(whole, apart) + np.linalg.slogdet(whole)[1]))
    shares, tenants = kinds_of_tenants(len(SCALES))
    anywhere = tenants @ shares
    expected = anywhere * np.exp(np.array(log_density) - max(log_density))
    node = router.user_node
    odds = node.log_odds.clone()
    node.log_odds[: SIZES.blocks - 1] = -1e9
    node.log_odds[SIZES.blocks :] -= np.log1p((SIZES.blocks - 1) * node.change)
    *_, people, told = node.believed(sums)
    node.log_odds.copy_(odds)
    assert_near(people[0], torch.as_tensor(expected / expected.sum()), 1e-4)
    likelihood = shares @ np.exp(np.array(log_density) - max(log_density))
    assert_near(told[0], torch.as_tensor(np.log(likelihood / expected.sum())), 1e-4)


def test_a_high_rating_is_a_lenient_one_or_of_another_kind_never_both(router: Router) -> None:
    """Kinds are compared at face value, the usual one with what it is worth that they may be lenient; others are
    believed at face value, too.
    """
    random = np.random.default_rng(2)
    looks = random.normal(size=(6, SIZES.user)) / np.sqrt(SIZES.user)
    precision = torch.as_tensor(4 * looks.T @ looks)
    said = [torch.as_tensor(looks.T @ random.normal(size=6)) for _ in ("plainly", "leniently")]
    plain, lenient = (sums_of(router, precision, information) for information in said)
    clue = torch.zeros(1, SIZES.blocks, 2, dtype=torch.double)
    clue[0, 0] = torch.tensor([200.0, 90.0])
    tenant = torch.tensor([[-6.0, *[0.0] * (router.sizes.tenants - 1)]])
    mean, _, _, people, _ = router.believed(torch.cat([plain, lenient, clue], -1), tenant)
    odds = float(torch.logit(router.leniency.lenient(*clue[0, 0])))
    assert odds > 0
    worth = (1 - SHARE) * (1 + math.exp(odds))
    expected = router.user_node.believed(plain, tenant)[3] * torch.tensor([worth, *[1.0] * len(SCALES)])
    assert_near(people[0], (expected / expected.sum())[0], 1e-6)
    assert 0.05 < float(people[0, 0]) < 0.95
    usual = without_people(router).believed(torch.cat([plain, lenient, clue], -1))[0][0]
    others = sum(people[0, kind] * mean_of(router, kind, precision, said[0]) for kind in range(1, 1 + len(SCALES)))
    assert_near(mean[0], people[0, 0] * usual + others, 1e-4)


def mean_of(router: Router, kind: int, precision: torch.Tensor, information: torch.Tensor) -> torch.Tensor:
    """Expected weights of a user of a kind who said this."""
    mean, covariance = (torch.as_tensor(values[kind]) for values in gaussians(router))
    prior = torch.linalg.inv(covariance)
    return torch.linalg.solve(prior + precision, information + prior @ mean)


@pytest.mark.parametrize("kind", range(1 + len(SCALES)))
def test_a_tenants_users_tell_of_which_kind_they_are(router: Router, kind: int) -> None:
    node = router.user_node
    told = torch.stack([node.believed(words(router, kind, 30, seed))[4][0] for seed in range(20)]).sum(0)
    silence = torch.zeros(1, SIZES.blocks, SIZES.belief, dtype=torch.double)
    *_, before, _ = node.believed(silence)
    *_, after, _ = node.believed(silence, told.unsqueeze(0))
    assert int(after[0].argmax()) == kind
    assert float(after[0, kind]) > float(before[0, kind])
    # A newcomer is expected to be one of them.
    assert_near(node.moments(silence, told.unsqueeze(0))[0][0], torch.as_tensor(gaussians(router)[0][kind]), 0.3)


def test_one_user_cannot_say_more_than_the_shares_allow(router: Router) -> None:
    shares, tenants = kinds_of_tenants(len(SCALES))
    ratio = np.log(shares / (tenants @ shares))
    for kind in range(1 + len(SCALES)):
        told = router.user_node.believed(words(router, kind, 500, kind))[4][0].numpy()
        assert (told <= ratio.max(1) + 1e-6).all()
        assert (told >= ratio.min(1) - 1e-6).all()


def test_without_other_kinds_it_is_the_router_that_it_was() -> None:
    before = tiny_router()
    sums = realistic(before, "user", {"B": 3}, 2)["sums"]
    again = without_people(with_people(before))
    assert torch.equal(again.user(sums), before.user(sums))
    assert list(inputs_of("user", before.sizes)) == ["sums"]


def test_onnx_runtime_gives_what_pytorch_gives(router: Router, tmp_path: Path) -> None:
    export_graph(router, "user", tmp_path / "user.onnx")
    session = ort.InferenceSession(tmp_path / "user.onnx", providers=["CPUExecutionProvider"])
    inputs = realistic(router, "user", {"B": 4}, 5)
    assert set(inputs) == {"sums", "tenant"}
    expected = outputs_of(router, "user", inputs)
    found = session.run(list(expected), {name: value.numpy() for name, value in inputs.items()})
    for name, value in zip(expected, found, strict=True):
        assert largest_error(value, expected[name].numpy()) <= TOLERANCE, name


def test_weights_survive_a_file(router: Router, tmp_path: Path) -> None:
    save_weights(tmp_path / "weights.safetensors", router)
    again = load_weights(tmp_path / "weights.safetensors")
    sums = realistic(router, "user", {"B": 2}, 1)
    assert torch.equal(again.user(**sums), router.user(**sums))
    assert torch.isfinite(again.edge(**edges(again, 3))[0]).all()


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([], [50, 10]),
        ([0.99, 0.01], [49.99, 9.998]),
        ([0.5, 0.5], [33.3333, 6.66667]),
        ([0.05, 0.95], [17.8253, 3.56506]),
    ],
)
def test_how_surely_an_llm_is_liked(people: list[float], expected: list[float]) -> None:
    """As in `test/routing/model/popularity.test.ts`."""
    evidence = np.array([[7, 50, 10], [7, 0, 0], [7, -1e-7, 0]], dtype=np.float32)
    made = popular_among(np.array(people, dtype=np.float32), evidence)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[0], [7, *expected], rtol=1e-4)
    np.testing.assert_allclose(made[1:], evidence[1:], atol=1e-6)
