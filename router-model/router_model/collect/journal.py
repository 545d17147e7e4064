"""What has been asked: a line an answer, on disk before the next is counted, so that a crash costs nothing twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Outcome:
    """One LLM's answer to one question. Without a score where it failed."""

    question: str
    llm: str
    score: float | None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    chars: int | None = None
    cost_usd: float = 0.0
    error: str | None = None
    reply: str | None = None


class Journal:
    """Appends outcomes to a file; opening it reads back what is there."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. A line that a crash cut off is dropped."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.spent = 0.0
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self._take(Outcome(**json.loads(line)))
                whole += len(line)
        self._file: IO[bytes] = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)

    def add(self, outcome: Outcome) -> None:
        """Writes through to the disk."""
        self._file.write(json.dumps(asdict(outcome), ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._take(outcome)

    def _take(self, outcome: Outcome) -> None:
        self.spent += outcome.cost_usd
        self.outcomes[outcome.question, outcome.llm] = outcome

    def missing(self, questions: list[str], llms: list[str]) -> Iterator[tuple[str, str]]:
        """Pairs without a score yet, question by question: failures are tried again."""
        for question in questions:
            for llm in llms:
                known = self.outcomes.get((question, llm))
                if known is None or known.score is None:
                    yield question, llm

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
