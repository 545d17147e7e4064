"""Questions to ask: one JSON object a line, in the layout of `router_model/data/pools.py` plus what scoring needs."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Metric = Literal["exact", "f1", "numeric", "choice", "code", "judge"]
METRICS: tuple[Metric, ...] = get_args(Metric)

# What makes an answer easy to read for a metric; appended to the question.
INSTRUCTIONS: Mapping[Metric, str] = {
    "exact": "Give only the answer, without any explanation.",
    "f1": "Give only the answer, as short as possible.",
    "numeric": "Think step by step, then give the final number alone on the last line.",
    "choice": "Give only the letter of the right choice.",
    "code": "Give only Python code, in one code block.",
    "judge": "",
}


class QuestionError(ValueError):
    """A line that can't be asked or scored; the message names file and line."""


@dataclass(frozen=True)
class Question:
    """One question and how its answers are scored."""

    id: str
    query: str
    task: str
    metric: Metric
    truth: tuple[str, ...]
    """Right answers, any will do; for `code`: programs that fail unless the answer, put before them, is right."""
    choices: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """Prompt that a candidate is sent."""
        lettered = [f"{letter}. {text}" for letter, text in zip(letters(len(self.choices)), self.choices, strict=True)]
        return "\n".join(part for part in (self.query, *lettered, INSTRUCTIONS[self.metric]) if part)

    @property
    def fold(self) -> int:
        """0..9 by the question's text, so that the same question is in the same fold wherever it occurs."""
        plain = re.sub(r"\W+", " ", self.query.lower()).strip()
        return int(hashlib.sha256(plain.encode()).hexdigest(), 16) % 10


def letters(n: int) -> str:
    """Names of n choices."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:n]


def read_questions(path: Path, metric: Metric | None = None) -> list[Question]:
    """Reads `.jsonl` or `.jsonl.gz`. `metric` is for lines that name none. Raises `QuestionError`."""
    if not path.is_file():
        raise QuestionError(f"{path}: no such file")
    opener = gzip.open if path.suffix == ".gz" else open
    questions: dict[str, Question] = {}
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                question = _question(json.loads(line), metric)
            except (ValueError, TypeError, AttributeError) as error:
                raise QuestionError(f"{where}: {error}") from error
            if question.id in questions:
                raise QuestionError(f"{where}: the id {question.id} was there before")
            questions[question.id] = question
    if not questions:
        raise QuestionError(f"{path}: no questions")
    return list(questions.values())


def _question(row: dict[str, Any], default: Metric | None) -> Question:
    query = row.get("query")
    if not isinstance(query, str) or not query.strip():
        raise ValueError('"query" must be a text')
    truth = row.get("tests") or row.get("ground_truth", row.get("answer"))
    truths = tuple(str(t) for t in truth) if isinstance(truth, list) else () if truth is None else (str(truth),)
    choices = row.get("choices") or ()
    if isinstance(choices, dict):  # {"label": […], "text": […]}
        choices = choices["text"]
    metric = row.get("metric") or default or _guess(row, bool(choices))
    if metric not in METRICS:
        raise ValueError(f'"metric" must be one of {", ".join(METRICS)}, not {metric!r}')
    if metric != "judge" and not truths:
        raise ValueError(f'"ground_truth" is missing, which {metric} needs')
    digest = hashlib.sha256(query.encode()).hexdigest()[:16]
    task = str(row.get("task") or metric)
    return Question(str(row.get("id") or digest), query, task, metric, truths, tuple(str(choice) for choice in choices))


def _guess(row: dict[str, Any], choices: bool) -> Metric:
    if row.get("tests"):
        return "code"
    if choices:
        return "choice"
    return "judge" if row.get("ground_truth", row.get("answer")) is None else "exact"
