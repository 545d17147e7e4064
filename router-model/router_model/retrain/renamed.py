"""A log whose candidates have other names by now (`formerly` in the gateway's configuration)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from router_model.retrain.log import Document, Kind, LogSource
from router_model.retrain.log_view import LogView
from router_model.retrain.sample import Sample


class RenamedLog(LogView):
    """Rows of a log by the present names of their candidates."""

    def __init__(self, log: LogSource, renamed: dict[str, str]) -> None:
        """`renamed`: former name -> present one."""
        super().__init__(log)
        self.renamed = renamed

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """All rows of some tenants in batches."""
        rename = self._interaction if kind == "interaction" else self._reward
        for batch in self.log.read(kind, tenants, embedder, sample):
            yield [rename(row) for row in batch]

    def _interaction(self, row: Document) -> Document:
        return {
            **row,
            "chosen": self._now(row["chosen"]),
            "attempts": [{**attempt, "candidate": self._now(attempt["candidate"])} for attempt in row["attempts"]],
            "candidates": self._candidates(row["candidates"]),
        }

    def _reward(self, row: Document) -> Document:
        return {**row, "preferred_model": self._now(row.get("preferred_model"))}

    def _candidates(self, scored: Any) -> Any:
        if isinstance(scored, dict):
            return {**scored, "names": [self._now(name) for name in scored["names"]]}
        return [{**one, "name": self._now(one["name"])} for one in scored]

    def _now(self, name: Any) -> Any:
        return self.renamed.get(name, name)
