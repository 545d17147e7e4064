from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from near import assert_near
from tiny import SIZES, edges, tiny_router

from router_model.export.artifact import TOLERANCE, Artifact, ArtifactError, EmbedderEntry, largest_error
from router_model.export.onnx import INPUTS, export_graph, outputs_of, realistic, write_artifact
from router_model.linalg import eliminate
from router_model.network import Router
from router_model.priors.prior import CARD_FEATURES


@pytest.fixture(scope="module")
def router() -> Router:
    return tiny_router()


@pytest.fixture(scope="module")
def graphs(router: Router, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ort.InferenceSession]:
    folder = tmp_path_factory.mktemp("graphs")
    for graph in INPUTS:
        export_graph(router, graph, folder / f"{graph}.onnx")
    return {
        graph: ort.InferenceSession(folder / f"{graph}.onnx", providers=["CPUExecutionProvider"]) for graph in INPUTS
    }


@pytest.mark.parametrize("graph", list(INPUTS))
@pytest.mark.parametrize("lengths", [{"B": 1, "M": 1, "N": 1}, {"B": 5, "M": 1, "N": 2}, {"B": 2, "M": 9, "N": 33}])
def test_onnx_runtime_gives_what_pytorch_gives(
    router: Router, graphs: dict[str, ort.InferenceSession], graph: str, lengths: dict[str, int]
) -> None:
    inputs = realistic(router, graph, lengths, 7)  # the first user and the first LLM have no history
    expected = outputs_of(router, graph, inputs)
    found = graphs[graph].run(list(expected), {name: value.numpy() for name, value in inputs.items()})
    for name, value in zip(expected, found, strict=True):
        assert largest_error(value, expected[name].numpy()) <= TOLERANCE, name


def test_a_row_is_the_same_alone_and_in_a_batch(router: Router, graphs: dict[str, ort.InferenceSession]) -> None:
    sums = realistic(router, "user", {"B": 4}, 3)["sums"].numpy()
    together = graphs["user"].run(None, {"sums": sums})[0]
    for row in range(4):
        assert_near(graphs["user"].run(None, {"sums": sums[row : row + 1]})[0][0], together[row])


def test_a_long_history_loses_no_digits(router: Router, graphs: dict[str, ort.InferenceSession]) -> None:
    messages, _ = router.edge(**edges(router, 2000))
    sums = torch.cat([5 * part.sum(0, keepdim=True) for part in messages.detach().chunk(SIZES.blocks)], -1)
    found = graphs["user"].run(None, {"sums": sums.numpy()})[0]
    assert_near(found, router.user(sums))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 35, 60])
def test_elimination_is_the_inverse(size: int) -> None:
    root = torch.randn(3, size, size, dtype=torch.double, generator=torch.Generator().manual_seed(size))
    matrix = root @ root.transpose(-1, -2) + torch.eye(size)
    inverse, logdet = eliminate(matrix)
    assert_near(inverse, torch.linalg.inv(matrix), 1e-10)
    assert_near(logdet, torch.logdet(matrix), 1e-10)


@pytest.fixture(scope="module")
def artifact(router: Router, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("artifact")
    (root / "embedder").mkdir()
    (root / "embedder" / "vectors.bin").write_bytes(b"\0" * 8)
    write_artifact(
        root / "v1",
        router,
        version="v1",
        embedder=root / "embedder",
        embedder_entry=EmbedderEntry(kind="static", version="e1", dim=SIZES.query, files=("embedder/vectors.bin",)),
        golden_texts={"a": np.ones(SIZES.query, dtype=np.float32)},
        card_features=CARD_FEATURES,
        population={"some-llm": np.zeros(SIZES.llm_message, dtype=np.float32)},
        aliases={"some-llm": ["other name"]},
        trained_on=[],
        forget=1.0,
        metrics={},
        model_card="# Card\n",
    )
    return root / "v1"


def test_written_artifact_is_accepted(artifact: Path) -> None:
    assert SIZES.user_message == Artifact(artifact).manifest.dims.G


def copied(artifact: Path, target: Path) -> Path:
    for path in artifact.rglob("*"):
        if path.is_file():
            (target / path.relative_to(artifact)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(artifact)).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("name", ["score.onnx", "population.json", "embedder/vectors.bin"])
def test_changed_file_is_refused(artifact: Path, tmp_path: Path, name: str) -> None:
    folder = copied(artifact, tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=name.rsplit("/", 1)[-1]):
        Artifact(folder)


def test_missing_and_foreign_files_are_refused(artifact: Path, tmp_path: Path) -> None:
    folder = copied(artifact, tmp_path)
    (folder / "stranger.bin").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"stranger\.bin"):
        Artifact(folder)
    (folder / "stranger.bin").unlink()
    (folder / "user.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"user\.onnx"):
        Artifact(folder)


def test_manifest_of_another_schema_is_refused(artifact: Path, tmp_path: Path) -> None:
    folder = copied(artifact, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": "persona-router/artifact/2"}))
    with pytest.raises(ArtifactError, match="schema"):
        Artifact(folder)


def test_wrong_golden_outputs_are_refused(artifact: Path, tmp_path: Path) -> None:
    from router_model.export.artifact import digest, pack_tensor, unpack_tensor

    folder = copied(artifact, tmp_path)
    golden = json.loads((folder / "golden.json").read_text())
    outputs = golden["graphs"]["score"][0]["outputs"]
    outputs["mean"] = pack_tensor(unpack_tensor(outputs["mean"]) + np.float32(0.01))
    (folder / "golden.json").write_text(json.dumps(golden))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["golden.json"] = digest(folder / "golden.json").model_dump()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="mean"):
        Artifact(folder)


def test_an_error_is_a_share_of_the_largest_value_of_an_output() -> None:
    expected = np.array([[1e-3, 500.0], [1e-3, 0.5]], dtype=np.float32)
    nothing = np.zeros((1, 2), dtype=np.float32)
    assert largest_error(expected, expected) == largest_error(nothing, nothing) == 0
    assert largest_error(expected + np.array([[0.01, 0], [0, 0]]), expected) == pytest.approx(2e-5, rel=1e-3)
    assert largest_error(expected[1:] + np.array([[5e-5, 0]]), expected[1:]) == pytest.approx(1e-4, rel=1e-3)
    assert not largest_error(expected * np.float32(np.nan), expected) <= TOLERANCE
    assert largest_error(expected[:1], expected) == float("inf")
