"""A router's four graphs on numpy arrays, run by PyTorch while training and by ONNX Runtime when judging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from router_model.export.artifact import Artifact
from router_model.export.onnx import INPUTS, METHODS, results_of
from router_model.network import Router

Array = NDArray[Any]
Graph = str


class Runner(Protocol):
    """Runs a graph by the names of ARTIFACT.md."""

    @property
    def reads(self) -> bool:
        """Whether edge.onnx takes what is read in queries; else it takes them."""

    def run(self, graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name."""


class TorchRunner:
    """The network itself, without gradients."""

    reads = True

    def __init__(self, router: Router) -> None:
        """Puts the router into evaluation mode."""
        self.router = router.eval()

    def run(self, graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, computed by PyTorch."""
        with torch.no_grad():
            found = getattr(self.router, METHODS.get(graph, graph))(**self._given(graph, inputs))
        values = found if isinstance(found, tuple) else (found,)
        # what is told of a user's tastes is the exported graph's alone
        return {name: value.numpy() for name, value in zip(results_of(graph, self.router.sizes), values, strict=False)}

    def to_llms(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """Messages to LLMs [N, V], from the inputs of edge.onnx."""
        with torch.no_grad():
            made: NDArray[np.float32] = self.router.edge_to_llm(**self._given("edge", inputs)).numpy()
            return made

    def _given(self, graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Tensor]:
        given = [name for name in INPUTS[graph] if name in inputs]
        tensors = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in given}
        if graph == "edge" and "query" in inputs:  # as `Artifact.run`
            with torch.no_grad():
                tensors["reading"] = self.router.encoder.reading(torch.from_numpy(inputs["query"]))
        return tensors


def to_llms(runner: Runner, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
    """Messages to LLMs [N, V], from the inputs of edge.onnx; by the network itself in a tenth of the time."""
    if isinstance(runner, TorchRunner):
        return runner.to_llms(inputs)
    made: NDArray[np.float32] = runner.run("edge", inputs)["llm_message"]
    return made


def llm_states(runner: Runner, cards: Mapping[str, Array], evidence: Array) -> NDArray[np.float32]:
    """z [M, Z] from the inputs of llm.onnx other than `evidence` [M, V]."""
    z: NDArray[np.float32] = runner.run("llm", {**cards, "evidence": evidence.astype(np.float32)})["z"]
    return z


__all__ = ["Artifact", "Runner", "TorchRunner", "llm_states", "to_llms"]
