"""PersonalizedRouter's networks as four graphs: messages add up, can be taken back, and tell of people and LLMs that
training never saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from near import assert_near
from tiny import SIZES, tiny_router
from torch import Tensor

from router_model.data.cards import Card
from router_model.data.pools import Pool
from router_model.data.simulation import History
from router_model.export.artifact import TOLERANCE, Artifact, EmbedderEntry, largest_error
from router_model.export.onnx import INPUTS, export_graph, outputs_of, write_artifact
from router_model.kinds import KINDS, OUTCOME, RATING
from router_model.personalized.learn import LearnConfig, World, card_inputs, evidence_of_outcomes, learn, world_of
from router_model.personalized.network import PARTS, NetworkSizes, PersonalizedRouter
from router_model.personalized.write import as_exported, dims_of, load_networks, made_up
from router_model.priors.prior import CARD_FEATURES
from router_model.train.weights import WeightsError

SMALL = NetworkSizes(hidden=12, networks=2)
CHEAP, GOOD = 0, 3


@pytest.fixture(scope="module")
def untrained() -> PersonalizedRouter:
    torch.manual_seed(0)
    return PersonalizedRouter(tiny_router().encoder, SMALL).eval()


def edges(router: PersonalizedRouter, count: int, seed: int = 0) -> dict[str, Tensor]:
    made = made_up(router, "edge", {"N": count}, seed)
    return {**made, "kind": torch.full((count,), RATING), "weight": torch.ones(count)}


def test_order_of_history_does_not_matter(untrained: PersonalizedRouter) -> None:
    with torch.no_grad():
        messages, _ = untrained.edge(**edges(untrained, 30))
        forwards = untrained.user(messages.sum(0, keepdim=True))
        assert_near(untrained.user(messages[torch.randperm(30)].sum(0, keepdim=True)), forwards)


def test_a_rating_that_is_taken_back_leaves_no_trace(untrained: PersonalizedRouter) -> None:
    made = edges(untrained, 6)
    with torch.no_grad():
        to_user, to_llm = untrained.edge(**made)
        again, _ = untrained.edge(**made)
        assert torch.equal(again, to_user)
        assert_near(untrained.user((to_user.sum(0) - to_user[2]).unsqueeze(0)), untrained.user(
            torch.cat([to_user[:2], to_user[3:]]).sum(0, keepdim=True)))  # fmt: skip
    assert to_user.shape == (6, untrained.message)
    assert to_llm.shape == (6, 2 * untrained.message)


def test_what_an_llm_is_told_does_not_depend_on_what_it_was_told_before(untrained: PersonalizedRouter) -> None:
    """Or it could not be taken back once others had spoken."""
    cards = {k: v for k, v in made_up(untrained, "llm", {"M": 4}, 3).items() if k != "evidence"}
    made = {**edges(untrained, 4), "kind": torch.full((4,), OUTCOME)}
    told = []
    with torch.no_grad():
        for evidence in (torch.zeros(4, 2 * untrained.message), made_up(untrained, "llm", {"M": 4}, 3)["evidence"]):
            z = untrained.llm(**cards, evidence=evidence)
            told.append(untrained.edge(**{**made, "z": z})[1])
    assert torch.equal(told[0], told[1])
    assert told[0].abs().sum() > 0


def test_no_history_is_a_new_user_and_weight_zero_says_nothing(untrained: PersonalizedRouter) -> None:
    made = edges(untrained, len(KINDS))
    made["kind"] = torch.arange(len(KINDS))
    with torch.no_grad():
        to_user, to_llm = untrained.edge(**{**made, "weight": torch.zeros(len(KINDS))})
        spoken, _ = untrained.edge(**made)
    assert not to_user.any()
    assert not to_llm.any()
    assert not spoken[OUTCOME].any(), "an outcome says nothing of a user's taste"
    assert (spoken[:, -1][torch.arange(len(KINDS)) != OUTCOME] > 0).all()


def test_parts_add_up_and_the_anchor_is_not_apart_from_itself(untrained: PersonalizedRouter) -> None:
    made = made_up(untrained, "score", {"B": 4, "M": 5}, 1)
    made["anchor"] = made["z"][2:3]
    with torch.no_grad():
        mean, std, parts, quality, tokens, apart, _ = untrained.score(**made)
    assert_near(parts.sum(-1), mean)
    given, learned = made["cost_weight"] >= 0, made["cost_weight"] < 0
    assert not parts[learned][..., PARTS.index("quality") :].any()
    assert not parts[given][..., : PARTS.index("quality")].any()
    assert (apart[:, 2] < 1e-4).all()
    assert (std > 0).all()
    assert ((quality > 0) & (quality < 1)).all()
    assert (tokens >= 1).all()


@pytest.mark.parametrize("graph", list(INPUTS))
def test_onnx_runtime_gives_what_pytorch_gives(untrained: PersonalizedRouter, graph: str, tmp_path: Path) -> None:
    network = as_exported(untrained)
    export_graph(network, graph, tmp_path / "graph.onnx")
    session = ort.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    for lengths in ({"B": 1, "M": 1, "N": 1}, {"B": 2, "M": 9, "N": 33}):
        inputs = made_up(untrained, graph, lengths, 7)
        expected = outputs_of(network, graph, inputs)
        found = session.run(list(expected), {name: value.numpy() for name, value in inputs.items()})
        for name, value in zip(expected, found, strict=True):
            assert largest_error(value, expected[name].numpy()) <= TOLERANCE, name


def test_written_artifact_is_accepted_and_its_weights_load(untrained: PersonalizedRouter, tmp_path: Path) -> None:
    (tmp_path / "embedder").mkdir()
    (tmp_path / "embedder" / "vectors.bin").write_bytes(b"\0" * 8)
    write_artifact(
        tmp_path / "rival",
        as_exported(untrained),
        version="rival",
        embedder=tmp_path / "embedder",
        embedder_entry=EmbedderEntry(kind="static", version="e1", dim=SIZES.query, files=("embedder/vectors.bin",)),
        golden_texts={"a": np.ones(SIZES.query, dtype=np.float32)},
        card_features=CARD_FEATURES,
        population={"some-llm": np.zeros(2 * untrained.message, dtype=np.float32)},
        aliases={},
        trained_on=[],
        forget=1.0,
        metrics={},
        model_card="# Card\n",
    )
    manifest = Artifact(tmp_path / "rival").manifest
    assert manifest.dims == dims_of(untrained)
    assert manifest.reader
    loaded = load_networks(tmp_path / "rival" / "personalized-router.safetensors")
    made = made_up(untrained, "score", {"B": 2, "M": 3}, 5)
    with torch.no_grad():
        assert torch.equal(loaded.score(**made)[0], untrained.score(**made)[0])
    with pytest.raises(WeightsError, match="no such file"):
        load_networks(tmp_path / "none")


@dataclass(frozen=True)
class Taught:
    router: PersonalizedRouter
    world: World
    pool: Pool
    z: Tensor


@pytest.fixture(scope="module")
def taught() -> Taught:
    """Two kinds of people: one likes cheap answers, the other good ones; a new LLM looks like the good one."""
    rng = np.random.default_rng(0)
    questions, people, requests = 60, 60, 30
    cards = tuple(
        Card(f"m{i}", "maker", "An LLM.", 0.1 * 10**i**0.5, 0.4 * 10**i**0.5, benchmarks={"mmlu": 0.5 + 0.1 * i})
        for i in range(4)
    )
    query = rng.standard_normal((questions, SIZES.query)).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    quality = (rng.random((questions, 4)) < 0.4 + 0.15 * np.arange(4)).astype(np.float32)
    pool = Pool(
        "made up", cards, tuple(map(str, range(questions))), ("?",) * questions, np.array(["t"] * questions),
        np.zeros(questions, np.int64), quality, np.full((questions, 4), 100, np.float32),
        np.full(questions, 50, np.float32),
    )  # fmt: skip
    asked, llm = rng.integers(questions, size=(people, requests)), rng.integers(4, size=(people, requests))
    thrifty = (np.arange(people) % 2 == 0)[:, None]
    utility = np.where(thrifty, 0.5 - 0.4 * llm, -0.7 + 0.4 * llm)
    history = History(
        np.arange(people), asked, llm, utility.astype(np.float32), np.ones((people, requests), np.bool_), "dense",
        pool.cost_usd()[asked, llm], np.full((people, requests), 100, np.float32),
        np.full((people, requests), 0.25, np.float32),
    )  # fmt: skip
    torch.manual_seed(0)
    router = PersonalizedRouter(tiny_router().encoder, SMALL)
    world = world_of(router, pool, query, embed, np.arange(questions), [history])
    learn(router, [world], LearnConfig(steps=250, users=24, targets=8), seed=0)
    with torch.no_grad():
        z = router.llm(**world.cards, evidence=evidence_of_outcomes(router, world, world.train))
    return Taught(router, world, pool, z)


def embed(texts: object) -> np.ndarray:
    return np.ones((len(texts), SIZES.query), np.float32) / SIZES.query**0.5  # type: ignore[arg-type]


def means(taught: Taught, state: Tensor, z: Tensor) -> Tensor:
    """Mean over some questions [M]."""
    query = torch.nn.functional.normalize(torch.randn(20, SIZES.query, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        found = taught.router.score(
            query, torch.full((20,), 50.0), state.expand(20, -1), z, torch.full((20,), -1.0), z[:1]
        )
    return found[0].mean(0)


def rated(taught: Taught, thrifty: bool, ratings: int) -> Tensor:
    """State of a new user after some ratings."""
    llm = torch.arange(ratings) % 4
    reward = torch.where(torch.tensor(thrifty), 0.5 - 0.4 * llm, -0.7 + 0.4 * llm)
    with torch.no_grad():
        messages, _ = taught.router.edge(
            taught.world.reading[:ratings], taught.z[llm], reward, torch.full((ratings,), RATING),
            torch.ones(ratings), torch.full((ratings,), 50.0), torch.full((ratings,), 100.0),
            torch.as_tensor(taught.pool.cost_usd()[np.arange(ratings), llm.numpy()]),
        )  # fmt: skip
        return taught.router.user(messages.sum(0, keepdim=True))


def test_a_few_ratings_make_a_new_user_a_known_one(taught: Taught) -> None:
    assert means(taught, rated(taught, True, 4), taught.z).argmax() == CHEAP
    assert means(taught, rated(taught, False, 4), taught.z).argmax() == GOOD


def test_an_llm_that_training_never_saw_is_read_by_its_card(taught: Taught) -> None:
    alike = Card("new", "maker", "An LLM.", 0.1 * 10**3**0.5, 0.4 * 10**3**0.5, benchmarks={"mmlu": 0.79})
    cards = card_inputs(taught.router, [alike, taught.pool.cards[CHEAP]], embed)
    with torch.no_grad():
        z = taught.router.llm(**cards, evidence=torch.zeros(2, 2 * taught.router.message))
    assert means(taught, rated(taught, False, 4), z).argmax() == 0
    assert means(taught, rated(taught, True, 4), z).argmax() == 1
