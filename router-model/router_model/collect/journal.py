"""Journal of answers: one a line, on disk before the next is counted, so that a crash costs nothing twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, Protocol, TypeVar


class Row(Protocol):
    """An entry of a journal."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> tuple[str, str]:
        """The question, and the LLM or persona that it was for."""

    @property
    def done(self) -> bool:
        """Whether it need not be asked again."""

    @property
    def cost_usd(self) -> float:
        """Its cost, done or not."""


T = TypeVar("T", bound=Row)


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

    @property
    def key(self) -> tuple[str, str]:
        """Question and LLM."""
        return self.question, self.llm

    @property
    def done(self) -> bool:
        """Whether there is a score."""
        return self.score is not None


def read_rows(path: Path, kind: Callable[..., T]) -> tuple[list[T], int]:
    """Rows of a journal, and of how many bytes they are: a line that a crash cut off is left out."""
    rows, whole = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        rows.append(kind(**json.loads(line)))
        whole += len(line)
    return rows, whole


class Journal(Generic[T]):
    """Appends rows to a file; opening it reads back what is there."""

    def __init__(self, path: Path, kind: Callable[..., T], counts: Callable[[T], bool] = lambda _: True) -> None:
        """Opens or makes the file. A line that a crash cut off is dropped. `counts`: whether a row still holds."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: dict[tuple[str, str], T] = {}
        self.spent = 0.0
        self._counts = counts
        rows, whole = read_rows(path, kind) if path.exists() else ([], 0)
        for row in rows:
            self._take(row)
        self._file: IO[bytes] = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)

    def add(self, row: T) -> None:
        """Writes through to the disk."""
        self._file.write(json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._take(row)

    def _take(self, row: T) -> None:
        self.spent += row.cost_usd
        if self._counts(row):
            self.rows[row.key] = row

    def missing(self, questions: Sequence[str], asked: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Keys that aren't done, question by question: failures are tried again."""
        for question in questions:
            for who in asked:
                known = self.rows.get((question, who))
                if known is None or not known.done:
                    yield question, who

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
