"""Writes a router as an artifact: four ONNX graphs, embedder, golden vectors, population, model card, manifest."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from router_model.data.ability import AbilitySpec, VerbositySpec
from router_model.data.codes import Codes
from router_model.export.artifact import (
    SCHEMA,
    Artifact,
    CardFeature,
    Dims,
    EmbedderEntry,
    Forget,
    Manifest,
    Source,
    files_of,
    pack,
    pack_tensor,
)
from router_model.export.fold import FoldedScore
from router_model.export.fold_edge import FoldedEdge
from router_model.export.fold_user import FoldedUser
from router_model.export.reader import reader_of
from router_model.kinds import KINDS
from router_model.network import PARTS, PEOPLE, TASTES, Router, Sizes
from router_model.priors.user import starts_of
from router_model.train.weights import WEIGHTS_FILE, save_weights

OPSET = 20

INPUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "llm": {
        "card": ("M", "F"),
        "text": ("M", "E"),
        "provider_code": ("M", "P"),
        "name_code": ("M", "C"),
        "price": ("M", "2"),
        "evidence": ("M", "V"),
    },
    "edge": {
        "reading": ("N", "Q"),
        "z": ("N", "Z"),
        "reward": ("N",),
        "kind": ("N",),
        "weight": ("N",),
        "prompt_tokens": ("N",),
        "completion_tokens": ("N",),
        "cost_usd": ("N",),
        "share": ("U", "A"),
    },
    "user": {"sums": ("B", "H"), "tenant": ("B", "Y")},
    "score": {
        "query": ("B", "E"),
        "prompt_tokens": ("B",),
        "state": ("B", "S"),
        "z": ("M", "Z"),
        "cost_weight": ("B",),
        "anchor": ("1", "Z"),
    },
}
OUTPUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "llm": {"z": ("M", "Z")},
    "edge": {"user_message": ("U", "G"), "llm_message": ("U", "V")},
    "user": {
        "state": ("B", "S"),
        "taste": ("B", "D"),
        "taste_covariance": ("B", "D", "D"),
        "since": ("B", "W"),
        "people": ("B", "J"),
        "tenant_message": ("B", "Y"),
    },
    "score": {
        "mean": ("B", "M"),
        "std": ("B", "M"),
        "parts": ("B", "M", "R"),
        "quality": ("B", "M"),
        "completion_tokens": ("B", "M"),
        "apart": ("B", "M"),
        "reading": ("B", "Q"),
    },
}


Graph = Callable[..., Tensor | tuple[Tensor, ...]]
MakeInputs = Callable[[str, Mapping[str, int], int], dict[str, Tensor]]

# Methods of the router that are called otherwise than their graphs.
METHODS = {"user": "described"}


@dataclass(frozen=True)
class Exported:
    """A network as an artifact wants it: whatever has these four graphs can be served."""

    module: nn.Module
    graphs: Mapping[str, Graph]
    """Methods by graph."""
    dims: Dims
    outputs: Mapping[str, tuple[str, ...]]
    """Names by graph."""
    parts: tuple[str, ...]
    reader: str
    """See `reader_of`."""
    made_up: MakeInputs
    """Plausible inputs of a graph, for so many rows, by seed."""
    save: Callable[[Path], None]
    """Writes the weights into a folder."""
    block: int = 1
    """Rewards to a block of a user's sums."""
    tastes: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    starts: dict[str, dict[str, float]] | None = None
    folded: Mapping[str, Graph] = field(default_factory=dict)
    """The same graphs in fewer operators, to be exported."""


def exported(router: Router) -> Exported:
    """The graph router's four graphs."""
    return Exported(
        module=router,
        graphs={graph: getattr(router, METHODS.get(graph, graph)) for graph in INPUTS},
        dims=dims_of(router.sizes),
        outputs={graph: tuple(results_of(graph, router.sizes)) for graph in OUTPUTS},
        people=PEOPLE[: 1 + router.sizes.people] if router.sizes.people else (),
        parts=PARTS,
        reader=reader_of(router),
        made_up=lambda graph, lengths, seed: realistic(router, graph, lengths, seed),
        save=lambda folder: save_weights(folder / WEIGHTS_FILE, router),
        block=router.sizes.block_rewards,
        tastes=TASTES,
        starts=starts_of(router.user_node),
        folded={"edge": FoldedEdge(router), "user": FoldedUser(router), "score": FoldedScore(router)},
    )


class _Graph(nn.Module):
    """One graph as a module, because the exporter wants one."""

    def __init__(self, network: Exported, name: str) -> None:
        super().__init__()
        self.module = network.module
        self.method = network.folded.get(name, network.graphs[name])

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.method(*inputs)


def dims_of(sizes: Sizes) -> Dims:
    """The manifest's sizes."""
    return Dims(
        E=sizes.query,
        Q=sizes.reading,
        F=sizes.card,
        P=sizes.provider_code,
        C=sizes.name_code,
        Z=sizes.z,
        V=sizes.llm_message,
        G=sizes.user_message,
        H=sizes.user_sums,
        W=sizes.blocks,
        S=sizes.state,
        D=sizes.directions,
        R=len(PARTS),
        J=sizes.people + 1 if sizes.people else 0,
        Y=sizes.tenants,
    )


def inputs_of(graph: str, sizes: Sizes | Dims) -> dict[str, tuple[str, ...]]:
    """`INPUTS` of a graph, less those that these sizes leave nothing of."""
    return _some_of(INPUTS[graph], sizes)


def results_of(graph: str, sizes: Sizes | Dims) -> dict[str, tuple[str, ...]]:
    """`OUTPUTS` of a graph, less those that these sizes leave nothing of."""
    return _some_of(OUTPUTS[graph], sizes)


def _some_of(named: dict[str, tuple[str, ...]], sizes: Sizes | Dims) -> dict[str, tuple[str, ...]]:
    dims = (sizes if isinstance(sizes, Dims) else dims_of(sizes)).model_dump()
    return {name: axes for name, axes in named.items() if all(dims.get(letter) != 0 for letter in axes)}


def example(graph: str, sizes: Sizes | Dims, lengths: Mapping[str, int], seed: int = 0) -> dict[str, Tensor]:
    """Plausible inputs of a graph, with `lengths` for the dynamic axes. User sums and states come from real
    messages."""
    generator = torch.Generator().manual_seed(seed)
    dims = sizes if isinstance(sizes, Dims) else dims_of(sizes)
    each = {"U": lengths.get("N", 1), "A": 1}
    named = {**dims.model_dump(), "1": 1, "2": 2, **each, **lengths}

    def shape(name: str) -> list[int]:
        return [named[letter] for letter in INPUTS[graph][name]]

    def normal(name: str) -> Tensor:
        return torch.randn(shape(name), generator=generator)

    def uniform(name: str, low: float, high: float) -> Tensor:
        return torch.rand(shape(name), generator=generator) * (high - low) + low

    made: dict[str, Tensor] = {}
    for name in inputs_of(graph, sizes):
        if name in ("query", "text"):
            made[name] = torch.nn.functional.normalize(normal(name), dim=-1)
        elif name.endswith("_code"):
            made[name] = torch.sign(normal(name)) / shape(name)[-1] ** 0.5
        elif name == "kind":
            made[name] = torch.randint(0, len(KINDS), shape(name), generator=generator)
        elif name == "reward":
            made[name] = uniform(name, -1.3, 1.3).clamp(-1, 1)  # some at the end of the scale
        elif name == "price":
            made[name] = torch.exp(normal(name))
        elif name == "share":
            made[name] = torch.ones(shape(name))
        elif name in ("weight", "cost_usd"):
            made[name] = uniform(name, 0, 1) * (1.0 if name == "weight" else 0.01)
        elif name.endswith("_tokens"):
            made[name] = torch.floor(uniform(name, 1, 900))
        elif name == "cost_weight":
            made[name] = torch.where(torch.arange(shape(name)[0]) % 2 == 0, -1.0, 0.3)
        else:
            made[name] = normal(name)
    return made


def realistic(router: Router, graph: str, lengths: Mapping[str, int], seed: int) -> dict[str, Tensor]:
    """`example` with z, sums, evidence and states that the router itself made."""
    sizes = router.sizes
    made = example(graph, sizes, lengths, seed)
    with torch.no_grad():
        if "reading" in made:
            asked = example("score", sizes, {"B": lengths["N"], "M": 1}, seed)
            made["reading"] = router.encoder.reading(asked["query"])
        if "z" in made:
            cards = example("llm", sizes, {"M": made["z"].shape[0]}, seed)
            cards["evidence"] = torch.zeros_like(cards["evidence"])
            made["z"] = router.llm(**cards)
            if "anchor" in made:
                made["anchor"] = made["z"][:1] * 0.9
        if graph == "llm":
            made["evidence"] = torch.stack([_history(router, i * 3, seed + i)[1] for i in range(lengths["M"])])
        if graph == "user":
            made["sums"] = torch.stack([_user_sums(router, i * 20, seed + i) for i in range(lengths["B"])])
        if graph == "score":
            sums = torch.stack([_user_sums(router, i * 20, seed + i) for i in range(lengths["B"])])
            made["state"] = router.user(sums)
    return made


def _history(router: Router, edges: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sums of the messages of `edges` made-up rewards, to the user [G] and to the LLM [V]."""
    if edges == 0:
        return torch.zeros(router.sizes.user_message), torch.zeros(router.sizes.llm_message)
    user, llm = router.edge(**realistic(router, "edge", {"N": edges}, seed))
    return user.sum(0), llm.sum(0)


def _user_sums(router: Router, edges: int, seed: int) -> Tensor:
    """Sums [H] of so many rewards' messages, alike in all blocks."""
    return torch.cat([_history(router, edges // router.sizes.blocks, seed + i)[0] for i in range(router.sizes.blocks)])


def export_graph(network: Router | Exported, graph: str, path: Path) -> None:
    """Writes one ONNX graph with the contract's names and dynamic axes."""
    network = exported(network) if isinstance(network, Router) else network
    letters = {"B": 2, "M": 3, "N": 6, "U": 2, "A": 3}
    made = network.made_up(graph, letters, 0)
    # Which axes are one and the same is found out: N = U A.
    free = {letter: Dim.AUTO if "share" in made else Dim(letter, min=1) for letter in letters}
    axes = tuple({i: free[x] for i, x in enumerate(INPUTS[graph][name]) if x in free} for name in made)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Graph(network, graph).eval(),
            tuple(made.values()),
            dynamo=True,
            dynamic_shapes=(axes,),
            opset_version=OPSET,
            input_names=list(made),
            output_names=list(network.outputs[graph]),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        letters_of = {**INPUTS[graph], **OUTPUTS[graph]}[value.name]
        for axis, letter in zip(value.type.tensor_type.shape.dim, letters_of, strict=True):
            if letter in letters:
                axis.dim_param = letter
    for node in proto.graph.node:  # where each node came from in our sources: three quarters of the file
        del node.metadata_props[:]
        node.doc_string = ""
    path.write_bytes(proto.SerializeToString())


def outputs_of(network: Router | Exported, graph: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of a graph by name, computed by PyTorch."""
    network = exported(network) if isinstance(network, Router) else network
    with torch.no_grad():
        found = network.graphs[graph](**inputs)
    values = found if isinstance(found, tuple) else (found,)
    return dict(zip(network.outputs[graph], values, strict=True))


def golden_cases(network: Exported) -> dict[str, list[dict[str, object]]]:
    """A few cases of each graph: one row, several rows, no history, one candidate."""
    lengths = [{"B": 1, "M": 1, "N": 1}, {"B": 3, "M": 5, "N": 4, "U": 2, "A": 2}]
    cases: dict[str, list[dict[str, object]]] = {}
    for graph in INPUTS:
        cases[graph] = []
        for seed, sizes in enumerate(lengths):
            inputs = network.made_up(graph, sizes, seed)
            outputs = outputs_of(network, graph, inputs)
            cases[graph].append(
                {
                    "inputs": {name: pack_tensor(value.numpy()) for name, value in inputs.items()},
                    "outputs": {name: pack_tensor(value.numpy()) for name, value in outputs.items()},
                }
            )
    return cases


def write_artifact(
    folder: Path,
    router: Router | Exported,
    *,
    version: str,
    embedder: Path,
    embedder_entry: EmbedderEntry,
    golden_texts: Mapping[str, np.ndarray],
    card_features: Sequence[CardFeature],
    population: Mapping[str, np.ndarray],
    aliases: Mapping[str, Sequence[str]],
    trained_on: Sequence[Source],
    forget: float,
    metrics: Mapping[str, object],
    model_card: str,
    more: Mapping[str, bytes] | None = None,
    card_reading: tuple[AbilitySpec, VerbositySpec] | None = None,
    usual: np.ndarray | None = None,
    tools: np.ndarray | None = None,
    codes: Codes = "frame",
) -> Artifact:
    """Writes and verifies an artifact; replaces `folder`. Raises `ArtifactError` when ONNX Runtime disagrees with
    PyTorch.

    `card_reading`: what the derived card features are inferred by. `usual` [n, E]: usual questions. `tools` [E]:
    what tools add to a query's embedding. `more`: further files, by their path in the folder.
    """
    network = exported(router) if isinstance(router, Router) else router
    network.module.eval()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for graph in INPUTS:
        export_graph(network, graph, folder / f"{graph}.onnx")
    shutil.copytree(embedder, folder / "embedder")
    embeds = [{"text": text, "vector": pack(vector)} for text, vector in golden_texts.items()]
    golden = {"graphs": golden_cases(network), "embed": embeds}
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n", encoding="utf-8")
    packed = {name: pack(np.asarray(vector, dtype=np.float32)) for name, vector in sorted(population.items())}
    (folder / "population.json").write_text(json.dumps(packed, indent=1) + "\n")
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (folder / "MODEL_CARD.md").write_text(model_card)
    network.save(folder)
    for name, content in (more or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    manifest = Manifest(
        schema=SCHEMA,
        version=version,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        files=files_of(folder),
        opset=OPSET,
        dims=network.dims,
        parts=network.parts,
        tastes=network.tastes,
        kinds=KINDS,
        people=network.people,
        card_features=tuple(card_features),
        ability=card_reading[0] if card_reading else None,
        verbosity=card_reading[1] if card_reading else None,
        codes=codes,
        usual=None if usual is None else pack(usual.astype(np.float32)),
        tools=None if tools is None else pack(tools.astype(np.float32)),
        forget=Forget(per_reward=forget, block=network.block),
        embedder=embedder_entry,
        reader=network.reader,
        aliases={name: tuple(names) for name, names in sorted(aliases.items())},
        starts=network.starts,
        trained_on=tuple(trained_on),
        licence="Apache-2.0",
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(by_alias=True, indent=2) + "\n")
    return Artifact(folder)
