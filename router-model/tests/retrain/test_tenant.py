"""How popular LLMs are after retraining counts by how many of a tenant's users are usual people, as in the gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from made_rows import rows_of, write
from near import assert_near

from router_model.collect.made_log import MadeLog
from router_model.embedding import StaticEmbedder
from router_model.evidence import LIKING
from router_model.export.artifact import Artifact
from router_model.places import ARTIFACTS, find_artifact
from router_model.retrain.fit import Fitted, fit
from router_model.retrain.log import open_log
from router_model.retrain.logbook import Logbook, read_logbook
from router_model.retrain.options import Options
from router_model.retrain.refit import llm_evidence, sums_of
from router_model.retrain.replay import Model
from router_model.retrain.runner import TorchRunner, llm_states
from router_model.retrain.start import Base, base_of, prepare

USERS = 6


@pytest.fixture(scope="module")
def shipped() -> Artifact:
    return Artifact(find_artifact("current", ARTIFACTS))


@pytest.fixture(scope="module")
def log(
    make_log: Callable[..., MadeLog], embedder: StaticEmbedder, tmp_path_factory: pytest.TempPathFactory
) -> Logbook:
    """Of two tenants."""
    rows = rows_of(make_log(USERS, judged=0.0, thumbs=0.0))
    for row in rows:
        row["tenant"] = "acme" if row["user"] < "user-3" else "bell"
    path = write(tmp_path_factory.mktemp("tenants") / "log.jsonl", rows)
    return read_logbook(open_log(str(path)), ["acme", "bell"], embedder)


def fitted(shipped: Artifact, log: Logbook, base: Base, embedder: StaticEmbedder) -> Fitted:
    prepared = prepare(log, shipped, base, embedder, None)
    nobody = np.zeros(len(log.users), bool)
    return fit(log, base, prepared, shipped.manifest.forget.per_reward, nobody, Options(), lambda *_: None)


def test_what_is_added_of_popularity_is_as_the_gateway_scales_it(
    shipped: Artifact, log: Logbook, embedder: StaticEmbedder
) -> None:
    base = base_of(shipped)
    prepared = prepare(log, shipped, base, embedder, None)
    runner, memory = TorchRunner(base.router), base.router.sizes.memory(shipped.manifest.forget.per_reward)

    def knowing(evidence: np.ndarray) -> Model:
        return Model(runner, llm_states(runner, prepared.inputs, evidence), memory)

    start = knowing(prepared.base_evidence)
    model = knowing(prepared.base_evidence + llm_evidence(start, log, log.edges).total)
    expected = prepared.base_evidence.astype(np.float64)
    shares = []
    for tenant in ("acme", "bell"):
        users = np.flatnonzero(log.tenant() == tenant)
        told = shipped.run("user", {"sums": in_one_block(shipped, sums_of(model, log, users))})["tenant_message"].sum(0)
        silent = {"sums": np.zeros((1, shipped.manifest.dims.H), np.float32), "tenant": told[None]}
        shares.append(float(shipped.run("user", silent)["people"][0, 0]))
        added = llm_evidence(start, log, log.edges.only(np.isin(log.edges.user, users))).total
        added[:, -LIKING:] *= shares[-1]
        expected += added
    assert max(shares) < 0.99
    assert abs(shares[0] - shares[1]) > 0.01, "each tenant is scaled by its own"
    found = fitted(shipped, log, base, embedder)
    assert_near(found.evidence_before, expected, 1e-4)


def test_in_the_artifact_that_is_made_too(
    shipped: Artifact, log: Logbook, embedder: StaticEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At tenants without a single usual person the log says nothing of popularity, and of the rest what it says."""
    monkeypatch.setattr("router_model.retrain.fit.usual_shares", lambda *_: np.zeros(2))
    base = base_of(shipped)
    start = prepare(log, shipped, base, embedder, None).base_evidence
    found = fitted(shipped, log, base, embedder)
    for evidence in (found.evidence_before, found.evidence):
        assert_near(evidence[:, -LIKING:], start[:, -LIKING:], 1e-6)
        assert np.abs(evidence - start)[:, :-LIKING].max() > 1


def test_an_artifact_that_tells_no_kinds_takes_what_was_said_as_it_is(
    shipped: Artifact, log: Logbook, embedder: StaticEmbedder
) -> None:
    base = replace(base_of(shipped), of_kinds=False)
    prepared = prepare(log, shipped, base, embedder, None)
    runner = TorchRunner(base.router)
    z = llm_states(runner, prepared.inputs, prepared.base_evidence)
    model = Model(runner, z, base.router.sizes.memory(shipped.manifest.forget.per_reward))
    expected = prepared.base_evidence + llm_evidence(model, log, log.edges).total
    assert_near(fitted(shipped, log, base, embedder).evidence_before, expected, 1e-6)


def in_one_block(shipped: Artifact, sums: np.ndarray) -> np.ndarray:
    """[U, H] float32."""
    made = np.zeros((len(sums), shipped.manifest.dims.H), np.float32)
    made[:, : sums.shape[1]] = sums
    return made
