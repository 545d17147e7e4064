"""Kinds of tasks: what is fitted, and what is committed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from router_model.data.pools import Folds
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import unpack_vector
from router_model.train.tasks import FILE, KINDS, OTHER, figures, fit, made_up, real, shares, write

HOME = Path(__file__).parents[2]
EMBEDDER = HOME / "embedders" / "static-2"


@pytest.fixture(scope="module")
def embedder() -> StaticEmbedder:
    return StaticEmbedder.load(EMBEDDER)


def test_made_up_prompts_are_of_every_kind_with_no_slot_left_open() -> None:
    prompts = made_up()
    assert set(Counter(kind for _, kind in prompts)) == {*KINDS, OTHER}
    assert not any("{lang}" in text or "{subject}" in text for text, _ in prompts)
    assert prompts == made_up()


def test_what_is_fitted_tells_them_apart_and_is_read_back(embedder: StaticEmbedder, tmp_path: Path) -> None:
    prompts = made_up()[::5]
    weights, bias = fit(prompts, embedder)
    assert all(
        of["recall"] > 0.8 and of["precision"] > 0.8 for of in figures(weights, bias, prompts, embedder).values()
    )
    write(tmp_path, weights, bias)
    kept = json.loads((tmp_path / FILE).read_text())
    assert kept["names"] == list(KINDS)
    assert np.array_equal(unpack_vector(kept["weights"]).reshape(weights.shape), weights)
    assert (shares(weights, bias, embedder.embed(["Hi"])).sum(-1) < 1).all()


def test_the_committed_one_tells_real_prompts_apart_that_it_has_not_seen(embedder: StaticEmbedder) -> None:
    kept = json.loads((EMBEDDER / FILE).read_text())
    weights = unpack_vector(kept["weights"]).reshape(len(KINDS), -1)
    found = figures(weights, np.array(kept["bias"], np.float32), real(Folds().test), embedder)
    for kind in ("code", "writing"):
        assert found[kind]["recall"] >= 0.85, found
        assert found[kind]["precision"] >= 0.8, found


def test_artifacts_carry_that_of_their_embedder() -> None:
    for folder in (HOME / "artifacts" / "current", HOME / "rivals" / "personalized-router"):
        assert (folder / "embedder" / FILE).read_bytes() == (EMBEDDER / FILE).read_bytes(), folder
