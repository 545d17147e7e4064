"""Every kind of log gives the same rows: a file, and both of the gateway's stores, written by the gateway itself."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from made_rows import ROOT, Document, rows_of, write
from redis_servers import behind_sentinel, cluster, free_port, server
from typer.testing import CliRunner

from router_model.cli import app
from router_model.collect.made_log import MadeLog
from router_model.retrain.candidates import Column, candidates
from router_model.retrain.log import BATCH, Kind, LogError, LogSource, open_log, open_logs, shown_source
from router_model.retrain.sample import Sample, SampledLog

NODE = ROOT / "node_modules" / ".bin" / "node"


ODD_NAMES = ['a "quoted" one', "back\\slash", "模型 🦙", "line\nbreak", ""]


@pytest.fixture(scope="module")
def rows(make_log: Callable[..., MadeLog]) -> list[Document]:
    made = [row for tenant in ("acme", "bell") for row in rows_of(make_log(6, tenant=tenant))]
    answers = [row for row in made if row["type"] == "interaction"]
    for one, name in zip(answers[0]["candidates"], ODD_NAMES, strict=False):
        one["name"] = name
    for one in answers[1]["candidates"]:  # a fallback router chose
        one |= {"mean": None, "std": None, "propensity": float(one["name"] == answers[1]["chosen"])}
    # what may be null or absent: each way, and there
    answers[2] |= {"baseline_usd": None, "gain": None, "reading": None}
    answers[3] |= {"baseline_usd": 0.25}
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


def stored(rows: list[Document]) -> list[Document]:
    """As a store keeps them: without vectors, which no tenant of these asked for."""
    return [row | {"embedding": None} if row["type"] == "interaction" else row for row in rows]


COLUMNS: tuple[Column, ...] = ("mean", "std", "predicted_cost_usd", "propensity")


def rest_of(row: Document) -> Document:
    return {name: value for name, value in row.items() if name not in ("type", "candidates")}


def same(log: LogSource, rows: list[Document]) -> None:
    assert log.tenants() == ["acme", "bell"]
    for kind in ("interaction", "reward"):
        for tenants in (["acme"], ["acme", "bell"]):
            wanted = [row for row in rows if row["type"] == kind and row["tenant"] in tenants]
            found = [row for batch in log.read(kind, tenants) for row in batch]
            key = (lambda row: row["id"]) if kind == "interaction" else lambda row: (row["interaction"], row["kind"])
            for a, b in zip(sorted(found, key=key), sorted(wanted, key=key), strict=True):
                assert rest_of(a) == rest_of(b)
                for column in COLUMNS if kind == "interaction" else ():
                    (names, values), (same_names, same_values) = (candidates(x["candidates"], column) for x in (a, b))
                    assert names == same_names
                    assert values == pytest.approx(same_values, rel=1e-7, nan_ok=True)
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
    same(open_log(f"sqlite:{path}"), stored(rows))


def test_sqlite_users_who_got_another_id_are_whole_and_text_that_has_run_out_is_not_read(
    rows: list[Document], tmp_path: Path
) -> None:
    path = tmp_path / "store.db"
    imported(f"{{ kind: sqlite, path: {path}, retention_days: 40000 }}", rows, tmp_path)
    moved = rows[0]["user"]
    with closing(sqlite3.connect(path)) as db, db:
        # As the gateway moves a user (`move-user.ts`): the column alone.
        for table in ("interactions", "rewards"):
            db.execute(f"UPDATE {table} SET user = 'moved' WHERE user = ?", (moved,))
        db.execute("UPDATE interactions SET text = 'kept', text_expires_at = 1 WHERE seq % 2")
        db.execute("UPDATE interactions SET text = 'kept', text_expires_at = NULL WHERE NOT seq % 2")
    log = open_log(f"sqlite:{path}")
    for kind in ("interaction", "reward"):
        found = [row for batch in log.read(kind, ["acme", "bell"]) for row in batch]
        of = [row for row in rows if row["type"] == kind and row["user"] == moved]
        assert [row["user"] for row in found].count("moved") == len(of) > 0
        assert moved not in {row["user"] for row in found}
        texts = [row.get("text") for row in found]
        assert texts.count("kept") == (len(found) // 2 if kind == "interaction" else 0)


def test_the_redis_store(rows: list[Document], tmp_path: Path, redis_url: str) -> None:
    imported(f'{{ kind: redis, url: "{redis_url}", retention_days: 40000 }}', rows, tmp_path)
    same(open_log(redis_url), stored(rows))


def test_rows_whose_shared_part_is_gone_are_passed_by(rows: list[Document], tmp_path: Path, redis_url: str) -> None:
    imported(f'{{ kind: redis, url: "{redis_url}", retention_days: 40000 }}', rows, tmp_path)
    ids = {row["id"] for batch in open_log(redis_url).read("interaction", ["acme"]) for row in batch}
    client: Any = redis.Redis.from_url(redis_url)
    kept = [json.loads(fields[b"{ }"]) for _, fields in client.xrange("pr:{acme}:interactions")]
    name = kept[0][1][0]
    lost = {row[0] for row in kept if row[1][0] == name}
    assert lost < ids
    hashes = {key: client.hget(key, name) for key in client.keys("pr:{acme}:shared:*")}
    for key in hashes:
        client.hdel(key, name)
    found = {row["id"] for batch in open_log(redis_url).read("interaction", ["acme"]) for row in batch}
    for key, value in hashes.items():
        if value is not None:
            client.hset(key, name, value)
    assert found == ids - lost


def test_three_nodes_of_a_redis_cluster(rows: list[Document], tmp_path: Path) -> None:
    with cluster(tmp_path) as ports:
        nodes = [f"127.0.0.1:{port}" for port in ports]
        imported(f"{{ kind: redis, cluster: {json.dumps(nodes)}, retention_days: 40000 }}", rows, tmp_path)
        dead = f"127.0.0.1:{free_port()}"
        same(open_log(f"redis-cluster://{dead},{nodes[1]}"), stored(rows))
        same(open_log(f"redis://{nodes[2]}"), stored(rows))
        with redis.RedisCluster(host="127.0.0.1", port=ports[0]) as client:
            homes = {client.get_node_from_key(f"pr:{{{tenant}}}:rewards").name for tenant in ("acme", "bell")}
        assert len(homes) == 2, "tenants lie on different nodes"


def test_the_master_that_a_sentinel_names(rows: list[Document], tmp_path: Path) -> None:
    with behind_sentinel(tmp_path, "pass@word", "sesame") as (sentinel, _):
        place = f'{{ name: main, nodes: ["127.0.0.1:{sentinel}"], password: sesame }}'
        imported(f'{{ kind: redis, sentinel: {place}, password: "pass@word", retention_days: 40000 }}', rows, tmp_path)
        where = f"127.0.0.1:{sentinel}"
        same(open_log(f"redis-sentinel://:pass%40word@{where}/main?sentinel_password=sesame"), stored(rows))
        with pytest.raises(LogError, match=rf"redis-sentinel://{where}/main: ") as raised:
            open_log(f"redis-sentinel://:pass%40word@{where}/main?sentinel_password=wrong")
        assert not {"word", "wrong", "sesame"} & set(re.findall(r"\w+", str(raised.value)))
        with pytest.raises(LogError, match="knows no master called other"):
            open_log(f"redis-sentinel://:pass%40word@{where}/other?sentinel_password=sesame")


def test_tls_and_a_password(rows: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not on the PATH")
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    tls = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    port = free_port()
    with server(tmp_path, "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", *tls,
                "--requirepass", "sesame", port=port):  # fmt: skip
        imported(
            f"{{ kind: redis, url: 'rediss://127.0.0.1:{port}', password: sesame, tls: {{ ca_file: {certificate} }}, "
            "retention_days: 40000 }",
            rows,
            tmp_path,
        )
        address = f"127.0.0.1:{port}?ssl_ca_certs={certificate}"
        same(open_log(f"rediss://:sesame@{address}"), stored(rows))
        with pytest.raises(LogError, match=f"rediss://127.0.0.1:{port}: .*certificate") as raised:
            open_log(f"rediss://:sesame@127.0.0.1:{port}")
        assert "sesame" not in str(raised.value)
        with pytest.raises(LogError, match=r"[Aa]uth"):
            open_log(f"rediss://{address}")
        monkeypatch.setenv("REDIS_PASSWORD", "sesame")
        same(open_log(f"rediss://{address}"), stored(rows))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://ada:s3cret@local host:1", "not an address: expected redis://"),
        ("redis://:s3cret@a:1,b:2", "not an address"),
        ("redis://:s3cret@a:1/main", "not an address"),
        ("redis-cluster://:s3cret@a:1/3", "one database only"),
        ("redis-sentinel://:s3cret@a:1", "name the master"),
        ("rediss://a:1?ssl_password=s3cret", "no option ssl_password"),
        ("mysql://ada:s3cret@a", "mysql://…: expected redis"),
        ("redis-cluster://:s3cret@127.0.0.1:1", "redis-cluster://127.0.0.1:1: "),
        ("redis-sentinel://:s3cret@127.0.0.1:1/main?sentinel_password=s3cret", "knows no master called main"),
    ],
)
def test_a_wrong_address_is_explained_without_its_password(url: str, says: str) -> None:
    with pytest.raises(LogError, match=re.escape(says)) as raised:
        open_log(url)
    assert "s3cret" not in str(raised.value)


def test_the_command_says_so_too() -> None:
    result = CliRunner().invoke(app, ["retrain", "--from", "redis-cluster://:s3cret@a:1/3"])
    assert (result.exit_code, "one database only" in " ".join(result.output.split())) == (1, True)
    assert "s3cret" not in result.output


def test_what_is_shown_of_a_source() -> None:
    assert shown_source("redis-cluster://ada:s3cret@a:1,b?ssl_ca_certs=x") == "redis-cluster://a:1,b:6379"
    assert shown_source("redis://ada:s@cret@a/2") == "redis://a:6379/2"
    assert shown_source("log.jsonl") == "log.jsonl"


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


def is_archived(row: Document) -> bool:
    return bool(row["type"] == "interaction" and row["tenant"] == "acme")


def run_archive(folder: Path) -> None:
    command = [NODE, ROOT / "bin" / "persona-router.mjs", "--config", folder / "gateway.yaml", "archive"]
    command += ["--to", folder / "archive", "--older-than", "1", "--tenant", "acme"]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_an_archive_beside_its_store(rows: list[Document], tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    imported(f"{{ kind: sqlite, path: {database}, retention_days: 40000 }}", rows, tmp_path)
    run_archive(tmp_path)
    assert open_log(str(tmp_path / "archive")).tenants() == ["acme"]
    assert open_log(str(database)).tenants() == ["bell"]
    both = open_logs([str(tmp_path / "archive"), f"sqlite:{database}"])
    # an empty cell of a number that may be null or absent is null, for the gateway, too
    same(both, [{"baseline_usd": None} | row if is_archived(row) else row for row in stored(rows)])
    assert both.count("interaction", ["acme", "bell"]) == sum(row["type"] == "interaction" for row in rows)


def users_of(log: LogSource) -> dict[str, Counter[str]]:
    """Rows of a tenant's users, by kind."""
    kinds: tuple[Kind, ...] = ("interaction", "reward")
    return {kind: Counter(row["user"] for batch in log.read(kind, ["acme"]) for row in batch) for kind in kinds}


def renamed(counts: dict[str, Counter[str]], names: dict[str, str]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {kind: Counter() for kind in counts}
    for kind, users in counts.items():
        for user, rows in users.items():
            found[kind][names.get(user, user)] += rows
    return found


def test_archived_users_who_got_another_id_are_one(rows: list[Document], tmp_path: Path) -> None:
    """Three ids of one user: one in the archive, one that it knows of, one that the store alone knows of."""
    database = tmp_path / "store.db"
    imported(f"{{ kind: sqlite, path: {database}, retention_days: 40000 }}", rows, tmp_path)
    before = users_of(open_logs([f"sqlite:{database}"]))
    first, second = sorted(before["reward"])[:2]
    note = "INSERT OR REPLACE INTO moves VALUES ('acme', ?, ?, ?)"
    now = time.time_ns() // 10**6
    with closing(sqlite3.connect(database)) as db, db:
        db.execute(note, (first, "between", now))
    run_archive(tmp_path)
    archive = str(tmp_path / "archive")
    assert users_of(open_logs([archive])) == renamed(before, {first: "between"})
    with closing(sqlite3.connect(database)) as db, db:
        db.executemany(note, [(first, "present", now), ("between", "present", now), (second, "other", now)])
    names = {first: "present", second: "other"}
    both = open_logs([archive, f"sqlite:{database}"])
    assert users_of(both) == renamed(before, names)
    # Who is drawn is drawn with all their rows, whatever their ids were.
    sample = Sample(0.5)
    drawn = users_of(SampledLog(both, sample))
    assert drawn == {
        kind: Counter({user: n for user, n in users.items() if sample.has("acme", user)})
        for kind, users in renamed(before, names).items()
    }
    (tmp_path / "archive" / "moves.json").write_text("[")
    with pytest.raises(LogError, match=r"moves\.json"):
        users_of(open_logs([archive]))


def test_redis_users_who_got_another_id_are_one(rows: list[Document], tmp_path: Path, redis_url: str) -> None:
    imported(f'{{ kind: redis, url: "{redis_url}", retention_days: 40000 }}', rows, tmp_path)
    before = users_of(open_logs([redis_url]))
    moved = sorted(before["reward"])[0]
    client: Any = redis.Redis.from_url(redis_url)
    client.hset("pr:{acme}:moved", moved, "present")
    try:
        assert users_of(open_logs([redis_url])) == renamed(before, {moved: "present"})
    finally:
        client.delete("pr:{acme}:moved")


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no archive"):
        open_log(str(tmp_path))
    broken = tmp_path / "tenant=acme" / "day=2026-11-28"
    broken.mkdir(parents=True)
    (broken / "interactions-1-a.parquet").write_bytes(b"nothing")
    with pytest.raises(LogError, match="is it an archive"):
        list(open_log(str(tmp_path)).read("interaction", ["acme"]))
