"""The whole of retraining on a made-up log: fit, export, judge, gates, publishing; and what must leave no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from made_rows import EMBEDDER, Document, rows_of, write
from near import assert_near
from rich.console import Console
from small_artifact import write_small_artifact
from typer.testing import CliRunner

from router_model.cli import app
from router_model.collect.made_log import MadeLog
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Artifact, digest, read_manifest
from router_model.places import ARTIFACTS
from router_model.retrain import retrain as module
from router_model.retrain.command import REFUSED, lines
from router_model.retrain.consent import ConsentError, read_config
from router_model.retrain.fit import fit
from router_model.retrain.gates import Limits, golden
from router_model.retrain.judgement import JudgeError
from router_model.retrain.log import open_log
from router_model.retrain.logbook import read_logbook
from router_model.retrain.options import Options
from router_model.retrain.publish import default_out, next_version, owner_part, publish
from router_model.retrain.refit import held_out
from router_model.retrain.report import Summary
from router_model.retrain.retrain import retrain
from router_model.retrain.start import base_of, prepare

# A log for a test is too small to prove that nothing got worse.
LENIENT = Limits(value_margin=1, cold_margin=1, tenant_loss=1, calibration_error=1, effective=1, latency_ms=1e6)
OPTIONS = Options(limits=LENIENT, prior_users=20, reading_users=10, judged_rows=60)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "2026.01.01-1"
    write_small_artifact(EMBEDDER, folder)
    return folder


@pytest.fixture(scope="module")
def rows(make_log: Callable[..., MadeLog]) -> list[Document]:
    return rows_of(make_log(30, requests=12))


@pytest.fixture(scope="module")
def done(base: Path, rows: list[Document], tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path]:
    """A retraining that was published, and the directory that it was published in."""
    folder = tmp_path_factory.mktemp("retrained")
    log = write(folder / "log.jsonl", rows)
    summary = retrain(str(log), artifact=str(base), out=folder / "artifacts", report=folder / "report", options=OPTIONS)
    return summary, folder


def fitted(artifact: Path, rows: list[Document], folder: Path, options: Options = OPTIONS) -> Any:
    """`fit` on some rows, without an export."""
    made = Artifact(artifact)
    embedder = StaticEmbedder.load(made.folder / "embedder")
    log = read_logbook(open_log(str(write(folder / "some.jsonl", rows))), ["acme"], embedder)
    start = base_of(made)
    prepared = prepare(log, made, start, embedder, None)
    judging = held_out(log.users, options.held_out)
    return fit(log, start, prepared, made.manifest.forget.per_reward, judging, options, lambda *_: None)


def test_a_good_one_is_published(done: tuple[Summary, Path], base: Path, rows: list[Document]) -> None:
    summary, folder = done
    assert summary.accepted, [str(gate) for gate in summary.gates]
    assert summary.published is not None
    out = folder / "artifacts"
    assert (out / "current").resolve() == summary.published.resolve()
    assert sorted(path.name for path in out.iterdir()) == sorted(["current", "runs", summary.version])
    made = Artifact(out / "current")  # hashes and golden vectors
    before = Artifact(base)
    assert made.manifest.version == summary.version != before.manifest.version
    assert ("log of acme", "private") in [(s.name, s.licence) for s in made.manifest.trained_on]
    assert made.manifest.embedder == before.manifest.embedder
    assert summary.interactions == sum(row["type"] == "interaction" for row in rows)
    found = json.loads((made.folder / "metrics.json").read_text())
    assert found["gain"]["value"] == pytest.approx(summary.judgement.gain.value)
    assert set(made.population) >= set(before.population)
    assert set(made.population) == {card for row in rows if "candidates" in row for card in [row["chosen"]]}
    assert "published as" in (folder / "report" / "report.md").read_text(encoding="utf-8")
    run = json.loads((out / "runs" / f"{summary.version}.json").read_text(encoding="utf-8"))
    assert run["published"]
    assert {gate["name"] for gate in run["gates"]} == {gate.name for gate in summary.gates}
    assert (folder / "report" / "report.png").stat().st_size > 10_000


def test_how_rewards_speak_is_heard_of_so_many_answers(base: Path, rows: list[Document], tmp_path: Path) -> None:
    all_of_them, some = (
        sum(kind.rewards for kind in fitted(base, rows, tmp_path, replace(OPTIONS, reading_answers=most)).readings[1])
        for most in (10_000, 15)
    )
    assert 15 <= some <= 30 < all_of_them, "an answer has a rating, and a judge's mark at times"


def test_progress_is_lines_where_nobody_looks() -> None:
    out, now = StringIO(), iter([0, 1, 2, 20, 21, 22])
    watch = lines(Console(file=out, soft_wrap=True), lambda: next(now))
    for done in (1, 2, 3, 4):
        watch("rewards", done, 4)
    watch("tastes", 1, 0)
    told = [line.split() for line in out.getvalue().splitlines()]
    assert told == [
        ["1", "s", "rewards:", "1", "of", "4"],
        ["20", "s", "rewards:", "3", "of", "4"],
        ["21", "s", "rewards:", "4", "of", "4"],
        ["22", "s", "tastes:", "1"],
    ]


def test_it_judges_users_that_taught_nothing(done: tuple[Summary, Path]) -> None:
    summary, _ = done
    assert 0 < summary.held_out < summary.users
    assert summary.judgement.gain.users <= summary.held_out
    assert summary.judgement.propensities.p_value > 1e-3, "the made-up propensities are true"


def test_retraining_twice_counts_no_reward_twice(
    done: tuple[Summary, Path], base: Path, rows: list[Document], tmp_path: Path
) -> None:
    summary, _ = done
    assert summary.published is not None
    again, first = fitted(summary.published, rows, tmp_path), fitted(base, rows, tmp_path)
    for name, evidence in first.population.items():
        np.testing.assert_array_equal(again.population[name], evidence)
    for a, b in zip(again.router.state_dict().values(), first.router.state_dict().values(), strict=True):
        assert a.equal(b)
    published = Artifact(summary.published)
    for name, evidence in first.population.items():
        assert_near(published.population[name], evidence)


def test_an_erased_user_leaves_no_trace(
    done: tuple[Summary, Path], base: Path, rows: list[Document], tmp_path: Path
) -> None:
    """Though the current artifact has heard that user: the next one is as if the rows had never been."""
    summary, _ = done
    assert summary.published is not None
    users = sorted({row["user"] for row in rows})
    erased = next(user for user in users if not held_out([("acme", user)], OPTIONS.held_out)[0])
    left = [row for row in rows if row["user"] != erased]
    after, never = fitted(summary.published, left, tmp_path), fitted(base, left, tmp_path)
    whole = fitted(base, rows, tmp_path)
    differs = False
    for name, evidence in never.population.items():
        np.testing.assert_array_equal(after.population[name], evidence)
        differs |= not np.array_equal(whole.population[name], evidence)
    assert differs, "the erased user's rows did count before"
    for a, b in zip(after.router.state_dict().values(), never.router.state_dict().values(), strict=True):
        assert a.equal(b)
    for path in summary.published.rglob("*"):
        assert not path.is_file() or erased.encode() not in path.read_bytes()


def copying(published: Path) -> Callable[..., Artifact]:
    """In place of the export, which takes most of the time: an artifact that was made before, under the new version."""

    def write_new(folder: Path, *_: object) -> Artifact:
        shutil.copytree(published, folder)
        manifest = read_manifest(folder).model_copy(update={"version": folder.name})
        (folder / "manifest.json").write_text(manifest.model_dump_json(by_alias=True))
        return Artifact(folder)

    return write_new


def test_a_refused_one_is_not_published(
    done: tuple[Summary, Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, folder = done
    assert summary.published is not None
    monkeypatch.setattr(module, "write_new", copying(summary.published))
    out, report = tmp_path / "artifacts", tmp_path / "report"
    command = ["retrain", "--from", str(folder / "log.jsonl"), "--artifact", str(base), "--out", str(out)]
    command += ["--report", str(report), "--tenant-loss", "1", "--waive", "value", "--waive", "cold_start"]
    result = CliRunner().invoke(app, command)
    output = " ".join(result.output.split())
    assert result.exit_code == REFUSED, output
    assert "evidence: REFUSED" in output
    assert "short by" in output
    assert "the current artifact stays" in output
    assert [path.name for path in out.iterdir()] == ["runs"], "nothing half-made is left"
    [refused] = [json.loads(path.read_text(encoding="utf-8")) for path in (out / "runs").iterdir()]
    assert (refused["published"], refused["accepted"]) == (False, False)
    assert next(gate for gate in refused["gates"] if gate["name"] == "evidence")["short"] > 0
    assert "**refused**" in (report / "report.md").read_text(encoding="utf-8")

    waived = CliRunner().invoke(app, [*command, "--waive", "evidence", "--waive", "calibration", "--waive", "latency"])
    assert waived.exit_code == 0, waived.output
    assert (out / "current").is_symlink()


def test_a_damaged_artifact_fails_its_gate(done: tuple[Summary, Path], tmp_path: Path) -> None:
    summary, _ = done
    assert summary.published is not None
    damaged = tmp_path / "damaged"
    shutil.copytree(summary.published, damaged)
    path = damaged / "population.json"
    path.write_bytes(path.read_bytes() + b" ")
    assert "population.json: differs from the hash" in golden(damaged).says
    # With the hash made to fit, the golden vectors still tell.
    shutil.copy(summary.published / "population.json", path)
    cases = json.loads((damaged / "golden.json").read_text())
    outputs = cases["graphs"]["score"][0]["outputs"]
    outputs["mean"] = outputs["std"]
    (damaged / "golden.json").write_text(json.dumps(cases))
    manifest = read_manifest(damaged)
    files = manifest.files | {"golden.json": digest(damaged / "golden.json")}
    (damaged / "manifest.json").write_text(manifest.model_copy(update={"files": files}).model_dump_json(by_alias=True))
    result = golden(damaged)
    assert not result.passed
    assert "output mean of golden case 0 is off by" in result.says


def test_publishing_is_one_step(tmp_path: Path) -> None:
    def made(name: str) -> Path:
        folder = tmp_path / "workshop" / name
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "file").write_text(name)
        return folder

    out = tmp_path / "out"
    out.mkdir()
    assert publish(made("a"), out, "1") == out / "1"
    publish(made("b"), out, "2")
    assert (out / "current").resolve() == out / "2"
    assert (out / "current" / "inner" / "file").read_text() == "b"
    with pytest.raises(FileExistsError):
        publish(made("c"), out, "1")
    assert sorted(path.name for path in out.iterdir()) == ["1", "2", "current"]
    (out / "current").unlink()
    (out / "current").symlink_to("1")  # rolled back by hand
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert next_version(out, now, "2026.11.25-1") == "2026.11.25-2"
    assert next_version(out, now, "2026.11.25-1", "acme") == "2026.11.25-1-acme"


def test_a_tenants_model_goes_to_nobody_else(base: Path, rows: list[Document], tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [*rows, *({**row, "tenant": "bell"} for row in rows)])
    with pytest.raises(ConsentError, match="name one with --tenant"):
        retrain(str(log), artifact=str(base), out=tmp_path / "out")
    with pytest.raises(ConsentError, match="acme, bell did not opt in"):
        retrain(str(log), artifact=str(base), out=tmp_path / "out", tenants=["acme", "bell"])
    assert default_out(["acme"], ["acme", "bell"], None) == ARTIFACTS / "tenants" / "acme"
    assert default_out(["acme"], ["acme"], None) == ARTIFACTS
    assert owner_part(["acme"], ["acme", "bell"], None) == "acme"
    assert owner_part(["acme"], ["acme"], None) == ""
    assert len(owner_part(["a" * 64], ["a" * 64, "bell"], None)) == 16


def test_shared_rows_train_together(
    done: tuple[Summary, Path], base: Path, rows: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, _ = done
    assert summary.published is not None
    monkeypatch.setattr(module, "write_new", copying(summary.published))
    tenants = [{"name": "acme", "share_training": True}, {"name": "bell", "share_training": True}, {"name": "cole"}]
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({"tenants": tenants}))
    everybody = [{**row, "tenant": tenant} for tenant in ("acme", "bell", "cole") for row in rows]
    log = write(tmp_path / "log.jsonl", everybody)
    config = read_config(tmp_path / "gateway.yaml")
    with pytest.raises(ConsentError, match="name a directory with --out"):
        retrain(str(log), artifact=str(base), shared=True, config=config)
    options = replace(OPTIONS, judged_rows=200)
    found = retrain(
        str(log),
        artifact=str(base),
        out=tmp_path / "out",
        shared=True,
        config=config,
        report=tmp_path / "report",
        options=options,
    )
    assert found.tenants == ["acme", "bell"]
    assert found.users == 60
    assert set(found.judgement.tenants) <= {"acme", "bell"}


@pytest.mark.parametrize("kind", ["interaction", "reward"])
def test_a_log_that_teaches_nothing(base: Path, rows: list[Document], tmp_path: Path, kind: str) -> None:
    log = write(tmp_path / "log.jsonl", [row for row in rows if row["type"] == kind])
    result = CliRunner().invoke(app, ["retrain", "--from", str(log), "--artifact", str(base), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "Nothing was retrained" in result.output
    assert "no usable reward" in " ".join(result.output.split())


def test_without_exploration_nothing_can_be_judged(
    done: tuple[Summary, Path], base: Path, rows: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, _ = done
    assert summary.published is not None
    monkeypatch.setattr(module, "write_new", copying(summary.published))
    sure = [
        {**row, "candidates": [{**c, "propensity": float(c["name"] == row["chosen"])} for c in row["candidates"]]}
        if row["type"] == "interaction"
        else row
        for row in rows
    ]
    log = write(tmp_path / "log.jsonl", sure)
    with pytest.raises(JudgeError, match=r"turn router\.explore on"):
        retrain(str(log), artifact=str(base), out=tmp_path / "out", options=OPTIONS)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_gate_cannot_be_waived() -> None:
    result = CliRunner().invoke(app, ["retrain", "--from", "x.jsonl", "--waive", "vibes"])
    assert result.exit_code == 2
    assert "No such gate: vibes" in result.output
