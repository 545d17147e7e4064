"""The order of LLMs by their cards, set by set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from personabench.card_order import long_replies, one_effort_each
from personabench.cli import app
from router_model.data.pools import sparse_pool

MODELS = {"gpt-5": 0.9, "gpt-4.1": 0.7, "gpt-4o": 0.6, "gpt-4o-mini": 0.4, "llama-3.1-8b": 0.2, "gemma-2-2b": 0.1}


def write(folder: Path, rows: list[dict], **more: float | str) -> None:
    folder.mkdir(parents=True)
    llms = [
        {"name": name, "model": name, "vendor": "x", "input_price": 1.0, "output_price": 2.0}
        | {key: share if value is True else value for key, value in more.items()}
        for name, share in MODELS.items()
    ]
    (folder / "llms.json").write_text(json.dumps(llms))
    with gzip.open(folder / "queries.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"fold": 8, "scores": {}, **row}) + "\n" for row in rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    asked = lambda: {name: float(rng.random() < share) for name, share in MODELS.items()}  # noqa: E731
    questions = [{"id": str(i), "task": "any", "query": f"{i} plus {i}?", "scores": asked()} for i in range(60)]
    write(root / "bfcl", questions)
    texts = [{"id": str(i), "task": "hard_prompt", "subtask": "coding", "query": f"Sort {i}."} for i in range(6)]
    write(root / "arena_hard_v2", texts, win_hard=True)
    write(root / "swebench_pro", [], mean_score=True)
    why = [{"id": "1", "task": "t", "query": "Why?"}]
    write(root / "bullshit_v2", why, pushback_rate=True, mean_completion_tokens=9, effort="none")
    figure = lambda value: [{"value": value, "source": "epoch-research/benchmark-stitching@1", "as": "x"}]  # noqa: E731
    fields = ("gpqa", "swe_bench_verified", "arena_text")
    models = {name: {"vendor": "x", "figures": {f: figure(share) for f in fields}} for name, share in MODELS.items()}
    (root / "abilities.json").write_text(json.dumps(models))
    return root


def test_each_set_whose_data_is_there_has_its_row(data: Path, tmp_path: Path, artifact: Path) -> None:
    out = tmp_path / "order.json"
    done = CliRunner().invoke(
        app, ["order", "--artifact", str(artifact), "--data", str(data), "--out", str(out)], env={"COLUMNS": "300"}
    )
    assert done.exit_code == 0, done.output
    rows = {row["data"]: row for row in json.loads(out.read_text())[0]["sets"]}
    assert set(rows) == {"bfcl", "arena_hard_v2, hard", "swebench_pro", "bullshit_v2, pushback"}
    assert rows["bfcl"]["spearman"] > 0.9
    assert rows["bfcl"]["pairs"] > 0.6
    assert rows["bfcl"]["best"] >= rows["bfcl"]["chosen"] > rows["bfcl"]["random"]
    # figures of a benchmark's own kind are those of its source, which leave an order that is as good
    assert rows["swebench_pro"]["without_its_kind"] > 0.9
    assert rows["arena_hard_v2, hard"]["queries"] == 6
    assert "mean rho" in done.output


def test_settings_of_one_model_count_once_by_their_highest_effort() -> None:
    names = ["a-low", "b", "a-high", "a-medium", "c-none-such", "d-minimal"]
    assert one_effort_each(names) == [1, 2, 4, 5]


def test_a_task_counts_as_one_of_long_replies_by_its_median(tmp_path: Path) -> None:
    row = lambda task, tokens: {  # noqa: E731
        "task": task, "query": "q", "scores": {"gpt-5": 1.0}, "completion_tokens": {"gpt-5": tokens}
    }  # fmt: skip
    write(tmp_path / "zoonk", [row("long", 900), row("long", 20), row("long", 500), row("short", 30)])
    assert list(long_replies(sparse_pool("zoonk", tmp_path))) == [0, 1, 2]
