"""Of a log that is larger than retraining needs, some users are read, each with all of their rows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import polars as pl
import pytest
from made_rows import ROOT, Document, rows_of, write
from moto.server import ThreadedMotoServer

from router_model.collect.made_archive import main as make_archive
from router_model.collect.made_log import MadeLog
from router_model.retrain.log import Kind, LogError, LogSource, open_log, open_logs
from router_model.retrain.refit import held_out
from router_model.retrain.sample import Sample, SampledLog, sample_of
from tests.retrain.test_log import NODE, imported

KINDS: tuple[Kind, ...] = ("interaction", "reward")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of a server of S3, with a bucket `logs`; programs that are started find it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.get_host_and_port()[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret-canary",
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="logs")
        yield "s3://logs"
    server.stop()


def read(log: LogSource, tenants: list[str]) -> list[Document]:
    return [row for kind in KINDS for batch in log.read(kind, tenants) for row in batch]


def test_the_same_users_from_every_kind_of_log(make_log: Callable[..., MadeLog], bucket: str, tmp_path: Path) -> None:
    rows = rows_of(make_log(12))
    database = tmp_path / "store.db"
    imported(f"{{ kind: sqlite, path: {database}, retention_days: 40000 }}", rows, tmp_path)
    sample = Sample(0.5)
    users = {row["user"] for row in rows}
    chosen = set(sample.of("acme", users))
    assert 0 < len(chosen) < len(users)
    assert set(sample.of("bell", users)) != chosen

    def sampled(log: LogSource) -> list[str]:
        found = read(SampledLog(log, sample), ["acme"])
        assert {row["user"] for row in found} == chosen
        return sorted(row.get("id") or f"{row['interaction']} {row['kind']}" for row in found)

    expected = sampled(open_log(str(write(tmp_path / "log.jsonl", rows))))
    assert len(expected) == sum(row["user"] in chosen for row in rows)
    assert sampled(open_log(str(database))) == expected
    command = [NODE, ROOT / "bin" / "persona-router.mjs", "--config", tmp_path / "gateway.yaml"]
    for place in (f"{bucket}/of/router", str(tmp_path / "archive")):
        imported(f"{{ kind: sqlite, path: {database}, retention_days: 40000 }}", rows, tmp_path)
        argv = [str(word) for word in (*command, "archive", "--to", place, "--older-than", "1")]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert sampled(open_logs([place, str(database)])) == expected
    small, large = open_log(str(tmp_path / "archive")), tmp_path / "large"
    assert len(read(open_log(bucket + "/of/router"), ["acme"])) == len(read(small, ["acme"])) == len(rows)
    make_archive(tmp_path / "archive", large, copies=3)
    several = open_log(str(large))
    made = read(several, ["acme"])
    assert len({row["id"] for row in made if "id" in row}) == 3 * len({row["id"] for row in rows if "id" in row})
    assert len({row["user"] for row in made}) == 3 * len(users)
    for kind in KINDS:
        assert several.count(kind, ["acme"]) == pytest.approx(3 * sum(row["type"] == kind for row in rows), rel=0.1)


def test_no_more_is_read_than_is_asked_for(make_log: Callable[..., MadeLog], tmp_path: Path) -> None:
    log = open_log(str(write(tmp_path / "log.jsonl", rows_of(make_log(30)))))
    assert log.tenants() == ["acme"]
    rows = max(log.count(kind, ["acme"]) for kind in KINDS)
    assert sample_of(log, ["acme"], rows) is None
    sample = sample_of(log, ["acme"], rows // 4)
    assert sample == Sample(rows // 4 / rows)
    assert SampledLog(log, sample).count("reward", ["acme"]) == pytest.approx(
        log.count("reward", ["acme"]) / 4, rel=0.1
    )
    assert 0 < len(read(SampledLog(log, sample), ["acme"])) < 0.6 * len(read(log, ["acme"]))


def test_a_store_with_no_rows_beside_a_large_log_does_not_make_all_of_it_read(
    make_log: Callable[..., MadeLog], tmp_path: Path
) -> None:
    rows = rows_of(make_log(30))
    write(tmp_path / "log.jsonl", rows)
    database = tmp_path / "store.db"
    imported(f"{{ kind: sqlite, path: {database}, retention_days: 40000 }}", [rows[0] | {"tenant": "bell"}], tmp_path)
    write(tmp_path / "asked.jsonl", [row for row in rows if row["type"] == "interaction"])
    whole = max(sum(row["type"] == kind for row in rows) for kind in KINDS)
    for beside in ("store.db", "asked.jsonl"):
        logs = open_logs([str(tmp_path / beside), str(tmp_path / "log.jsonl")])
        assert logs.count("reward", ["acme"]) == sum(row["type"] == "reward" for row in rows)
        assert logs.count("reward", ["nobody"]) == 0
        sample = sample_of(logs, ["acme"], whole // 4)
        assert sample is not None
        assert 0 < sample.share <= 0.25
    # before anybody asked for its tenants, too
    assert open_log(str(tmp_path / "log.jsonl")).count("reward", ["acme"]) > 0


def test_who_is_read_says_nothing_of_who_is_judged() -> None:
    everybody = [("acme", f"user-{n}") for n in range(20_000)]
    sample = Sample(0.1)
    chosen = [user for user in everybody if sample.has(*user)]
    assert len(chosen) == pytest.approx(2_000, rel=0.1)
    assert held_out(chosen, 0.2).mean() == pytest.approx(0.2, rel=0.15)
    assert set(chosen) <= {user for user in everybody if Sample(0.2).has(*user)}


def test_a_bucket_that_cannot_be_read_says_why(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, message in {
        "s3://none/a": "s3://none/a/?: there is no such bucket",
        f"{bucket}/empty": "no archive",
        "s3://": "expected s3://bucket/prefix",
        "s3://key:secret-canary@logs/a": "keys come from the environment",
    }.items():
        with pytest.raises(LogError, match=message) as told:
            open_log(place)
        assert "canary" not in str(told.value)
    broken = "bad/tenant=acme/day=2026-11-28/interactions-1-a.parquet"
    boto3.client("s3", region_name="us-east-1").put_object(Bucket="logs", Key=broken, Body=b"nothing")
    with pytest.raises(LogError, match=f"{broken}: .*is it an archive"):
        list(open_log(f"{bucket}/bad").read("interaction", ["acme"]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(LogError, match="nothing answers there"):
        open_log(f"{bucket}/a")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(LogError, match="no credentials"):
        open_log(f"{bucket}/a")


def test_a_file_of_another_version_is_read(tmp_path: Path) -> None:
    day = tmp_path / "tenant=a%20b" / "day=2026-11-28"
    day.mkdir(parents=True)
    pl.DataFrame({"user": ["u"], "interaction": ["i"]}).write_parquet(day / "rewards-1-a.parquet")
    log = open_log(str(tmp_path))
    assert log.tenants() == ["a b"]
    assert [row["user"] for row in read(log, ["a b"])] == ["u"]
