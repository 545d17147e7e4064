"""Outcomes gathered through the real gateway, whose built-in sandbox answers."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from typer.testing import CliRunner

from router_model.cli import app
from router_model.data.pools import load_pool

ROOT = Path(__file__).parents[3]
NODE = ROOT / "node_modules" / ".bin" / "node"
KEY = "pr-collect-0123456789abcdef"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    if not NODE.exists():
        pytest.skip("node_modules is not there: npm install")
    port = free_port()
    (tmp_path / "gateway.yaml").write_text(
        f"server: {{ port: {port} }}\nstore: {{ kind: sqlite, path: {tmp_path / 'store.db'} }}\n"
        f"spool: {{ path: {tmp_path / 'spool'} }}\nrouter: {{ artifact: {tmp_path / 'none'}, watch: false }}\n"
        f"providers: {{ sandbox: {{ kind: sandbox, enabled: true }} }}\ntenants: [{{ name: acme, keys: [{KEY}] }}]\n"
    )
    command = [NODE, ROOT / "bin" / "persona-router.mjs", "--config", tmp_path / "gateway.yaml", "serve"]
    log = (tmp_path / "gateway.log").open("w")
    process = subprocess.Popen([*map(str, command)], cwd=tmp_path, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(1200):
            assert process.poll() is None, (tmp_path / "gateway.log").read_text()
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait()
        log.close()


def test_the_real_gateway_is_asked(gateway: str, tmp_path: Path) -> None:
    questions = [
        {"query": f"What is {a} + 3?", "metric": "numeric", "ground_truth": str(a + 3), "task": "sums"}
        for a in range(4)
    ]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    models = "sandbox-terse,sandbox-premium"
    arguments = ["collect", "--queries", str(tmp_path / "questions.jsonl"), "--models", models, "--key", KEY]
    result = CliRunner().invoke(
        app, [*arguments, "--url", gateway, "--out", str(tmp_path / "out"), "--budget-usd", "1"]
    )
    assert result.exit_code == 0, result.output
    assert "8 answers, 0 failed" in " ".join(result.output.split())
    pool = load_pool("out", tmp_path)
    assert pool.names == ("sandbox-terse", "sandbox-premium")
    assert pool.quality.shape == (4, 2)
    assert pool.lengths_known
    terse, premium = pool.cards
    assert terse.input_price is not None
    assert premium.input_price is not None
    assert terse.input_price < premium.input_price
    outcomes = [json.loads(line) for line in (tmp_path / "out" / "journal.jsonl").read_text().splitlines()]
    assert all(outcome["cost_usd"] > 0 for outcome in outcomes)
