"""Archives, as `persona-router archive` writes them: Parquet, one tenant and UTC day a folder (docs/operation.md).

They are read file by file, some thousand rows at a time, however many there are.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Container, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic_core import from_json

from router_model.retrain.archive_place import Place, open_place
from router_model.retrain.log import BATCH, Document, Kind, LogError
from router_model.retrain.record import SCHEMA
from router_model.retrain.sample import Sample

if TYPE_CHECKING:
    import polars

JSON_COLUMNS = "persona-router.json"
"""Key of a file's metadata: names of the columns that hold JSON."""
MOVES = "moves.json"
"""Present ids by tenants and former ids (`src/store/archive/moved-users.ts`)."""
LOOKED_AT = 20
"""Files whose rows are counted; those of the others follow from their sizes."""


class ArchiveLog:
    """A directory, or a bucket's prefix, of `tenant=<name>/day=<day>/<kind>s-*.parquet`."""

    def __init__(self, where: str) -> None:
        """Raises `LogError` where nothing is archived, or the reader of Parquet is not installed."""
        try:
            import polars
        except ImportError as error:
            raise LogError(f"{where}: reading an archive needs polars (pip install polars)") from error
        self._polars = polars
        self.place: Place = open_place(where)
        if not self.tenants():
            raise LogError(f"{where}: no archive: no folder tenant=… in it")
        self._moves: dict[str, dict[str, str]] | None = None

    def tenants(self) -> list[str]:
        """Every tenant with a folder, by name."""
        return sorted(unquote(name.removeprefix("tenant=")) for name in self.place.tenants())

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """About how many: as some files say, and the sizes of the others."""
        files = list(self._files(kind, tenants))
        rows = size = 0
        for _, path, length in files[:: max(1, len(files) // LOOKED_AT)]:
            content = self.place.read(path)
            with self._explain(path):
                scan = self._polars.scan_parquet(io.BytesIO(content))
                rows += int(scan.select(self._polars.len()).collect().item())
            size += length
        return round(rows * sum(length for _, _, length in files) / size) if size else 0

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """By tenants, days and times. Prompt text is not archived."""
        for tenant, path, _ in self._files(kind, tenants):
            content = self.place.read(path)
            with self._explain(path):
                json_columns = self._polars.read_parquet_metadata(io.BytesIO(content)).get(JSON_COLUMNS, "").split(",")
                rows = self._rows(content, tenant, sample)
            for part in rows.iter_slices(BATCH):
                yield [_document(kind, row, json_columns) for row in part.iter_rows(named=True)]

    def present_ids(self, tenant: str, users: Collection[str]) -> dict[str, str]:
        """Rows have the ids of the time when they were archived."""
        moves = self._moved().get(tenant, {})
        return {user: present_id(moves, user) for user in users if user in moves}

    def _moved(self) -> dict[str, dict[str, str]]:
        if self._moves is None:
            content = self.place.find(MOVES)
            try:
                found = {} if content is None else from_json(content)
                self._moves = {tenant: dict(ids) for tenant, ids in found.items()}
            except (ValueError, AttributeError, TypeError) as error:
                raise LogError(f"{self.place.shown(MOVES)}: {error}; bring it back from a copy") from error
        return self._moves

    def _rows(self, content: bytes, tenant: str, sample: Sample | None) -> polars.DataFrame:
        """Users first: of a large archive, most need no more."""
        if sample is None:
            return self._polars.read_parquet(io.BytesIO(content))
        users = self._polars.read_parquet(io.BytesIO(content), columns=["user"])["user"]
        wanted = sample.of(tenant, users.unique().to_list())
        if not wanted:
            return self._polars.DataFrame()
        return self._polars.read_parquet(io.BytesIO(content)).filter(users.is_in(wanted))

    def _files(self, kind: Kind, tenants: list[str]) -> Iterator[tuple[str, str, int]]:
        """Tenant, path and size of each file."""
        wanted = set(tenants)
        for folder in sorted(self.place.tenants()):
            tenant = unquote(folder.removeprefix("tenant="))
            if tenant in wanted:
                yield from ((tenant, path, size) for path, size in self.place.files(folder, f"{kind}s-"))

    def _explain(self, path: str) -> _Explain:
        return _Explain(self.place.shown(path), (self._polars.exceptions.PolarsError, OSError))


class _Explain:
    """Turns errors of a library into `LogError`."""

    def __init__(self, path: str, errors: tuple[type[Exception], ...]) -> None:
        self.path, self.errors = path, errors

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.errors):
            said = str(error).splitlines()[0]
            raise LogError(f"{self.path}: {said}; is it an archive of a persona-router?") from error


def present_id(moves: dict[str, str], user: str) -> str:
    """Who moved twice may be there in two steps."""
    for _ in moves:
        if user not in moves:
            break
        user = moves[user]
    return user


def _document(kind: Kind, row: dict[str, Any], json_columns: Container[str]) -> Document:
    """As the gateway reads it (`src/store/archive/columns.ts`)."""
    found: Document = {"text": None} if kind == "interaction" else {}
    for name, cell in row.items():
        if name in json_columns and cell is not None:
            found[name] = from_json(cell)
        elif cell is not None or name not in ABSENT[kind]:
            found[name] = cell
    return found


ABSENT: dict[str, frozenset[str]] = {kind: frozenset(names) for kind, names in SCHEMA["archive"]["absent"].items()}
"""Columns whose empty cells stand for a field that is left out; in any other they are null."""
