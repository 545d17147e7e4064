"""Archives, as `persona-router archive` writes them: Parquet, one tenant and UTC day a folder (docs/operation.md).

They are read file by file, some thousand rows at a time, however many there are.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json

from router_model.retrain.log import BATCH, Document, Kind, LogError
from router_model.retrain.record import SCHEMA, fields

JSON_COLUMNS = "persona-router.json"
"""Key of a file's metadata: names of the columns that hold JSON."""


class ArchiveLog:
    """A directory of `tenant=<name>/day=<day>/<kind>s-*.parquet`."""

    def __init__(self, path: Path) -> None:
        """Raises `LogError` where nothing is archived, or the reader of Parquet is not installed."""
        try:
            import polars
        except ImportError as error:
            raise LogError(f"{path}: reading an archive needs polars (pip install polars)") from error
        self._polars = polars
        self.path = path
        if not self.tenants():
            raise LogError(f"{path}: no archive: no folder tenant=… in it")

    def tenants(self) -> list[str]:
        """Every tenant with a folder, by name."""
        return sorted(unquote(folder.name.removeprefix("tenant=")) for folder in self.path.glob("tenant=*"))

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """As the files' footers say."""
        files = list(self._files(kind, tenants))
        if not files:
            return 0
        with self._explain():
            scan = self._polars.scan_parquet(files, hive_partitioning=False, missing_columns="insert")
            return int(scan.select(self._polars.len()).collect().item())

    def read(self, kind: Kind, tenants: list[str], embedder: str | None = None) -> Iterator[list[Document]]:
        """By tenants, days and times. Prompt text is not archived."""
        for path in self._files(kind, tenants):
            with self._explain():
                json_columns = self._polars.read_parquet_metadata(path).get(JSON_COLUMNS, "").split(",")
                rows = self._polars.read_parquet(path, hive_partitioning=False)
            for part in rows.iter_slices(BATCH):
                yield [_document(kind, row, json_columns) for row in part.iter_rows(named=True)]

    def _files(self, kind: Kind, tenants: list[str]) -> Iterator[Path]:
        wanted = set(tenants)
        for folder in sorted(self.path.glob("tenant=*")):
            if unquote(folder.name.removeprefix("tenant=")) in wanted:
                yield from sorted(folder.glob(f"day=*/{kind}s-*.parquet"))

    def _explain(self) -> _Explain:
        return _Explain(self.path, (self._polars.exceptions.PolarsError, OSError))


class _Explain:
    """Turns errors of a library into `LogError`."""

    def __init__(self, path: Path, errors: tuple[type[Exception], ...]) -> None:
        self.path, self.errors = path, errors

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.errors):
            said = str(error).splitlines()[0]
            raise LogError(f"{self.path}: {said}; is it an archive of a persona-router?") from error


def _document(kind: Kind, row: dict[str, Any], json_columns: Container[str]) -> Document:
    """A field that may be left out is, where its cell is empty."""
    found: Document = {"text": None} if kind == "interaction" else {}
    for name, cell in row.items():
        if name in json_columns and cell is not None:
            found[name] = from_json(cell)
        elif cell is not None or name not in MAY_BE_ABSENT[kind]:
            found[name] = cell
    return found


MAY_BE_ABSENT: dict[Kind, frozenset[str]] = {
    kind: frozenset(fields(kind)) - frozenset(SCHEMA["$defs"][kind]["required"]) for kind in ("interaction", "reward")
}
