"""Where the gateway's log lies, and its rows as JSON documents, in batches: `docs/records.md` is the format.

`redis://…` (also a Cluster, or behind Sentinels: `redis_address.py`): streams `pr:{<tenant>}:interactions` and
`:rewards`, field `json`, or a row (`rows.py`): `{}`, or `{ }`
and `b` with what it shares in the hash `:shared:<slice>`. `sqlite:<file>`: tables `interactions` and `rewards`, and
those of an earlier version, `earlier_…`. A path ending in `.jsonl` or `.jsonl.gz`: what `persona-router export`
writes. A directory, or `s3://…`: an archive (`archived.py`).
Candidates are a table in the stores and a list elsewhere: `candidates.py` reads both.
"""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, cast

from pydantic_core import from_json

from router_model.retrain.redis_address import AddressError, is_redis, parse_redis
from router_model.retrain.rows import document_of, shared_of, whole_row

if TYPE_CHECKING:
    from router_model.retrain.sample import Sample

Document = dict[str, Any]
Kind = Literal["interaction", "reward"]

BATCH = 2000
# Rows of so many milliseconds share what they share in one hash: `log-index.lua`.
SLICE_MS = 2**28
# In a JSON string a quote is escaped, so this is never part of a text.
REWARD_LINE = re.compile(rb'\{ ?"type" ?: ?"reward"')
TENANT = re.compile(rb'"tenant" ?: ?"([^"]*)"')


class LogError(ValueError):
    """A log that can't be found, reached or read; the message says where and what would help."""


class LogSource(Protocol):
    """One log. Documents come in order of writing; duplicates are possible and are the reader's business."""

    def tenants(self) -> list[str]:
        """Tenants that have rows."""

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """About how many rows there are: for progress, and for what share of them is read (`sample.py`)."""

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """All rows of some tenants in batches, at constant memory.

        Prompt text that was kept is looked up for answers of another `embedder` only; None = for none. Rows of users
        who are not in the `sample` may be left out.
        """


class StoredLog(LogSource, Protocol):
    """A log in one place, whose rows may have ids that users had before (`moved.py`)."""

    def present_ids(self, tenant: str, users: Collection[str]) -> dict[str, str]:
        """Present ids by former ones, of those among `users` who have got another one."""


def open_log(where: str) -> StoredLog:
    """Finds the log behind an address of Redis, `sqlite:<file>` or a path. Raises `LogError`."""
    if is_redis(where):
        return RedisLog(where)
    if where.startswith("sqlite:"):
        return SqliteLog(Path(where.removeprefix("sqlite:").removeprefix("//")))
    path = Path(where)
    if path.is_dir() or is_bucket(where):
        from router_model.retrain.archived import ArchiveLog

        return ArchiveLog(where)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return JsonlLog(path)
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        return SqliteLog(path)
    # In an address of an unknown kind, the place of the password is unknown, too.
    scheme, found, _ = where.partition("://")
    raise LogError(
        f"{f'{scheme}://…' if found else where}: expected redis://…, redis-cluster://…, redis-sentinel://…, "
        "sqlite:<file>, a file that ends in .jsonl, .jsonl.gz or .db, or an archive: a directory or s3://bucket/prefix"
    )


def is_bucket(where: str) -> bool:
    """Whether an address is one of a bucket."""
    return where.lower().startswith("s3://")


def open_logs(places: Sequence[str]) -> LogSource:
    """Several logs as one, such as a store and what was archived of it, each user under one id. Raises `LogError`."""
    from router_model.retrain.moved import MovedLog

    # Archives last: what moves meanwhile is read twice, not missed.
    logs = [open_log(where) for where in sorted(places, key=lambda where: is_bucket(where) or Path(where).is_dir())]
    return MovedLog(logs[0] if len(logs) == 1 else _ManyLogs(logs), logs)


class _ManyLogs:
    """One log after the other."""

    def __init__(self, logs: Sequence[LogSource]) -> None:
        self.logs = logs

    def tenants(self) -> list[str]:
        return sorted({tenant for log in self.logs for tenant in log.tenants()})

    def count(self, kind: Kind, tenants: list[str]) -> int:
        return sum(log.count(kind, tenants) for log in self.logs)

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        for log in self.logs:
            yield from log.read(kind, tenants, embedder, sample)


def shown_source(where: str) -> str:
    """A source without its credentials, for printing."""
    return str(parse_redis(where)) if is_redis(where) else where


class JsonlLog:
    """A file of lines `{"type": "interaction" | "reward", …}`."""

    def __init__(self, path: Path) -> None:
        """Raises `LogError` where there is no such file."""
        if not path.is_file():
            raise LogError(f"{path}: no such file")
        self.path = path
        self._rows: dict[tuple[str, Kind], int] | None = None

    def tenants(self) -> list[str]:
        """Every tenant with a row, by name."""
        return sorted({name for name, _ in self._counted()})

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """Lines of that kind."""
        rows = self._counted()
        return sum(rows.get((tenant, kind), 0) for tenant in tenants)

    def _counted(self) -> dict[tuple[str, Kind], int]:
        """Goes through the whole file once, without parsing it."""
        if self._rows is not None:
            return self._rows
        found: Counter[tuple[bytes, Kind]] = Counter()
        others = 0
        try:
            with self._open() as lines:
                for line in lines:
                    if match := TENANT.search(line):
                        found[match[1], "reward" if REWARD_LINE.match(line) else "interaction"] += 1
                    else:
                        others += bool(line.strip())
        except (OSError, EOFError) as error:  # a file that is cut off, or is not compressed
            raise LogError(f"{self.path}: {error}") from error
        if others and not found:
            raise LogError(f"{self.path}: no log: none of its lines ({others:,}) is a row of any tenant")
        self._rows = {(json.loads(b'"' + name + b'"'), kind): rows for (name, kind), rows in found.items()}
        return self._rows

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """Lines of that kind, as they come in the file."""
        wanted = set(tenants)
        for batch in self._lines(kind):
            kept = [document for document in batch if document["tenant"] in wanted]
            if kept:
                yield kept

    def present_ids(self, tenant: str, users: Collection[str]) -> dict[str, str]:
        """None: what is exported has the present ids."""
        return {}

    def _open(self) -> IO[bytes]:
        if self.path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def _lines(self, kind: Kind) -> Iterator[list[Document]]:
        # The type is the first field of a line, so most lines need no parsing; hand-made files may be spaced otherwise.
        other = {"interaction": b'{"type":"reward"', "reward": b'{"type":"interaction"'}[kind]
        batch: list[Document] = []
        with self._open() as lines:
            for number, line in enumerate(lines, 1):
                if line.startswith(other) or not line.strip():
                    continue
                document = _parse(line, f"{self.path}, line {number}")
                if document.get("type") not in ("interaction", "reward"):
                    raise LogError(f'{self.path}, line {number}: "type" is neither interaction nor reward')
                if kind == document["type"]:
                    batch.append(document)
                if len(batch) >= BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch


class SqliteLog:
    """The file of the gateway's SQLite store, opened for reading; the gateway may go on writing."""

    def __init__(self, path: Path) -> None:
        """Raises `LogError` where there is no such file."""
        if not path.is_file():
            raise LogError(f"{path}: no such file")
        self.path = path

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)

    def tenants(self) -> list[str]:
        """Every tenant with an interaction, by name."""
        query = "SELECT DISTINCT tenant FROM {}"
        return sorted({row[0] for table in self._tables("interaction") for row in self._query(query.format(table))})

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """Rows of that kind by now."""
        query = f"SELECT count(*) FROM {{}} WHERE {_among(tenants)}"
        return sum(int(next(self._query(query.format(table), *tenants))[0]) for table in self._tables(kind))

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """Pages by `seq`, so that no long read keeps the gateway's log from being tidied."""
        # Text that has run out may lie there until the gateway next sweeps.
        kept = f"CASE WHEN text_expires_at IS NULL OR text_expires_at > {time.time_ns() // 10**6} THEN text END"
        columns = f"seq, json, user, {kept if kind == 'interaction' else 'NULL'}"
        for table in self._tables(kind):
            query = f"SELECT {columns} FROM {table} WHERE seq > ? AND {_among(tenants)} ORDER BY seq LIMIT {BATCH}"
            last = 0
            while rows := list(self._query(query, last, *tenants)):
                last = rows[-1][0]
                # A user who has got another id since is in the column, which the gateway reads, under the present one.
                yield [
                    _with_text(_parse(json, f"{self.path}, {kind} {seq}") | {"user": user}, text)
                    for seq, json, user, text in rows
                ]

    def present_ids(self, tenant: str, users: Collection[str]) -> dict[str, str]:
        """Of archived rows: those that are here have the present ids."""
        if not self._has("moves"):
            return {}
        found: dict[str, str] = {}
        asked = list(users)
        for start in range(0, len(asked), BATCH):
            some = asked[start : start + BATCH]
            query = f"SELECT former, user FROM moves WHERE tenant = ? AND former IN ({', '.join('?' * len(some))})"
            found.update(self._query(query, tenant, *some))
        return found

    def _tables(self, kind: Kind) -> list[str]:
        """The oldest rows first. A gateway that has not been started since has no earlier ones."""
        earlier = f"earlier_{kind}s"
        return [*([earlier] if self._has(earlier) else []), f"{kind}s"]

    def _has(self, table: str) -> bool:
        return any(self._query("SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", table))

    def _query(self, sql: str, *values: object) -> Iterator[tuple[Any, ...]]:
        try:
            with closing(self._connect()) as db:
                yield from db.execute(sql, values)
        except sqlite3.Error as error:
            raise LogError(f"{self.path}: {error}; is it the database of a persona-router?") from error


_KEPT = {b"json", b"{}", b"{ }"}


class RedisLog:
    """The streams of the gateway's Redis store."""

    def __init__(self, url: str) -> None:
        """Connects. Raises `LogError`."""
        import redis

        self._errors = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError)
        try:
            address = parse_redis(url)
        except AddressError as error:
            raise LogError(str(error)) from error
        self.where = str(address)
        self._known: dict[tuple[str, str], list[Any]] = {}
        with self._explain():
            self.client = address.connect()
            try:
                self.client.ping()
            except redis.sentinel.MasterNotFoundError as error:  # its own words are a page long
                raise LogError(f"{self.where}: the sentinel there knows no master called {address.path}") from error

    def tenants(self) -> list[str]:
        """Every tenant that the store knows, by name."""
        with self._explain():
            return sorted(bytes(name).decode() for name in self.client.smembers("pr:tenants"))

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """Lengths of the tenants' streams, added up."""
        with self._explain():
            return sum(int(self.client.xlen(_stream(tenant, kind))) for tenant in tenants)

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """The streams one after the other, by pages; texts only of what another embedder read."""
        for tenant in tenants:
            after = "-"
            while True:
                with self._explain():
                    entries = self.client.xrange(_stream(tenant, kind), min=after, count=BATCH)
                if not entries:
                    break
                after = f"({entries[-1][0].decode()}"
                named = f"{self.where}, {kind} of {tenant}"
                stored = (self._stored(tenant, fields, named) for _, fields in entries if _KEPT & fields.keys())
                documents = [document for document in stored if document is not None]
                if kind == "interaction" and embedder is not None:
                    self._look_up_texts(tenant, [d for d in documents if d["embedder"] != embedder])
                yield documents

    def present_ids(self, tenant: str, users: Collection[str]) -> dict[str, str]:
        """Rows of a stream have the ids of their time."""
        former = list(users)
        if not former:
            return {}
        with self._explain():
            found = self.client.hmget(f"pr:{{{tenant}}}:moved", former)
        return {user: bytes(now).decode() for user, now in zip(former, found, strict=True) if now is not None}

    def _stored(self, tenant: str, fields: dict[bytes, bytes], where: str) -> Document | None:
        """None where what it shares is gone: the row left the log meanwhile, or Redis has lost it."""
        if b"json" in fields:
            return _parse(fields[b"json"], where)
        try:
            row = from_json(fields[b"{ }"] if b"{ }" in fields else fields[b"{}"])
            shares = shared_of(row)
            if shares is None:
                return document_of(row)
            shared = self._shared(tenant, *shares)
            return None if shared is None else document_of(whole_row(row, fields[b"b"], shared))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise LogError(f"{where}: {error}") from error

    def _shared(self, tenant: str, name: str, ts: int) -> list[Any] | None:
        if (tenant, name) not in self._known:
            with self._explain():
                found = self.client.hget(f"pr:{{{tenant}}}:shared:{ts // SLICE_MS}", name)
            if found is None:
                return None
            self._known[tenant, name] = cast("list[Any]", from_json(found))
        return self._known[tenant, name]

    def _look_up_texts(self, tenant: str, documents: list[Document]) -> None:
        if not documents:
            return
        with self._explain():
            texts = self.client.mget([f"pr:{{{tenant}}}:text:{document['id']}" for document in documents])
        for document, text in zip(documents, texts, strict=True):
            document["text"] = None if text is None else bytes(text).decode()

    def _explain(self) -> _Explain:
        return _Explain(self.where, self._errors)


class _Explain:
    """Turns errors of a library into `LogError`."""

    def __init__(self, where: str, errors: tuple[type[Exception], ...]) -> None:
        self.where, self.errors = where, errors

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.errors):
            raise LogError(f"{self.where}: {error}") from error


def _stream(tenant: str, kind: Kind) -> str:
    return f"pr:{{{tenant}}}:{kind}s"


def _among(tenants: list[str]) -> str:
    return f"tenant IN ({', '.join('?' * len(tenants))})"


def _parse(data: bytes | str, where: str) -> Document:
    try:
        document = from_json(data)
    except ValueError as error:
        raise LogError(f"{where}: {error}") from error
    if not isinstance(document, dict):
        raise LogError(f"{where}: not a JSON object")
    return document


def _with_text(document: Document, text: str | None) -> Document:
    if text is not None:
        document["text"] = text
    return document
