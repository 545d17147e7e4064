"""Every kind of log gives the same rows: a file, and both of the gateway's stores, written by the gateway itself."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from made_rows import ROOT, Document, rows_of, write

from router_model.learning.made_log import MadeLog
from router_model.log import BATCH, LogError, LogSource, open_log

NODE = ROOT / "node_modules" / ".bin" / "node"


@pytest.fixture(scope="module")
def rows(make_log: Callable[..., MadeLog]) -> list[Document]:
    made = [row for tenant in ("acme", "bell") for row in rows_of(make_log(6, tenant=tenant))]
    return sorted(made, key=lambda row: (row["type"], row["ts"], row.get("id", row.get("interaction"))))


def imported(store: str, rows: list[Document], folder: Path) -> None:
    """Writes rows into a store by `persona-router import`."""
    if not NODE.exists():
        pytest.skip("node_modules is not there: npm install")
    tenants = "\n".join(f"  - {{ name: {name} }}" for name in ("acme", "bell"))
    (folder / "gateway.yaml").write_text(
        f"store: {store}\nspool: {{ path: {folder / 'spool'} }}\ntenants:\n{tenants}\n"
    )
    command = [NODE, ROOT / "bin" / "persona-router.mjs", "--config", folder / "gateway.yaml", "import"]
    done = subprocess.run(
        [*map(str, command), str(write(folder / "rows.jsonl", rows))],
        cwd=folder,
        env=os.environ | {"NODE_NO_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def same(log: LogSource, rows: list[Document]) -> None:
    assert log.tenants() == ["acme", "bell"]
    for kind in ("interaction", "reward"):
        for tenants in (["acme"], ["acme", "bell"]):
            wanted = [row for row in rows if row["type"] == kind and row["tenant"] in tenants]
            found = [row for batch in log.read(kind, tenants) for row in batch]
            key = (lambda row: row["id"]) if kind == "interaction" else lambda row: (row["interaction"], row["kind"])
            for a, b in zip(sorted(found, key=key), sorted(wanted, key=key), strict=True):
                assert {k: v for k, v in a.items() if k != "type"} == {k: v for k, v in b.items() if k != "type"}
            assert log.count(kind, tenants) in (0, len(wanted))


def test_a_file(rows: list[Document], tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", rows)
    same(open_log(str(path)), rows)
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    same(open_log(str(tmp_path / "log.jsonl.gz")), rows)
    spaced = tmp_path / "spaced.jsonl"
    spaced.write_text("\n".join(json.dumps(row) for row in rows))
    same(open_log(str(spaced)), rows)


def test_the_sqlite_store(rows: list[Document], tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    imported(f"{{ kind: sqlite, path: {path}, retention_days: 40000 }}", rows, tmp_path)
    same(open_log(f"sqlite:{path}"), rows)


def test_the_redis_store(rows: list[Document], tmp_path: Path, redis_url: str) -> None:
    imported(f'{{ kind: redis, url: "{redis_url}", retention_days: 40000 }}', rows, tmp_path)
    same(open_log(redis_url), rows)


def test_it_reads_in_batches(rows: list[Document], tmp_path: Path) -> None:
    some = [row for row in rows if row["type"] == "reward"]
    many = [some[0] | {"ts": n} for n in range(2 * BATCH + 1)]
    sizes = [
        len(batch) for batch in open_log(str(write(tmp_path / "log.jsonl", many))).read("reward", ["acme", "bell"])
    ]
    assert sizes == [BATCH, BATCH, 1]


def test_a_log_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such file"):
        open_log(str(tmp_path / "none.jsonl"))
    with pytest.raises(LogError, match="expected redis"):
        open_log("mysql://x")
    with pytest.raises(LogError, match="redis://localhost:1/0: "):
        open_log("redis://user:secret@localhost:1/0")
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(LogError, match="is it the database of a persona-router"):
        open_log(f"sqlite:{tmp_path / 'other.db'}").tenants()
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"type":"interaction","tenant":"a"}\n{"type":"intera')
    with pytest.raises(LogError, match="line 2"):
        list(open_log(str(bad)).read("interaction", ["a"]))
    bad.write_text('{"type":"song","tenant":"a"}\n')
    with pytest.raises(LogError, match="neither interaction nor reward"):
        list(open_log(str(bad)).read("interaction", ["a"]))
