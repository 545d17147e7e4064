"""Votes of data sets that aren't in the repository, in made-up files of their published columns."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from personabench.cli import app
from personabench.people.judge import taste_of
from personabench.people.sets import of_votes
from personabench.people.votes import LEAST_VOTES, SOURCES, VotesError, read_table, read_votes

PEOPLE, EACH = 12, 20
SHORT, LONG = "Yes.", "Yes, and here is at length why. " * 20


def messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Why?" * 300}, {"role": "assistant", "content": text}]


def prism(path: Path) -> None:
    """Half of the people score long answers higher, the other half short ones; later turns say the opposite."""
    rows: list[dict[str, Any]] = []
    for user in range(PEOPLE):
        for number in range(EACH):
            for turn in (0, 1):
                liked = (user % 2 == 0) != (turn == 1)
                for name, text in (("m1", SHORT), ("m2", LONG)) if number % 2 else (("m1", LONG), ("m2", SHORT)):
                    score = 80 if (text is LONG) == liked else 20
                    rows.append({
                        "utterance_id": f"ut{len(rows)}", "user_id": f"user{user}", "turn": turn,
                        "conversation_id": f"c{user}-{number}", "within_turn_id": 0, "model_name": name,
                        "model_provider": "p", "model_response": text, "score": score, "if_chosen": score == 80,
                    })  # fmt: skip
    with gzip.open(path / "utterances.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def comparia(path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for user in range(PEOPLE):
        for number in range(EACH):
            long = user % 2 == 0
            rows.append({
                "conversation_pair_id": f"p{user}-{number}", "visitor_id": f"v{user}", "model_a_name": "m1",
                "model_b_name": "m2", "chosen_model_name": "m2" if long else "m1", "both_equal": False,
                "conversation_a": messages(SHORT), "conversation_b": messages(LONG),
            })  # fmt: skip
        rows.append({**rows[-1], "chosen_model_name": None, "both_equal": True, "conversation_pair_id": f"t{user}"})
        rows.append({**rows[-1], "both_equal": False, "conversation_pair_id": f"no vote {user}"})
        rows.append({**rows[-2], "visitor_id": None})
    (path / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def arena(path: Path) -> None:
    """As CSV, in which conversations are JSON."""
    rows: list[dict[str, Any]] = []
    for user in range(PEOPLE):
        for number in range(EACH):
            winner = "tie (bothbad)" if number == 0 else ("model_b" if user % 2 == 0 else "model_a")
            rows.append({
                "question_id": f"q{user}-{number}", "model_a": "m1", "model_b": "m2", "winner": winner,
                "judge": f"arena_user_{user}", "conversation_a": json.dumps(messages(SHORT)),
                "conversation_b": json.dumps(messages(LONG)), "turn": 1,
            })  # fmt: skip
    with (path / "chatbot_arena_conversations.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


MADE: dict[str, Callable[[Path], None]] = {"prism": prism, "comparia": comparia, "arena": arena}


@pytest.mark.parametrize("name", list(SOURCES))
def test_votes_are_read_by_the_published_columns(name: str, tmp_path: Path) -> None:
    MADE[name](tmp_path)
    votes = read_votes(name, tmp_path)
    assert len({vote.user for vote in votes}) == PEOPLE
    decided = [vote for vote in votes if vote.won is not None]
    assert all(vote.pair == ("m1", "m2") for vote in votes)
    for vote in decided:
        likes_long = int("".join(c for c in vote.user if c.isdigit())) % 2 == 0
        assert vote.won == (np.argmax(vote.length) if likes_long else np.argmin(vote.length))
        assert np.exp(sorted(vote.length)) == pytest.approx((len(SHORT), len(LONG)))
    assert len(votes) - len(decided) == {"prism": 0, "comparia": PEOPLE, "arena": PEOPLE}[name]
    assert len({vote.fold for vote in votes}) > 5


def test_a_taste_in_them_is_found(tmp_path: Path) -> None:
    prism(tmp_path)
    found = taste_of(of_votes("prism", read_votes("prism", tmp_path)), "length", shuffles=3)
    assert found.gain.above_zero
    assert found.gain.value > max(found.shuffled)


@pytest.mark.parametrize(("name", "column"), [("prism", "score"), ("comparia", "visitor_id"), ("arena", "judge")])
def test_a_file_without_a_column_is_refused_by_its_name(name: str, column: str, tmp_path: Path) -> None:
    MADE[name](tmp_path)
    path = next(tmp_path.iterdir())
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        text = file.read().replace(column, "other")
    changed = tmp_path / path.name.removesuffix(".gz")
    changed.write_text(text)
    with pytest.raises(VotesError, match=rf"row 1: no {column}; it has .*other"):
        read_votes(name, changed)


def test_shards_of_a_downloaded_folder_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Chatbot Arena's conversations are published; pyarrow isn't among the test's packages."""
    (tmp_path / "whole").mkdir()
    arena(tmp_path / "whole")
    rows = list(csv.DictReader((tmp_path / "whole" / "chatbot_arena_conversations.csv").open(newline="")))
    parts = {"train-00000-of-00002.parquet": rows[::2], "train-00001-of-00002.parquet": rows[1::2]}
    (tmp_path / "data").mkdir()
    for name in parts:
        (tmp_path / "data" / name).touch()
    monkeypatch.setattr("personabench.people.votes._parquet", lambda path: iter(parts[path.name]))
    assert len(read_votes("arena", tmp_path)) == len(read_votes("arena", tmp_path / "whole"))


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VotesError, match="no file utterances"):
        read_votes("prism", tmp_path)
    for name, content, says in (
        ("a.jsonl", b"{broken", "not JSON Lines"),
        ("b.jsonl", b"[1]\n", "line 1: not a JSON object"),
        ("c.jsonl.gz", b"not gzip", "not JSON Lines"),
        ("d.txt", b"", "expected one of the endings"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VotesError, match=says):
            read_votes("arena", tmp_path / name)


def table(path: Path, winner: str = "B", each: int = EACH) -> Path:
    rows = [
        {"who": f"u{user}", "what": n, "first": "m1", "second": "m2", "better": winner, "said": LONG, "reply": SHORT}
        for user in range(PEOPLE)
        for n in range(each)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


COLUMNS = {"user": "who", "question": "what", "model_a": "first", "model_b": "second", "winner": "better"}


def test_any_table_of_votes_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    votes = read_table(table(tmp_path / "t.jsonl"), {**COLUMNS, "text_a": "said", "text_b": "reply"})
    assert {vote.won for vote in votes} == {1}
    assert votes[0].length[0] > votes[0].length[1]
    assert {vote.length for vote in read_table(table(tmp_path / "t.jsonl"), COLUMNS)} == {(0.0, 0.0)}
    assert {vote.won for vote in read_table(table(tmp_path / "t.jsonl", "m1"), COLUMNS)} == {0}
    assert {vote.won for vote in read_table(table(tmp_path / "t.jsonl", "Tie"), COLUMNS)} == {None}
    with pytest.raises(VotesError, match=r"`better` says somewhat; expected a model's name"):
        read_table(table(tmp_path / "t.jsonl", "somewhat"), COLUMNS)
    with pytest.raises(VotesError, match="no column is given for winner"):
        read_table(tmp_path / "t.jsonl", {name: column for name, column in COLUMNS.items() if name != "winner"})
    with pytest.raises(VotesError, match="no field colour"):
        read_table(tmp_path / "t.jsonl", {**COLUMNS, "colour": "x"})
    with pytest.raises(VotesError, match="nobody has"):
        read_table(table(tmp_path / "t.jsonl", each=LEAST_VOTES - 1), COLUMNS)


def test_the_command_takes_them_beside_the_sets_at_hand(tmp_path: Path) -> None:
    comparia(tmp_path)
    given = ["--sets", "", "--comparia", str(tmp_path), "--tastes", "length", "--shuffles", "1"]
    done = CliRunner().invoke(app, ["people", *given, "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "prism: not at hand (--prism)" in done.output
    made = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["source"] for row in made["tastes"]] == ["comparia"]
    refused = CliRunner().invoke(app, ["people", "--sets", "", "--prism", str(tmp_path)], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert "no file utterances" in refused.output
