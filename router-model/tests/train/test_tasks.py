"""Kinds of tasks: what is fitted, and what is committed."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from router_model.data.pools import Folds
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import unpack_vector
from router_model.train.tasks import (
    FILE,
    KINDS,
    OTHER,
    PROMPTS,
    Floats,
    figures,
    fit,
    held_out,
    made_up,
    real,
    shares,
    told,
    wilson,
    write,
)

HOME = Path(__file__).parents[2]
EMBEDDER = HOME / "embedders" / "static-2"


@pytest.fixture(scope="module")
def embedder() -> StaticEmbedder:
    return StaticEmbedder.load(EMBEDDER)


def test_made_up_prompts_are_of_every_kind_with_no_slot_left_open() -> None:
    prompts = made_up()
    assert set(Counter(kind for _, kind in prompts)) == {*KINDS, OTHER}
    slots = yaml.safe_load(PROMPTS.read_text(encoding="utf-8"))["fill"]
    left_open = re.compile("|".join(f"{{{slot}}}" for slot in slots))
    assert left_open.search("a {subject}")
    assert not [text for text, _ in prompts if left_open.search(text)]
    assert prompts == made_up()


def test_what_is_held_out_is_not_fitted_on() -> None:
    fitted = {text.lower() for text, _ in made_up()}
    assert not [text for text, _ in held_out() if text.lower() in fitted]


def test_the_interval_is_wilsons() -> None:
    assert wilson(28, 31) == pytest.approx((0.751, 0.967), abs=0.001)
    assert wilson(0, 20)[0] == pytest.approx(0, abs=1e-9)


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


def committed() -> tuple[Floats, Floats]:
    kept = json.loads((EMBEDDER / FILE).read_text())
    return unpack_vector(kept["weights"]).reshape(len(KINDS), -1), np.array(kept["bias"], np.float32)


def test_the_committed_one_takes_what_says_nothing_for_no_kind(embedder: StaticEmbedder) -> None:
    texts = ["", "hi", "hey", "ok", "no", "thanks", "please", "why", "lol", "continue", "🙂", "你好", "Why?", "OK!"]
    assert told(*committed(), texts, embedder) == [OTHER] * len(texts)
    found = figures(*committed(), held_out(), embedder)
    assert found[OTHER]["recall"] >= 0.8, found
    for kind in KINDS:
        wrong, others = found[kind]["taken_for_it"]
        assert found[kind]["recall"] >= 0.75, found
        assert wrong / others <= 0.06, found


def test_the_committed_one_tells_real_prompts_apart_that_it_has_not_seen(embedder: StaticEmbedder) -> None:
    found = figures(*committed(), real(Folds().test), embedder)
    for kind in ("code", "writing"):
        assert found[kind]["recall"] >= 0.85, found
        assert found[kind]["precision"] >= 0.8, found


def test_artifacts_carry_that_of_their_embedder() -> None:
    for folder in (HOME / "artifacts" / "current", HOME / "rivals" / "personalized-router"):
        assert (folder / "embedder" / FILE).read_bytes() == (EMBEDDER / FILE).read_bytes(), folder
