from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from fake_gateway import KEY, FakeGateway
from typer.testing import CliRunner

from router_model.collect.budget import OUT_OF_BUDGET
from router_model.collect.journal import Journal, Outcome
from router_model.collect.run import command
from router_model.data.pools import load_pool

app = typer.Typer()
app.command()(command)


def answer(model: str, prompt: str) -> str:
    if model == "strict-judge":
        return "SCORE: 8" if "roses" in prompt else "SCORE: 2/10"
    if "poem" in prompt:
        return "Of roses." if model == "clever" else "Of code."
    number = prompt.split()[2]
    return str(2 * int(number)) if model == "clever" or int(number) % 2 else "no idea"


def questions(folder: Path, n: int = 6, poem: bool = True) -> Path:
    path = folder / "questions.jsonl"
    rows = [
        {"id": f"q{i}", "query": f"Twice times {i} is", "metric": "numeric", "ground_truth": str(2 * i), "task": "sums"}
        for i in range(n)
    ]
    if poem:
        rows.append({"id": "poem", "query": "Write a poem.", "metric": "judge", "task": "art"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def collect(gateway: FakeGateway, folder: Path, *more: str, key: str = KEY) -> tuple[int, str]:
    arguments = ["--queries", str(folder / "questions.jsonl"), "--models", "clever,cheap", "--key", key]
    arguments += ["--url", gateway.url, "--out", str(folder / "out"), "--judge", "strict-judge", *more]
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def test_outcomes_become_a_pool(tmp_path: Path) -> None:
    questions(tmp_path)
    with FakeGateway(answer) as gateway:
        code, output = collect(gateway, tmp_path)
    assert code == 0, output
    assert "14 answers, 0 failed, $0.0810 spent" in output  # 7 x (0.01 + 0.001) + 2 x 0.002
    pool = load_pool("out", tmp_path)
    assert pool.names == ("clever", "cheap")
    assert pool.quality[:6, 0].tolist() == [1] * 6
    assert pool.quality[:6, 1].tolist() == [0, 1, 0, 1, 0, 1]
    assert pool.quality[6].tolist() == pytest.approx([0.8, 0.2])
    assert pool.task.tolist() == ["sums"] * 6 + ["art"]
    assert pool.lengths_known
    card = pool.cards[0]
    assert (card.vendor, card.input_price, card.context_window, card.tools, card.vision) == (
        "acme",
        1.0,
        8192,
        True,
        False,
    )
    journal = (tmp_path / "out" / "journal.jsonl").read_text()
    assert "roses" not in journal, "replies are kept only when asked for"
    assert KEY not in journal


def test_it_stops_at_the_budget_and_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    questions(tmp_path, n=20, poem=False)
    with FakeGateway(answer) as gateway:
        code, output = collect(gateway, tmp_path, "--budget-usd", "0.1", "--at-once", "4")
        assert code == OUT_OF_BUDGET
        assert "Stopped at the budget" in output
        spent = Journal(tmp_path / "out" / "journal.jsonl", Outcome).spent
        # What is in flight before any price is known may go over: here at most three answers.
        assert 0.05 < spent <= 0.1 + 3 * 0.011
        code, _ = collect(gateway, tmp_path, "--budget-usd", "1")
        assert code == 0
        assert set(gateway.asked.values()) == {1}, "nothing was asked, or paid for, twice"
        assert len(gateway.asked) == 40


def test_a_budget_needs_costs(tmp_path: Path) -> None:
    questions(tmp_path)
    with FakeGateway(answer, send_cost=False) as gateway:
        code, output = collect(gateway, tmp_path, "--budget-usd", "1")
        assert (code, "x-router-cost-usd" in output) == (1, True)


def test_failures_are_noted_and_tried_again(tmp_path: Path) -> None:
    questions(tmp_path, poem=False)
    down = {"value": True}

    def flaky(model: str, prompt: str) -> str | int:
        return 500 if down["value"] and model == "cheap" and "times 3" in prompt else answer(model, prompt)

    with FakeGateway(flaky) as gateway:
        code, output = collect(gateway, tmp_path)
        assert (code, "1 failed" in output) == (0, True), output
        journal = Journal(tmp_path / "out" / "journal.jsonl", Outcome)
        failed = [outcome for outcome in journal.rows.values() if outcome.score is None]
        assert [(o.question, o.llm, o.error) for o in failed] == [("q3", "cheap", "500: Try later.")]
        before = sum(gateway.asked.values())
        down["value"] = False
        code, output = collect(gateway, tmp_path)
        assert (code, sum(gateway.asked.values()) - before) == (0, 1), output
    assert load_pool("out", tmp_path).quality.shape == (6, 2)


@pytest.mark.parametrize(
    ("key", "models", "says"),
    [("pr-wrong", "clever,cheap", "Invalid API key"), (KEY, "clever,gpt-9", "the gateway has no gpt-9; it has clever")],
)
def test_what_cannot_work_ends_at_once(tmp_path: Path, key: str, models: str, says: str) -> None:
    questions(tmp_path)
    with FakeGateway(answer) as gateway:
        code, output = collect(gateway, tmp_path, "--models", models, key=key)
        assert code == 1
        assert says in output
        assert not gateway.asked


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    questions(tmp_path, n=30, poem=False)
    program = "import typer; from router_model.collect.run import command; typer.run(command)"
    with FakeGateway(answer, delay_s=0.02) as gateway:
        arguments = ["--queries", str(tmp_path / "questions.jsonl"), "--models", "clever,cheap", "--url", gateway.url]
        arguments += ["--out", str(tmp_path / "out"), "--at-once", "2"]
        environment = os.environ | {"PERSONA_ROUTER_KEY": KEY}
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while sum(gateway.asked.values()) < 20 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        path = tmp_path / "out" / "journal.jsonl"
        known = len(Journal(path, Outcome).rows)
        assert 15 <= known < 60
        with path.open("ab") as file:
            file.write(b'{"question": "q29", "llm": "che')  # a line that was cut off
        code, output = collect(gateway, tmp_path)
        assert code == 0
        assert f"{60 - known} answers" in output
        assert gateway.most_at_once <= 8
        twice = sum(count - 1 for count in gateway.asked.values())
        assert twice <= 2, "only what was in flight when it died is asked again"
    assert load_pool("out", tmp_path).quality.shape == (30, 2)


def test_a_journal_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, Outcome)
    journal.add(Outcome("a", "x", 1.0, cost_usd=0.5))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-5])
    again = Journal(path, Outcome)
    assert again.spent == 0.5
    again.add(Outcome("b", "x", None, error="no"))
    again.close()
    assert [json.loads(line)["question"] for line in path.read_text().splitlines()] == ["a", "b"]
    assert list(Journal(path, Outcome).missing(["a", "b"], ["x", "y"])) == [("a", "y"), ("b", "x"), ("b", "y")]
