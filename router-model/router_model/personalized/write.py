"""From trained networks to an artifact with the same four graphs, and their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Artifact, Dims
from router_model.export.finished import write_finished
from router_model.export.onnx import INPUTS, OUTPUTS, Exported, example
from router_model.export.reader import reader_of
from router_model.network import QueryEncoder, Sizes
from router_model.personalized.network import PARTS, NetworkSizes, PersonalizedRouter
from router_model.train.weights import WeightsError

Floats = NDArray[np.float32]
WEIGHTS_FILE = "personalized-router.safetensors"


@dataclass(frozen=True)
class Result:
    """Trained networks, and all else that an artifact holds."""

    router: PersonalizedRouter
    embedder: StaticEmbedder
    population: Mapping[str, Floats]
    """Evidence [V] of each training LLM."""
    sources: Mapping[str, str]
    """Data and licence."""
    usual: Floats
    """Embeddings [n, E] of usual questions."""
    people: int
    seed: int


def as_exported(router: PersonalizedRouter) -> Exported:
    """The four graphs; no tastes in words, no blocks by age: what a user's state means, nobody can read."""
    return Exported(
        module=router,
        graphs={graph: getattr(router, graph) for graph in INPUTS},
        dims=dims_of(router),
        outputs={**{graph: tuple(found) for graph, found in OUTPUTS.items()}, "user": ("state",)},
        parts=PARTS,
        reader=reader_of(router.encoder),
        made_up=partial(made_up, router),
        save=lambda folder: save_networks(folder / WEIGHTS_FILE, router),
    )


def dims_of(router: PersonalizedRouter) -> Dims:
    """The manifest's sizes."""
    read, message = router.read, router.message
    return Dims(
        E=read.query, Q=read.reading, F=read.card, P=read.provider_code, C=read.name_code, Z=router.z, V=2 * message,
        G=message, H=message, W=1, S=message, D=0, R=len(PARTS),
    )  # fmt: skip


def made_up(router: PersonalizedRouter, graph: str, lengths: Mapping[str, int], seed: int) -> dict[str, Tensor]:
    """Inputs with readings, states and sums that the networks themselves made."""
    dims = dims_of(router)
    made = example(graph, dims, lengths, seed)
    made.pop("share", None)  # sums are left to whoever asks
    with torch.no_grad():
        if "reading" in made:
            made["reading"] = router.encoder.reading(example("score", dims, {"B": lengths["N"], "M": 1}, seed)["query"])
        if "z" in made:
            cards = _cards(dims, made["z"].shape[0], seed)
            made["z"] = router.llm(**cards, evidence=torch.zeros(len(made["z"]), dims.V))
            if "anchor" in made:
                made["anchor"] = made["z"][:1] * 0.9
        if graph == "llm":
            made.pop("name_code")
            made["evidence"] = torch.stack([_history(router, 3 * i, seed + i)[1] for i in range(lengths["M"])])
        if graph in ("user", "score"):
            sums = torch.stack([_history(router, 5 * i, seed + i)[0] for i in range(lengths["B"])])
            made.update({"sums": sums} if graph == "user" else {"state": router.user(sums)})
    return made


def _cards(dims: Dims, llms: int, seed: int) -> dict[str, Tensor]:
    cards = example("llm", dims, {"M": llms}, seed)
    return {name: value for name, value in cards.items() if name not in ("name_code", "evidence")}


def _history(router: PersonalizedRouter, edges: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sums of the messages of `edges` made-up rewards, to the user [G] and to the LLM [V]."""
    if edges == 0:
        return torch.zeros(router.message), torch.zeros(2 * router.message)
    user, llm = router.edge(**made_up(router, "edge", {"N": edges}, seed))
    return user.sum(0), llm.sum(0)


def write(result: Result, embedder: Path, folder: Path, version: str) -> Artifact:
    """As `write_finished`; `embedder`: folder of the embedder."""
    return write_finished(
        as_exported(result.router),
        folder,
        version,
        embedder=result.embedder,
        embedder_folder=embedder,
        population=result.population,
        sources=result.sources,
        usual=result.usual,
        model_card=model_card(result, version),
    )


def save_networks(path: Path, router: PersonalizedRouter) -> None:
    """Writes parameters, buffers and sizes."""
    tensors = {name: value.detach().contiguous().clone() for name, value in router.state_dict().items()}
    path.write_bytes(save(tensors, metadata={"sizes": json.dumps(router.as_dict())}))


def load_networks(path: Path) -> PersonalizedRouter:
    """What `save_networks` wrote, in evaluation mode. Raises `WeightsError`."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    with safe_open(path, framework="pt") as file:
        try:
            sizes = json.loads(file.metadata()["sizes"])
            router = PersonalizedRouter(QueryEncoder(Sizes(**sizes["reader"])), NetworkSizes(**sizes["networks"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: not PersonalizedRouter's weights: {error}") from error
        router.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return router.eval()


def model_card(result: Result, version: str) -> str:
    """MODEL_CARD.md."""
    data = "\n".join(f"- `{name}` ({licence})" for name, licence in result.sources.items())
    size = sum(p.numel() for p in result.router.networks.parameters())
    return f"""# PersonalizedRouter {version}

PersonalizedRouter's graph network (arXiv 2511.16883) in the four graphs of an artifact: what differs from the paper is
said in `router_model/personalized/network.py`. A rival to compare with, as shadow or canary; it is not the default.

- **Licence**: Apache-2.0. {size:,} parameters in {result.router.sizes.networks} networks, float32.
- **Trained on** the training folds' outcomes of:
{data}
- **Reads queries** by the frozen encoder of the graph router whose name is the manifest's `reader`: a gateway keeps
  readings, not questions, and both can read them.
- **Users**: {result.people} simulated people (`router_model/data/population.py`), seed {result.seed}; no real person's
  data.
- **How sure it is**: `std` and `apart` are deviations between the networks, each trained on other draws of the users.
- **Limits**: ratings move it little, and it has no tastes in words: see EXPERIMENTS.md.

Made by `python -m router_model train --model personalized-router`.
"""
