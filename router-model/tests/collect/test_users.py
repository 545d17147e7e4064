"""The paper's two strategies, from gathered outcomes to a log that `retrain` reads."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_gateway import KEY, FakeGateway
from near import ROUNDING
from typer.testing import CliRunner

from router_model.cli import app
from router_model.collect.budget import OUT_OF_BUDGET
from router_model.collect.journal import Journal
from router_model.collect.personas import Verdict
from router_model.collect.strategies import judge_personas, scaled_cost
from router_model.collect.users import embedder_of
from router_model.data.pools import load_pool
from router_model.kinds import KINDS
from router_model.places import DATA
from router_model.retrain.log import open_log
from router_model.retrain.logbook import Logbook, read_logbook

QUESTIONS = 5


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few questions of a real pool, in a folder as `collect` leaves it."""
    folder, source = tmp_path_factory.mktemp("some") / "collected", DATA / "zeroeval"
    folder.mkdir()
    shutil.copy(source / "llms.json", folder)
    lines = gzip.decompress((source / "queries.jsonl.gz").read_bytes()).splitlines(keepends=True)
    (folder / "queries.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[::40])))
    return folder


def logbook(path: Path, tenant: str) -> Logbook:
    return read_logbook(open_log(str(path)), [tenant], embedder_of("current"))


def reply(model: str, prompt: str) -> str:
    if "You asked:" in prompt:
        # Who is tight with money wants the cheap answer, everybody else the long one.
        answers = prompt.split("\n\n[")[1:]
        wanted = "brief" if "tight budget" in prompt else "at length"
        return next(answer[0] for answer in answers if wanted in answer)
    if model == "strict-judge":
        return "SCORE: 3"
    return "An answer at length." if model == "clever" else "A brief answer."


def collected(gateway: FakeGateway, folder: Path, *more: str) -> Path:
    rows = [{"id": f"q{i}", "query": f"Question {i}?", "ground_truth": "x"} for i in range(QUESTIONS)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--queries", str(folder / "questions.jsonl"), "--models", "clever,cheap", "--key", KEY]
    code, output = run("collect", *arguments, "--url", gateway.url, "--out", str(folder / "collected"), *more)
    assert code == 0, output
    return folder / "collected"


def judging(gateway: FakeGateway, folder: Path, *more: str) -> tuple[int, str]:
    arguments = ["--judge", "strict-judge", "--key", KEY, "--url", gateway.url, "--users", "18", "--requests", "10"]
    return run("judge-personas", str(folder / "collected"), *arguments, "--out", str(folder / "personas"), *more)


def test_users_who_weigh_effect_against_cost(some: Path, tmp_path: Path) -> None:
    code, output = run("simulate-users", str(some), "--out", str(tmp_path), "--requests", "4")
    assert code == 0, output
    assert "best single LLM for a = 0.2 to" in output
    users = json.loads((tmp_path / "users.json").read_text())
    assert (len(users), {user["a"] for user in users}) == (1000, {0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0})
    log = logbook(tmp_path / "log.jsonl.gz", "simulated")
    assert (len(log.users), len(log.decisions), len(log.edges), log.left_out) == (1000, 4000, 4000, {})
    pool = load_pool(some.name, some.parent)
    possible = np.stack([a * pool.quality - (1 - a) * scaled_cost(pool) for a in (0.2, 1.0)])
    for user, values in (("user-0", possible[0]), ("user-8", possible[1])):
        number = log.users.index(("simulated", user))
        for edge in np.flatnonzero(log.edges.user == number):
            llm = pool.names.index(log.llms[log.answers.llm[log.edges.row[edge]]])
            assert np.abs(values[:, llm] - log.edges.value[edge]).min() <= 8 * ROUNDING, "utilities are shares"


def test_the_same_seed_gives_the_same_users(some: Path, tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        arguments = ["--users", "20", "--requests", "2", "--spread", "--seed", seed, "--out", str(tmp_path / name)]
        assert run("simulate-users", str(some), *arguments)[0] == 0
        made.append(((tmp_path / name / "users.json").read_text(), read(tmp_path / name / "log.jsonl.gz")))
    assert made[0] == made[1] != made[2]


def read(path: Path) -> list[object]:
    return [row for batch in open_log(str(path)).read("interaction", ["simulated"]) for row in batch]


def test_personas_say_what_they_prefer(tmp_path: Path) -> None:
    with FakeGateway(reply) as gateway:
        collected(gateway, tmp_path, "--keep-replies")
        code, output = judging(gateway, tmp_path)
    assert code == 0, output
    personas = len(judge_personas())
    assert f"{QUESTIONS * personas} verdicts, 0 failed, ${QUESTIONS * personas * 0.002:.4f} spent" in output
    assert "price first 5 cheap 100%" in output.replace("│ ", "")
    log = logbook(tmp_path / "personas" / "log.jsonl.gz", "personas")
    assert (len(log.users), len(log.edges)) == (18, 180)
    assert set(log.edges.kind.tolist()) == {KINDS.index("preference")}
    users = json.loads((tmp_path / "personas" / "users.json").read_text())
    persona = {user["user"]: user["persona"] for user in users}
    for edge in range(len(log.edges)):
        wanted = "cheap" if persona[log.users[log.edges.user[edge]][1]] == "price first" else "clever"
        answered = log.llms[log.answers.llm[log.edges.row[edge]]]
        assert log.edges.value[edge] == (1 if answered == wanted else -1)


def test_judging_stops_at_a_budget_and_goes_on(tmp_path: Path) -> None:
    with FakeGateway(reply) as gateway:
        collected(gateway, tmp_path, "--keep-replies")
        code, output = judging(gateway, tmp_path, "--budget-usd", "0.02", "--at-once", "1")
        assert (code, "Stopped at the budget" in output) == (OUT_OF_BUDGET, True)
        spent = Journal(tmp_path / "personas" / "verdicts.jsonl", Verdict).spent
        assert 0.01 < spent <= 0.02
        assert judging(gateway, tmp_path, "--budget-usd", "1")[0] == 0
        asked = {key: count for key, count in gateway.asked.items() if key[0] == "strict-judge"}
        assert (len(asked), set(asked.values())) == (QUESTIONS * len(judge_personas()), {1})


def test_a_killed_judging_goes_on_where_it_was(tmp_path: Path) -> None:
    with FakeGateway(reply, delay_s=0.02) as gateway:
        folder = collected(gateway, tmp_path, "--keep-replies")
        arguments = ["judge-personas", str(folder), "--judge", "strict-judge", "--url", gateway.url, "--at-once", "2"]
        program = [sys.executable, "-m", "router_model", *arguments, "--out", str(tmp_path / "personas")]
        process = subprocess.Popen(
            program,
            env=os.environ | {"PERSONA_ROUTER_KEY": KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def judged() -> int:
            return sum(count for (model, _), count in gateway.asked.items() if model == "strict-judge")

        while judged() < 10 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        known = len(Journal(tmp_path / "personas" / "verdicts.jsonl", Verdict).rows)
        total = QUESTIONS * len(judge_personas())
        assert 5 <= known < total
        code, output = judging(gateway, tmp_path)
        assert code == 0, output
        assert f"{total - known} verdicts" in output
        assert judged() <= total + 2, "only what was in flight when it died is asked again"


def test_verdicts_on_other_answers_count_no_more(tmp_path: Path) -> None:
    with FakeGateway(reply) as gateway:
        collected(gateway, tmp_path, "--keep-replies")
        assert judging(gateway, tmp_path)[0] == 0
        collected(gateway, tmp_path, "--keep-replies", "--models", "cheap,clever,strict-judge")
        code, output = judging(gateway, tmp_path)
        assert f"{QUESTIONS * len(judge_personas())} verdicts" in output, (code, output)


def test_a_judge_that_names_nobody_is_asked_again(tmp_path: Path) -> None:
    sane = {"value": False}

    def moody(model: str, prompt: str) -> str:
        return reply(model, prompt) if model != "strict-judge" or sane["value"] else "I can't decide."

    with FakeGateway(moody) as gateway:
        collected(gateway, tmp_path, "--keep-replies")
        code, output = judging(gateway, tmp_path)
        assert (code, "45 verdicts, 45 failed" in output) == (0, True), output
        assert not (tmp_path / "personas" / "log.jsonl.gz").exists()
        sane["value"] = True
        code, output = judging(gateway, tmp_path)
        assert "45 verdicts, 0 failed" in output


def test_an_endpoint_that_tells_no_cost_needs_a_price(tmp_path: Path) -> None:
    with FakeGateway(reply, send_cost=False) as gateway:
        collected(gateway, tmp_path, "--keep-replies")
        code, output = judging(gateway, tmp_path, "--budget-usd", "1")
        assert (code, "no --price is given" in output) == (1, True), output
        code, output = judging(gateway, tmp_path, "--budget-usd", "1", "--price", "100,10")
        assert code == 0, output
        assert "$0.0454 spent" in output  # 45 x (10 x 100 + 1 x 10) / 1e6 = 0.04545
        assert "two numbers" in judging(gateway, tmp_path, "--price", "cheap")[1]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with FakeGateway(reply) as gateway:
        code, output = judging(gateway, tmp_path)
        assert (code, "llms.json: no such file" in output) == (1, True), output
        collected(gateway, tmp_path)
        code, output = judging(gateway, tmp_path)
        assert (code, "collect --keep-replies" in output) == (1, True), output
        code, output = run("simulate-users", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))
        assert (code, "no such file" in output) == (1, True)
