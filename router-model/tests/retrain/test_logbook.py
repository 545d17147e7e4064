from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_rows import Document, rows_of, write

from router_model.collect.made_log import MadeLog
from router_model.embedding import StaticEmbedder
from router_model.export.reader import reader_of
from router_model.kinds import KINDS
from router_model.places import ARTIFACTS, find_artifact
from router_model.retrain.judgement import choices_of
from router_model.retrain.log import open_log
from router_model.retrain.logbook import EXPLICIT, Logbook, read_logbook
from router_model.retrain.queries import NOTHING
from router_model.train.weights import WEIGHTS_FILE, load_weights


@pytest.fixture
def rows(make_log: Callable[..., MadeLog]) -> list[Document]:
    return rows_of(make_log(4, judged=0.0, thumbs=0.0))


@pytest.fixture
def read(tmp_path: Path, embedder: StaticEmbedder) -> Callable[..., Logbook]:
    def read(rows: list[Document], tenants: list[str] | None = None) -> Logbook:
        return read_logbook(open_log(str(write(tmp_path / "log.jsonl", rows))), tenants or ["acme"], embedder)

    return read


def of_type(rows: list[Document], kind: str) -> list[Document]:
    return [row for row in rows if row["type"] == kind]


def test_everything_is_there(rows: list[Document], read: Callable[..., Logbook]) -> None:
    log = read(rows)
    interactions, rewards = of_type(rows, "interaction"), of_type(rows, "reward")
    assert (len(log.decisions), len(log.edges)) == (len(interactions), len(rewards)) == (32, 32)
    assert len(log.users) == 4
    assert not log.left_out
    assert (np.diff(log.decisions.ts) >= 0).all(), "in order of time"
    by_key = {(row["ts"], row["user"]): row for row in interactions}
    for i in range(len(log.edges)):
        answer = log.edges.row[i]
        decision = log.answers.decision[answer]
        row = by_key[int(log.decisions.ts[decision]), log.users[log.decisions.user[decision]][1]]
        reward = next(r for r in rewards if r["interaction"] == row["id"])
        assert log.edges.value[i] == pytest.approx(reward["value"])
        assert log.edges.user[i] == log.decisions.user[decision]
        assert log.llms[log.answers.llm[answer]] == row["chosen"]
        assert log.decisions.tried[decision] == log.answers.llm[answer]
        assert log.answers.completion_tokens[answer] == row["usage"]["completion_tokens"]
        vector = np.frombuffer(base64.b64decode(row["embedding"]["int8"]), np.int8) * row["embedding"]["scale"]
        np.testing.assert_allclose(log.answers.queries.vector(np.array([answer]))[0], vector, rtol=1e-6)
        chances = {c["name"]: c["propensity"] for c in row["candidates"]}
        assert [chances[name] for name in log.llms] == pytest.approx(log.decisions.propensity[decision].tolist())
    assert log.answers.queries.vectors.int8.dtype == np.int8


def test_the_latest_rating_counts(rows: list[Document], read: Callable[..., Logbook]) -> None:
    first = of_type(rows, "reward")[0]
    later = first | {"value": 0.123, "ts": first["ts"] + 10}
    earlier = first | {"value": -0.9, "ts": first["ts"] - 10, "binary": True}
    judge = first | {"kind": "judge", "value": 0.5}
    log = read([later, *rows, earlier, judge])
    assert len(log.edges) == 32 + 1, "a judge is another kind; a thumb replaces a rating and the other way round"
    assert 0.123 in log.edges.value
    assert not (log.edges.kind == KINDS.index("thumb")).any()


def test_thumbs_are_told_from_ratings(rows: list[Document], read: Callable[..., Logbook]) -> None:
    rewards = of_type(rows, "reward")
    rewards[0] |= {"binary": True, "value": 1}
    log = read(rows)
    assert (log.edges.kind == KINDS.index("thumb")).sum() == 1


def test_what_cannot_be_used_is_counted(rows: list[Document], read: Callable[..., Logbook]) -> None:
    interactions, rewards = of_type(rows, "interaction"), of_type(rows, "reward")
    rewards[0]["interaction"] = "gone"
    rewards[1]["user"] = "somebody else"
    rewards[2]["kind"] = "applause"
    other = next(row for row in interactions if row["id"] == rewards[3]["interaction"])
    other |= {"embedder": "older-1"}
    log = read([*rows, interactions[5]])
    assert len(log.edges) == 32 - 4
    assert log.left_out == {
        "rewards of interactions that are not in the log": 1,
        "rewards by another user than the one who asked": 1,
        "rewards of an unknown kind, applause": 1,
        "answers whose reading and vector are another artifact's, without text to make them anew": 1,
        "interactions logged twice": 1,
    }
    assert len(log.decisions) == 32


def test_what_nobody_chose_is_no_decision(rows: list[Document], read: Callable[..., Logbook]) -> None:
    first = of_type(rows, "interaction")[0]
    unrouted = [
        first | {"id": endpoint, "endpoint": endpoint, "chosen": f"of-{endpoint}", "candidates": []}
        for endpoint in ("embeddings", "passthrough")
    ]
    log = read([*rows, *unrouted])
    assert len(log.decisions) == 32
    assert not [name for name in log.llms if name.startswith("of-")]
    assert not log.left_out


def test_a_kept_text_is_embedded_anew(
    rows: list[Document], read: Callable[..., Logbook], embedder: StaticEmbedder
) -> None:
    for row in of_type(rows, "interaction"):
        row |= {"embedder": "older-1", "embedding": None, "text": "What is the capital of France?"}
    log = read(rows)
    assert len(log.edges) == 32
    wanted = embedder.embed(["What is the capital of France?"])[0]
    np.testing.assert_allclose(log.answers.queries.vector(np.array([0]))[0], wanted, atol=np.abs(wanted).max() / 200)


def test_a_reading_stands_for_a_query_that_is_read_the_same(
    rows: list[Document], tmp_path: Path, embedder: StaticEmbedder
) -> None:
    router = load_weights(find_artifact("current", ARTIFACTS) / WEIGHTS_FILE)
    reading = router.encoder.reading(torch.from_numpy(embedder.embed(["What is the capital of France?"]))).detach()[0]
    scale = float(reading.abs().max()) / 127
    int8 = np.rint(reading.numpy() / scale).astype(np.int8)
    answers = of_type(rows, "interaction")
    for row in answers:
        packed = {"int8": base64.b64encode(int8.tobytes()).decode(), "scale": scale}
        row |= {"embedding": {"sealed": "c2VhbGVk"}, "reading": packed, "reader": reader_of(router)}
    answers[0]["reader"] = "another"
    log = read_logbook(open_log(str(write(tmp_path / "log.jsonl", rows))), ["acme"], embedder, None, router)
    assert len(log.edges) == 31
    assert sum(log.left_out.values()) == 1
    known = np.flatnonzero(log.answers.queries.place != NOTHING)
    with torch.no_grad():
        found = router.encoder.reading(torch.from_numpy(log.answers.queries.vector(known)))
    np.testing.assert_allclose(found, np.tile(int8 * scale, (31, 1)), atol=0.05)


def test_a_failover_is_not_the_choice(rows: list[Document], read: Callable[..., Logbook]) -> None:
    row = of_type(rows, "interaction")[0]
    names = [c["name"] for c in row["candidates"]]
    tried, answered = names[0], names[1]
    failed = {"candidate": tried, "provider": "x", "status": 500, "error": "server", "ms": 1}
    row |= {"attempts": [failed, failed | {"candidate": answered}], "chosen": answered, "reason": "fallback"}
    log = read(rows)
    place = int(np.flatnonzero((log.decisions.ts == row["ts"]) & (log.decisions.user == 0))[0])
    assert log.llms[log.decisions.tried[place]] == tried
    assert log.llms[log.answers.llm[np.flatnonzero(log.answers.decision == place)[0]]] == answered


def test_a_named_model_has_one_candidate(rows: list[Document], read: Callable[..., Logbook]) -> None:
    row = of_type(rows, "interaction")[0]
    row |= {"reason": "explicit", "candidates": [row["candidates"][0] | {"propensity": 1}]}
    log = read(rows)
    place = int(np.flatnonzero(log.decisions.reason == EXPLICIT)[0])
    assert np.isnan(log.decisions.propensity[place]).sum() == len(log.llms) - 1


def test_prices_follow_from_what_answers_cost(make_log: Callable[..., MadeLog], read: Callable[..., Logbook]) -> None:
    made = make_log(30)
    log = read(rows_of(made))
    for card in made.pool.cards:
        fitted = log.price[log.llms.index(card.name)]
        assert fitted == pytest.approx([card.input_price, card.output_price], rel=0.02)


def test_a_preference_is_about_two_llms(rows: list[Document], read: Callable[..., Logbook]) -> None:
    answered, other = of_type(rows, "interaction")[:2]
    rather = next(c["name"] for c in answered["candidates"] if c["name"] != answered["chosen"])
    base: Document = {
        "type": "reward",
        "tenant": "acme",
        "kind": "preference",
        "weight": 1.0,
        "binary": True,
        "comment": None,
    }
    said = base | {"interaction": answered["id"], "user": answered["user"], "ts": answered["ts"] + 5}
    same = base | {"interaction": other["id"], "user": other["user"], "ts": other["ts"] + 5}
    feedback = [
        said | {"value": -1, "preferred_model": rather},
        same | {"value": 1, "preferred_model": other["chosen"]},
    ]
    interactions = of_type(rows, "interaction")
    log = read([*interactions, *feedback])
    found = [
        (log.llms[log.answers.llm[r]], v, w, bool(log.answers.seen[r]), log.answers.cost_usd[r] > 0)
        for r, v, w in zip(log.edges.row, log.edges.value, log.edges.weight, strict=True)
    ]
    assert sorted(found) == sorted(
        [
            (answered["chosen"], -1, 0.5, True, True),
            (rather, 1, 0.5, False, False),
            (other["chosen"], 1, 1, True, True),
        ]
    )
    assert {KINDS[kind] for kind in log.edges.kind} == {"preference"}
    judged = choices_of(log, np.ones(len(log.users), bool))
    assert len(judged.answer) == 2, "what nobody was given is no outcome"

    rating = said | {"kind": "rating", "binary": False, "value": 0.5, "preferred_model": None, "ts": said["ts"] + 1}
    later = read([*interactions, *feedback, rating])
    assert sorted(later.edges.value.tolist()) == [0.5, 1], "a later rating without a preference takes it back"
    together = read([*interactions, *feedback, rating | {"ts": said["ts"]}])
    assert sorted(together.edges.value.tolist()) == [-1, 0.5, 1, 1]


def test_a_judge_that_compared_has_marked_neither(rows: list[Document], read: Callable[..., Logbook]) -> None:
    answered, other = of_type(rows, "interaction")[:2]
    rather = next(c["name"] for c in answered["candidates"] if c["name"] != answered["chosen"])
    base: Document = {"type": "reward", "tenant": "acme", "kind": "judge", "weight": 0.5, "binary": False}
    compared = base | {"interaction": answered["id"], "user": answered["user"], "ts": answered["ts"] + 5}
    marked = base | {"interaction": other["id"], "user": other["user"], "ts": other["ts"] + 5}
    log = read(
        [
            *of_type(rows, "interaction"),
            compared | {"value": -1, "preferred_model": rather, "comment": None},
            marked | {"value": 0.4, "preferred_model": None, "comment": None},
        ]
    )
    found = {
        (KINDS[kind], log.llms[log.answers.llm[r]], round(float(value), 3), float(weight))
        for kind, r, value, weight in zip(log.edges.kind, log.edges.row, log.edges.value, log.edges.weight, strict=True)
    }
    assert found == {
        ("preference", answered["chosen"], -1.0, 0.25),
        ("preference", rather, 1.0, 0.25),
        ("judge", other["chosen"], 0.4, 0.5),
    }


def test_tenants_do_not_mix(make_log: Callable[..., MadeLog], read: Callable[..., Logbook]) -> None:
    """Ids and users of two tenants may be equal."""
    ours = rows_of(make_log(3))
    theirs = [row | {"tenant": "bell"} for row in ours]
    assert read([*ours, *theirs]).users == [("acme", f"user-{i}") for i in range(3)]
    both = read([*ours, *theirs], ["acme", "bell"])
    assert len(both.users) == 6
    assert len(both.decisions) == 2 * len(of_type(ours, "interaction"))


def test_an_erased_user_is_nowhere(rows: list[Document], read: Callable[..., Logbook]) -> None:
    """Erasing deletes rows. What is left, rewards included, must read as if that user had never been."""
    without = read([row for row in rows if row["user"] != "user-1"])
    reward_left = [row for row in rows if row["user"] != "user-1" or row["type"] == "reward"]
    left = read(reward_left)
    assert ("acme", "user-1") not in left.users
    for name in ("row", "user", "value", "kind"):
        np.testing.assert_array_equal(getattr(left.edges, name), getattr(without.edges, name))
    np.testing.assert_array_equal(left.answers.queries.vectors.int8, without.answers.queries.vectors.int8)


def test_what_was_read_with_tools_goes_before_the_words_alone(
    rows: list[Document], tmp_path: Path, embedder: StaticEmbedder
) -> None:
    """A vector and a text are those of the words: the tools of a request are in its reading."""
    router = load_weights(find_artifact("current", ARTIFACTS) / WEIGHTS_FILE)
    words = embedder.embed(["Now fix the failing test."])
    tools = np.random.default_rng(1).normal(0, np.abs(words).mean(), words.shape).astype(np.float32)
    served = router.encoder.reading(torch.from_numpy(words + tools)).detach().numpy()[0]
    scale = float(np.abs(served).max()) / 127
    packed = {"int8": base64.b64encode(np.rint(served / scale).astype(np.int8).tobytes()).decode(), "scale": scale}
    answers = of_type(rows, "interaction")
    for row in answers:
        row |= {"tools": True, "text": "Now fix the failing test.", "reading": packed, "reader": reader_of(router)}
    answers[0]["reader"] = "another"
    log = read_logbook(open_log(str(write(tmp_path / "log.jsonl", rows))), ["acme"], embedder, None, router)
    place = log.answers.queries.place
    assert (place >= 0).sum() == 1, "of another reader the vector is left"
    found = log.answers.queries.reading(np.flatnonzero(place < NOTHING), router.encoder)
    np.testing.assert_allclose(found, np.broadcast_to(served, found.shape), atol=scale)
    assert not log.left_out
