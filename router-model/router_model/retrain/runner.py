"""A router's four graphs on numpy arrays, run by PyTorch while training and by ONNX Runtime when judging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.export.artifact import Artifact
from router_model.export.onnx import INPUTS, METHODS, results_of
from router_model.network import Router

Array = NDArray[Any]
Graph = str


class Runner(Protocol):
    """Runs a graph by the names of ARTIFACT.md."""

    def run(self, graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name."""


class TorchRunner:
    """The network itself, without gradients."""

    def __init__(self, router: Router) -> None:
        """Puts the router into evaluation mode."""
        self.router = router.eval()

    def run(self, graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, computed by PyTorch."""
        given = [name for name in INPUTS[graph] if name in inputs]
        tensors = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in given}
        with torch.no_grad():
            if graph == "edge" and "query" in inputs:  # as `Artifact.run`
                tensors["reading"] = self.router.encoder.reading(torch.from_numpy(inputs["query"]))
            found = getattr(self.router, METHODS.get(graph, graph))(**tensors)
        values = found if isinstance(found, tuple) else (found,)
        # what is told of a user's tastes is the exported graph's alone
        return {name: value.numpy() for name, value in zip(results_of(graph, self.router.sizes), values, strict=False)}


def llm_states(runner: Runner, cards: Mapping[str, Array], evidence: Array) -> NDArray[np.float32]:
    """z [M, Z] from the inputs of llm.onnx other than `evidence` [M, V]."""
    z: NDArray[np.float32] = runner.run("llm", {**cards, "evidence": evidence.astype(np.float32)})["z"]
    return z


__all__ = ["Artifact", "Runner", "TorchRunner", "llm_states"]
