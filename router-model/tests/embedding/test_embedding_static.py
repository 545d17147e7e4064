"""The static embedder: goldens, limits, features, its files."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near import ROUNDING, assert_near, off

from router_model.embedding import StaticEmbedder
from router_model.embedding.characters import TARGET as CHARACTER_CLASSES
from router_model.embedding.characters import character_classes, render
from router_model.embedding.distil import quantise
from router_model.embedding.features import CLIP, FEATURES, text_features
from router_model.embedding.golden import EMBEDDER, TARGET, TEXTS, golden
from router_model.embedding.spec import MaxChars, StaticSpec, Table, read_table, write_table
from router_model.embedding.text import clip_text, utf16_units, well_formed

any_text = st.text(st.characters(exclude_categories=[]), max_size=400)


@pytest.fixture(scope="module")
def embedder() -> StaticEmbedder:
    return StaticEmbedder.load(EMBEDDER)


def raw_features(text: str) -> dict[str, float]:
    standard = text_features(text, utf16_units(text))
    return {name: standard[i] * std + mean for i, (name, (mean, std)) in enumerate(FEATURES.items())}


def test_the_golden_file_is_what_the_embedder_says_today(embedder: StaticEmbedder) -> None:
    stored, now = json.loads(TARGET.read_text("utf-8")), json.loads(json.dumps(golden(embedder)))
    for old, new in zip(stored["cases"], now["cases"], strict=True):
        before, after = (np.frombuffer(base64.b64decode(case.pop("vector")), dtype="<f4") for case in (old, new))
        assert off(after, before) <= 64 * ROUNDING, old["name"]
    assert stored == now


def test_the_character_classes_are_those_of_the_installed_library() -> None:
    assert CHARACTER_CLASSES.read_text("utf-8") == render(character_classes())


def test_vectors_have_length_one_or_zero_and_are_finite(embedder: StaticEmbedder) -> None:
    vectors = embedder.embed(list(TEXTS.values()))
    assert vectors.shape == (len(TEXTS), embedder.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    lengths = np.linalg.norm(vectors[:, : embedder.spec.columns], axis=1)
    known = np.array([len(ids) > 0 for ids in embedder.token_ids(list(TEXTS.values()))])
    assert_near(lengths, known)
    assert known.sum() > len(TEXTS) / 2


def test_no_texts_give_no_vectors(embedder: StaticEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dim)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(any_text, min_size=1, max_size=4))
def test_a_vector_does_not_depend_on_its_neighbours(texts: list[str]) -> None:
    embedder = StaticEmbedder.load(EMBEDDER) if not _CACHE else _CACHE[0]
    _CACHE[:] = [embedder]
    together = embedder.embed(texts)
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_array_equal(row, embedder.embed([text])[0])


_CACHE: list[StaticEmbedder] = []


@given(text=any_text, head=st.integers(1, 40), tail=st.integers(0, 40))
def test_clipping_keeps_head_and_tail_of_long_texts_alone(text: str, head: int, tail: int) -> None:
    whole, clipped = well_formed(text), clip_text(text, MaxChars(head=head, tail=tail))
    if len(whole) <= head + tail:
        assert clipped == whole
    else:
        assert clipped == whole[:head] + "\n" + whole[len(whole) - tail :]


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    assert well_formed("a\ud83d b\ude00 \ud83d\ude00") == "a\ufffd b\ufffd \U0001f600"
    assert utf16_units("a\U0001f600\ud83d") == 4


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("", "length", 0),
        ("a\nb\n", "lines", np.log1p(2)),
        ("ABcd", "upper", 0.5),
        ("f(x) = {y};", "code", np.log1p(4)),
        (r"\frac \1 \\ \a", "latex", np.log1p(2)),
        ("cost $5 or $6", "dollars", np.log1p(2)),
        ("why? no?", "questions", np.log1p(2)),
        ("why? \n\t", "ends_question", 1),
        ("why?!", "ends_question", 0),
        ("aé", "non_ascii", 0.5),
        ("A. x\nb) y\n(C) z\nD: w\nk. no\n(dd) no\n A. no", "options", np.log1p(4)),
        ("a\n b\n\tc\n\nd", "indent", np.log1p(2)),
        ("apple", "lower_start", 1),
        ("Apple", "lower_start", 0),
        ("12 apples, 3.5 pears", "numbers", np.log1p(3)),
        ("1+2-3*4/5^6=7", "operators", np.log1p(6)),
    ],
)
def test_features_count_what_they_say(text: str, name: str, value: float) -> None:
    mean, std = FEATURES[name]
    clipped = np.clip((value - mean) / std, -CLIP, CLIP) * std + mean
    assert raw_features(text)[name] == pytest.approx(clipped)


@given(text=any_text)
def test_features_are_bounded(text: str) -> None:
    features = text_features(well_formed(text), utf16_units(text))
    assert features.shape == (len(FEATURES),)
    assert (np.abs(features) <= CLIP).all()


def test_quantising_loses_little() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 32)) * np.linspace(0.1, 3, 32)
    table = quantise(vectors)
    restored = table.rows * table.scale.astype(np.float64)
    cosines = (restored * vectors).sum(1) / np.linalg.norm(restored, axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() > 0.999


def test_a_table_survives_the_disk_and_a_cut_one_is_refused(tmp_path: Path) -> None:
    table = Table(np.array([0.5, 2], dtype=np.float32), np.array([[1, -2], [127, -127], [0, 3]], dtype=np.int8))
    path = tmp_path / "vectors.bin"
    write_table(path, table)
    for stored, given_ in zip(read_table(path, 3, 2), table, strict=True):
        np.testing.assert_array_equal(stored, given_)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="13 bytes"):
        read_table(path, 3, 2)


def test_a_spec_survives_the_disk(tmp_path: Path, embedder: StaticEmbedder) -> None:
    (tmp_path / "embedder.json").write_text(embedder.spec.dump(), "utf-8")
    assert StaticSpec.load(tmp_path) == embedder.spec
    assert embedder.spec.dump() == (EMBEDDER / "embedder.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"latex"', '"mood"', "features"),
        ('"dim": 256', '"dim": 255', "dim 255"),
        ('"rows": 29524', '"rows": 7', "29524 tokens, but 7 vectors"),
        ("embedder/1", "embedder/9", "schema"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    for file in EMBEDDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spec = (tmp_path / "embedder.json").read_text("utf-8")
    assert old in spec
    (tmp_path / "embedder.json").write_text(spec.replace(old, new), "utf-8")
    with pytest.raises(ValueError, match=message):
        StaticEmbedder.load(tmp_path)
