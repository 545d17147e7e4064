"""The committed artifact: intact, and sensible about LLMs that no training data holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from near import assert_near

from router_model.data.cards import Card, card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import TOLERANCE, Artifact, largest_error, unpack_tensor, unpack_vector
from router_model.export.onnx import INPUTS, outputs_of
from router_model.train.weights import WEIGHTS_FILE, load_weights

FOLDERS = sorted((Path(__file__).parents[2] / "artifacts").glob("[0-9]*"))

CARDS = (
    Card(
        name="gpt-5",
        vendor="openai",
        description="Frontier reasoning model.",
        input_price=1.25,
        output_price=10.0,
        context_window=400_000,
        reasoning=True,
        tools=True,
        vision=True,
        benchmarks={"mmlu": 0.92, "gpqa": 0.85},
    ),
    Card("claude-opus-4-5", "anthropic", "The most capable model, thorough.", 5.0, 25.0, 200_000, reasoning=True),
    Card("gpt-5-mini", "openai", "A faster, cheaper reasoning model.", 0.25, 2.0, 400_000, reasoning=True, tools=True),
    Card("llama-3.3-70b", "meta", "A large open-weights model.", 0.59, 0.79, 131_072, 70.0, True, False, True),
    Card("gemma-3-4b", "google", "A small open-weights model.", 0.02, 0.04, 131_072, 4.0, True, False),
    Card("llama-3.2-1b", "meta", "A tiny open-weights model.", 0.01, 0.02, 131_072, 1.0, True, False),
)
FRONTIER, TINY = (0, 1), (4, 5)
QUESTIONS = (
    "Prove that the square root of two is irrational.",
    "Write a function that merges two sorted lists.",
    "A train leaves at 3 pm at 80 km/h. When has it gone 200 km?",
    "Plan a week in Japan with two children.",
    "What is the difference between a virus and a bacterium?",
)


class Gateway:
    """The gateway's use of an artifact, for one user."""

    def __init__(self, folder: Path) -> None:
        self.artifact = Artifact(folder)
        dims = self.artifact.manifest.dims
        embedder = StaticEmbedder.load(folder / "embedder")
        self.query = embedder.embed(QUESTIONS)
        cards = {
            "card": card_matrix(
                CARDS,
                self.artifact.manifest.card_features,
                self.artifact.manifest.ability,
                self.artifact.manifest.verbosity,
            ),
            "text": embedder.embed([card.text for card in CARDS]),
            "provider_code": code_matrix([card.vendor for card in CARDS], dims.P, self.artifact.manifest.codes),
            "name_code": code_matrix([card.name for card in CARDS], dims.C, self.artifact.manifest.codes),
            "price": price_matrix(CARDS),
            "evidence": np.zeros((len(CARDS), dims.V), dtype=np.float32),
        }
        self.price = cards["price"]
        self.z = self.artifact.run("llm", cards)["z"]
        self.sums = np.zeros((1, dims.H), dtype=np.float32)

    def rate(self, llm: int, question: int, reward: float, kind: str, tokens: float) -> None:
        cost = (20 * self.price[llm, 0] + tokens * self.price[llm, 1]) * 1e-6
        edge = {
            "query": self.query[question : question + 1],
            "z": self.z[llm : llm + 1],
            "reward": np.array([reward], dtype=np.float32),
            "kind": np.array([self.artifact.manifest.kinds.index(kind)]),
            "weight": np.ones(1, dtype=np.float32),
            "prompt_tokens": np.full(1, 20, dtype=np.float32),
            "completion_tokens": np.full(1, tokens, dtype=np.float32),
            "cost_usd": np.full(1, cost, dtype=np.float32),
        }
        self.sums[:, : self.artifact.manifest.dims.G] += self.artifact.run("edge", edge)["user_message"]

    def scores(self, cost_weight: float = -1.0, anchor: int = 0) -> dict[str, np.ndarray]:
        state = self.artifact.run("user", {"sums": self.sums})["state"]
        rows = len(QUESTIONS)
        return self.artifact.run(
            "score",
            {
                "query": self.query,
                "prompt_tokens": np.full(rows, 20, dtype=np.float32),
                "state": np.repeat(state, rows, 0),
                "z": self.z,
                "cost_weight": np.full(rows, cost_weight, dtype=np.float32),
                "anchor": self.z[anchor : anchor + 1],
            },
        )

    def choices(self) -> np.ndarray:
        """As the gateway chooses without exploring: everybody's favourite is left only for what is surely better."""
        found = self.scores(anchor=int(self.scores()["mean"].mean(0).argmax()))
        chosen: np.ndarray = (found["mean"] - 0.15 * found["apart"]).argmax(1)
        return chosen


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(FOLDERS[-1])


def test_exactly_one_version_is_kept() -> None:
    assert len(FOLDERS) == 1


def test_population_and_embedder_match_the_manifest(gateway: Gateway) -> None:
    folder, manifest = gateway.artifact.folder, gateway.artifact.manifest
    assert set(manifest.aliases) <= set(gateway.artifact.population)
    embedder = StaticEmbedder.load(folder / "embedder")
    assert (embedder.version, embedder.dim) == (manifest.embedder.version, manifest.dims.E)
    for entry in json.loads((folder / "golden.json").read_text())["embed"]:
        assert_near(embedder.embed([entry["text"]])[0], unpack_vector(entry["vector"]))


def test_frontier_is_expected_to_be_better_than_tiny_from_cards_alone(gateway: Gateway) -> None:
    quality = gateway.scores()["quality"]
    assert (quality[:, FRONTIER].min(1) > quality[:, TINY].max(1) + 0.15).all()
    assert (quality[:, 2] > quality[:, TINY].max(1)).all()


def test_cost_weight_spans_best_to_cheapest(gateway: Gateway) -> None:
    assert np.isin(gateway.scores(0.0)["mean"].argmax(1), FRONTIER).all()
    assert np.isin(gateway.scores(1.0)["mean"].argmax(1), TINY).all()


def test_cold_start_is_not_the_dearest_and_seldom_the_tiniest(gateway: Gateway) -> None:
    chosen = gateway.choices()
    assert (chosen != 1).all()
    assert (chosen == 5).mean() <= 0.2


@pytest.mark.parametrize("kind", ["thumb", "rating"])
@pytest.mark.parametrize(("liked", "tokens"), [(TINY, (60.0, 900.0)), (FRONTIER, (60.0, 900.0))])
def test_ten_ratings_send_a_user_to_what_was_liked(
    gateway: Gateway, kind: str, liked: tuple[int, ...], tokens: tuple[float, float]
) -> None:
    short, long = tokens
    for turn in range(10):
        cheap = turn % 2 == 0
        llm = (TINY if cheap else FRONTIER)[turn // 2 % 2]
        reward = 1.0 if llm in liked else -1.0
        gateway.rate(llm, turn % len(QUESTIONS), reward, kind, short if cheap else long)
    chosen = gateway.scores()["mean"].argmax(1)
    assert np.isin(chosen, (*liked, *((2,) if liked == FRONTIER else ()))).mean() > 0.8


def test_ratings_make_the_belief_surer(gateway: Gateway) -> None:
    before = gateway.scores()["std"]
    for turn in range(12):
        gateway.rate(turn % len(CARDS), turn % len(QUESTIONS), 0.5, "rating", 200.0)
    assert (gateway.scores()["std"] < before).all()


@pytest.mark.parametrize("graph", list(INPUTS))
def test_the_network_of_today_computes_what_the_committed_graphs_do(gateway: Gateway, graph: str) -> None:
    """Weights of an artifact still load, and mean the same."""
    folder = gateway.artifact.folder
    router = load_weights(folder / WEIGHTS_FILE)
    for case in json.loads((folder / "golden.json").read_text())["graphs"][graph]:
        inputs = {name: torch.from_numpy(unpack_tensor(entry)) for name, entry in case["inputs"].items()}
        for name, found in outputs_of(router, graph, inputs).items():
            assert largest_error(found.numpy(), unpack_tensor(case["outputs"][name])) <= TOLERANCE, name


def test_what_rounding_left_of_nothing_may_be_rounded_otherwise() -> None:
    """Twenty billionths, as the silent tell of their tenant, are other ones on another CPU."""
    nothing = np.array([2e-8, -3e-11], dtype=np.float32)
    assert largest_error(np.array([1.9e-8, 4e-10]), nothing) <= TOLERANCE
    assert largest_error(np.array([2e-8, 1e-5]), nothing) > TOLERANCE
    assert largest_error(np.array([3.001, 0.01]), np.array([3, 0.01])) > TOLERANCE
    assert not largest_error(np.array([np.nan, 0]), nothing) <= TOLERANCE
