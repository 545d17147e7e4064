"""What tools say of a query, learned for the committed artifact's reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from router_model.data.pools import load_pool, sparse_pool
from router_model.data.tools import tool_share
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Artifact, read_manifest, unpack_vector
from router_model.places import find_artifact
from router_model.train.tools import fit_tools
from router_model.train.tools_table import lines_of, tools_table
from router_model.train.train import TrainConfig, task_groups
from router_model.train.weights import WEIGHTS_FILE, load_weights

ROOT = Path(__file__).parents[2]
AGENT = "Now fix the failing test."
MATHS = "A farmer has 17 sheep and buys 3 pens of 12 sheep each. How many sheep does the farmer have in all?"


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return TrainConfig.load(ROOT / "configs" / "small.yaml")


def test_an_agents_short_message_is_told_by_its_tools_and_a_sum_stays_a_sum(config: TrainConfig) -> None:
    folder = find_artifact("current")
    encoder, embedder = load_weights(folder / WEIGHTS_FILE).encoder.eval(), StaticEmbedder.load(config.embedder)
    tasks, _ = task_groups(config)
    pools = {"mcpmark_texts": sparse_pool("mcpmark_texts", config.data), "zeroeval": load_pool("zeroeval", config.data)}
    before = [p.clone() for p in encoder.parameters()]
    learned = fit_tools(encoder, pools, embedder, tasks, ("agentic",), [0, 1, 2], 0)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
    committed = read_manifest(folder).tools
    assert learned is not None
    assert committed is not None

    def chance(text: str, tools: int, vector: np.ndarray, task: str) -> float:
        query = embedder.embed([text]) + tool_share([tools])[:, None] * vector
        with torch.no_grad():
            logits, _ = encoder.read(torch.as_tensor(query))
        return float(torch.softmax(logits, -1)[0, tasks.index(task)])

    for vector in (learned, unpack_vector(committed)):
        assert chance(AGENT, 0, vector, "agentic") < 0.2
        assert chance(AGENT, 20, vector, "agentic") > 0.8
        assert chance(MATHS, 1, vector, "gsm8k") > 0.9
        assert chance(MATHS, 1, vector, "agentic") < 0.05


def test_without_agents_tasks_tools_say_nothing(config: TrainConfig) -> None:
    embedder = StaticEmbedder.load(config.embedder)
    pools = {"zeroeval": load_pool("zeroeval", config.data)}
    encoder = load_weights(find_artifact("current") / WEIGHTS_FILE).encoder
    assert fit_tools(encoder, pools, embedder, task_groups(config)[0], ("agentic",), [0], 0) is None


def test_the_table_tells_what_the_committed_vector_does(config: TrainConfig) -> None:
    folder = find_artifact("current")
    embedder = StaticEmbedder.load(config.embedder)
    pools = {"mcpmark_texts": sparse_pool("mcpmark_texts", config.data), "zeroeval": load_pool("zeroeval", config.data)}
    tasks = task_groups(config)[0]
    table = tools_table(Artifact(folder), load_weights(folder / WEIGHTS_FILE), pools, embedder, tasks, config.agents)
    assert [row.tools for row in table] == [0, 1, 4, 10]
    without, *_, most = table
    assert without.agents < 0.5 < 0.9 < most.agents
    assert without.others < 0.01 < most.others < 0.2
    assert without.task < most.task
    assert list(most.quality) == ["zeroeval"], "of agents' texts there are no outcomes"
    assert without.quality["zeroeval"] == pytest.approx(0.468, abs=0.001)  # as docs/embedding.md says
    assert lines_of(table)[2].startswith("| 0 | ")
