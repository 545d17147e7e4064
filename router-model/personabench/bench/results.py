"""Results of the benchmark, as rows for a table, a picture and a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from personabench.bench.contestant import Kind
from personabench.metrics import Interval

SCHEMA = "persona-router/bench/1"


@dataclass(frozen=True)
class Row:
    """One contestant after n requests of each user, on one pool with one kind of feedback, over all seeds."""

    pool: str
    feedback: str
    shift: str
    contestant: str
    kind: Kind
    n: int
    gap: Interval
    """Gap closed: 0 = best single LLM, 1 = the best answer to each query for each user."""
    over_regression: Interval | None
    """Difference to "the regression", paired; None for itself or where it didn't run."""
    worse_off: float
    """Share of users served worse than by the best single LLM."""
    seeds: int = 0
    """How many are added up; 0 in results of before they were counted."""


@dataclass(frozen=True)
class Figure:
    """Any other number about a contestant on a pool."""

    pool: str
    feedback: str
    contestant: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass
class Results:
    """All rows of a run, and how it was run."""

    settings: dict[str, object]
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "schema": SCHEMA,
            "settings": self.settings,
            "rows": [asdict(row) for row in self.rows],
            "figures": [asdict(figure) for figure in self.figures],
        }

    def save(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(path: Path) -> Results:
        """Reads what `save` wrote. Raises `ValueError` for another file."""
        made = json.loads(path.read_text(encoding="utf-8"))
        if made.get("schema") != SCHEMA:
            raise ValueError(f"{path}: not results of this benchmark ({SCHEMA})")
        rows = []
        for row in made["rows"]:
            over = row["over_regression"]
            intervals = {"gap": Interval(**row["gap"]), "over_regression": Interval(**over) if over else None}
            rows.append(Row(**{**row, **intervals}))
        return Results(made["settings"], rows, [Figure(**figure) for figure in made["figures"]])

    def parts(self) -> list[tuple[str, str, str]]:
        """(pool, feedback, shift), in order of appearance."""
        return list(dict.fromkeys((row.pool, row.feedback, row.shift) for row in self.rows))

    def of(self, pool: str, feedback: str, shift: str) -> list[Row]:
        """Rows of one part."""
        return [row for row in self.rows if (row.pool, row.feedback, row.shift) == (pool, feedback, shift)]


def contestants_of(rows: Iterable[Row]) -> list[str]:
    """Names in order of appearance."""
    return list(dict.fromkeys(row.contestant for row in rows))
