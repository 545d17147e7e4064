from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from router_model.collect.questions import Metric, Question, QuestionError, read_questions
from router_model.collect.sandbox import isolated, passes
from router_model.collect.score import SCORERS, last_number
from router_model.data.pools import load_pool

CAPITALS = ("Paris", "Rome", "Madrid")


def question(metric: Metric, *truth: str, choices: tuple[str, ...] = ()) -> Question:
    return Question("q", "What?", "task", metric, truth, choices)


@pytest.mark.parametrize(
    ("metric", "truth", "answer", "score"),
    [
        ("exact", "Paris", "The Paris.", 1),
        ("exact", "Paris", "Let me think.\n\nParis", 1),
        ("exact", "Paris", "Paris or Rome", 0),
        ("f1", "the red fox", "a red dog", 0.5),
        ("f1", "yes", "", 0),
        ("numeric", "1234.5", "So it is 7 + 1, that is $1,234.50.", 1),
        ("numeric", "#### 18", "18.0", 1),
        ("numeric", "42", r"\boxed{42}, not 43", 1),
        ("numeric", "0.5", "no idea", 0),
        ("numeric", "-3", "3", 0),
        ("numeric", "3", "x = 3.", 1),
        ("numeric", "50", "50%", 1),
        ("numeric", "0.33333", "0.3333", 1),
        ("numeric", "0.00002", "0.00003", 0),
        ("numeric", "0", "0.00005", 0),
        ("numeric", "0", "It is 0.0", 1),
    ],
)
def test_checkable_answers(metric: Metric, truth: str, answer: str, score: float) -> None:
    assert SCORERS[metric](answer, question(metric, truth)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("B", 1),
        ("(b)", 1),
        ("The answer is B.", 1),
        ("Answer: **B**", 1),
        ("B. Rome", 1),
        ("rome", 1),
        ("A good question. The answer is (B)", 1),
        ("A", 0),
        ("Answer: C", 0),
        ("I can't tell", 0),
    ],
)
@pytest.mark.parametrize("truth", ["B", "1", "Rome"])
def test_multiple_choice(answer: str, score: float, truth: str) -> None:
    assert SCORERS["choice"](answer, question("choice", truth, choices=CAPITALS)) == score


def test_any_right_answer_will_do() -> None:
    assert SCORERS["exact"]("USA", question("exact", "United States", "USA")) == 1


def test_numbers() -> None:
    assert last_number("1.5e3") == 1500
    assert last_number("from 1,000,000 to 2") == 2
    assert last_number("") is None


def test_code_is_scored_by_its_tests() -> None:
    asked = question("code", "assert f(2) == 4", "assert f(3) == 9")
    answer = "Here:\n```python\ndef f(x):\n    return 4\n```\nDone."
    assert SCORERS["code"](answer, asked) == 0.5
    assert SCORERS["code"]("def f(x): return x * x", asked) == 1


def test_code_can_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary")
    assert passes("print('fine')")
    assert not passes("raise SystemExit(1)")
    started = time.monotonic()
    assert not passes("while True: pass", seconds=1)
    assert time.monotonic() - started < 30
    assert not passes("x = bytearray(3 << 30)")
    assert not passes("open('big', 'wb').write(bytes(1 << 23))")
    assert passes("import os\nassert 'SECRET' not in os.environ")
    # nothing that it left running goes on
    flag = tmp_path / "alive"
    child = f"import time; time.sleep(1); open({str(flag)!r}, 'w')"
    assert passes(f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])")
    time.sleep(1.5)
    assert not flag.exists()


@pytest.mark.skipif(sys.platform != "linux" or not isolated(), reason="network namespaces are not allowed here")
def test_code_has_no_network() -> None:
    connect = "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)"
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not passes(connect.format(port=server.getsockname()[1]))


def test_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"query": "2+2?", "metric": "numeric", "ground_truth": "4", "task": "sums", "id": 7}\n\n'
        '{"query": "Capital of France?", "choices": ["Paris", "Rome"], "answer": "A"}\n'
        '{"query": "Write f.", "tests": ["assert f() == 1"]}\n'
        '{"query": "Write a poem."}\n',
        encoding="utf-8",
    )
    read = read_questions(path)
    assert [(q.metric, q.truth) for q in read] == [
        ("numeric", ("4",)),
        ("choice", ("A",)),
        ("code", ("assert f() == 1",)),
        ("judge", ()),
    ]
    assert read[0].id == "7"
    assert read[1].prompt.startswith("Capital of France?\nA. Paris\nB. Rome\n")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1"),
        ('{"query": 3}', '"query" must be a text'),
        ('{"query": "a", "metric": "vibes", "answer": "b"}', "exact, f1, numeric, choice, code, judge"),
        ('{"query": "a", "metric": "numeric"}', '"ground_truth" is missing'),
        ('{"query": "a", "answer": "x"}\n{"query": "a", "answer": "y"}', "line 2: the id"),
        ("", "no questions"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(QuestionError, match=says):
        read_questions(path)


def test_folds_are_those_of_the_data() -> None:
    pool = load_pool("routellm")
    some = [i for i in range(0, len(pool.ids), 500) if pool.task[i] == "gsm8k"]
    assert some
    for i in some:
        assert Question("q", pool.queries[i], "t", "exact", ("x",), ()).fold == pool.fold[i]
