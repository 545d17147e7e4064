"""Real people: does knowing who votes help to predict the vote, more than knowing a stranger would?

Votes between two LLMs' answers (`mtbench_human`), or ratings of several systems by one annotator turned into such pairs
(`wmt24_esa`). Half of a test user's questions are the history, the other half is predicted: with the user's own
history, with another user's, and with none. Letters: U users, N comparisons of a user, M LLMs, K features.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from personabench.baselines.belief import BeliefConfig, Evidence, MixtureBelief
from personabench.metrics import Interval, interval

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

PEOPLE = ("mtbench_human", "wmt24_esa")
PARTS = 5
SCALE = 2.0  # of log length, so that its weight is like that of an LLM


@dataclass(frozen=True)
class Comparison:
    """One user preferred one answer to another."""

    user: str
    fold: int
    won: str
    lost: str
    longer: float
    """Log of the length of the preferred answer over that of the other."""


@dataclass(frozen=True)
class Verdict:
    """Accuracy of predicted votes, and what the user's own history adds."""

    source: str
    comparisons: int
    users: int
    nobody: float
    """Without any history."""
    own: float
    strangers: float
    """With another user's history."""
    own_over_strangers: Interval
    own_over_nobody: Interval


def mtbench_votes(root: Path) -> list[Comparison]:
    """Votes that aren't ties."""
    folder = root / "mtbench_human"
    questions = {row["question_id"]: row for row in _lines(folder / "questions.jsonl.gz")}
    made = []
    for vote in _lines(folder / "votes.jsonl.gz"):
        question = questions.get(vote["question_id"])
        if question is None or vote["winner"] not in ("model_a", "model_b"):
            continue
        pair = (vote["model_a"], vote["model_b"])
        won, lost = pair if vote["winner"] == "model_a" else pair[::-1]
        chars = {llm: n[vote["turn"] - 1] for llm, n in question["completion_chars"].items()}
        longer = float(np.log(max(chars[won], 1) / max(chars[lost], 1)))
        made.append(Comparison(vote["user"], question["fold"], won, lost, longer))
    return made


def wmt_ratings(root: Path) -> list[Comparison]:
    """Pairs of systems that one annotator rated differently on one segment."""
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
            if scores[a] != scores[b]:
                won, lost = (a, b) if scores[a] > scores[b] else (b, a)
                longer = float(np.log(max(size[won], 1) / max(size[lost], 1)))
                made.append(Comparison(user, segments[seg]["fold"], won, lost, longer))
    return made


def judge_people(source: str, comparisons: list[Comparison], seed: int = 0) -> Verdict:
    """Cross-validated over users; each is predicted by a prior that never saw that user.

    A logistic regression with a weight for each LLM and for length, whose prior over users is learned from other users.
    Raises `ValueError` for too few users.
    """
    users = sorted({c.user for c in comparisons})
    if len(users) < 2 * PARTS:
        raise ValueError(f"{source}: {len(users)} users are too few")
    llms = sorted({name for c in comparisons for name in (c.won, c.lost)})
    by_user = {user: [c for c in comparisons if c.user == user] for user in users}
    rng = np.random.default_rng(seed)
    part = rng.permutation(len(users)) % PARTS
    hits: dict[str, list[tuple[float, float]]] = {"nobody": [], "own": [], "strangers": []}
    for number in range(PARTS):
        train = [by_user[user] for user, p in zip(users, part, strict=True) if p != number]
        test = [by_user[user] for user, p in zip(users, part, strict=True) if p == number]
        belief = MixtureBelief(BeliefConfig("logistic", pseudo_users=20.0))
        belief.fit(_evidence(train, llms))
        for half in (0, 1):
            history = [[c for c in mine if c.fold % 2 == half] for mine in test]
            asked = [[c for c in mine if c.fold % 2 != half] for mine in test]
            strangers = history[1:] + history[:1]
            nothing: list[list[Comparison]] = [[] for _ in test]
            for name, known in (("nobody", nothing), ("own", history), ("strangers", strangers)):
                weights = belief.posterior(_evidence(known, llms)).expectation().numpy()
                for w, questions in zip(weights, asked, strict=True):
                    scores = _phi(questions, llms) @ w
                    hits[name].append((float((scores > 0).sum() + 0.5 * (scores == 0).sum()), float(len(scores))))
    return _verdict(source, hits, len(users), seed)


def _verdict(source: str, hits: dict[str, list[tuple[float, float]]], users: int, seed: int) -> Verdict:
    right = {name: np.array(pairs) for name, pairs in hits.items()}
    n = len(right["own"])
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=2000)
    weights = np.vstack([np.ones((1, n)), drawn])

    def accuracy(name: str) -> Doubles:
        return np.asarray((weights @ right[name][:, 0]) / (weights @ right[name][:, 1]), dtype=np.float64)

    nobody, own, strangers = (accuracy(name) for name in ("nobody", "own", "strangers"))
    return Verdict(
        source=source,
        comparisons=int(right["own"][:, 1].sum()),
        users=users,
        nobody=float(nobody[0]),
        own=float(own[0]),
        strangers=float(strangers[0]),
        own_over_strangers=interval(own - strangers),
        own_over_nobody=interval(own - nobody),
    )


def _phi(comparisons: list[Comparison], llms: list[str]) -> Doubles:
    """[n, K]: features of the preferred answer minus those of the other."""
    phi = np.zeros((len(comparisons), len(llms) + 1))
    for row, c in enumerate(comparisons):
        phi[row, llms.index(c.won)] += 1
        phi[row, llms.index(c.lost)] -= 1
        phi[row, -1] = SCALE * c.longer
    return phi


def _evidence(users: list[list[Comparison]], llms: list[str]) -> Evidence:
    """Padded; whoever won is on the left, so that every reward is 1."""
    longest = max(1, *(len(mine) for mine in users))
    phi = np.zeros((len(users), longest, len(llms) + 1))
    weight = np.zeros((len(users), longest))
    for number, mine in enumerate(users):
        phi[number, : len(mine)] = _phi(mine, llms)
        weight[number, : len(mine)] = 1
    return Evidence(torch.as_tensor(phi), torch.ones(weight.shape, dtype=torch.float64), torch.as_tensor(weight))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
