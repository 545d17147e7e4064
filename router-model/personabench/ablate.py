"""`python -m personabench ablate`: what each part of the graph is worth, on PersonaBench."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from personabench.bench.artifact_router import ArtifactRouter, ChangedArtifact
from personabench.bench.report import markdown, terminal_tables
from personabench.bench.run import Factory, Plan, run
from router_model.data.simulation import History
from router_model.network import NON_LINEAR, Router
from router_model.places import DATA
from router_model.retrain.runner import TorchRunner
from router_model.train.people import DOUBT_VARIANCE, RATING_VARIANCE
from router_model.train.weights import WEIGHTS_FILE, load_weights

Floats = NDArray[np.float32]
Change = Callable[[Router], None]


class Ablated(ArtifactRouter):
    """An artifact's router, run by PyTorch, with something taken out."""

    def __init__(self, folder: Path, name: str, change: Change | None = None) -> None:
        """Loads the artifact's weights and changes them."""
        super().__init__(folder, name)
        router = load_weights(folder / WEIGHTS_FILE)
        if change is not None:
            change(router)
        self.artifact = ChangedArtifact(self.artifact, TorchRunner(router))  # type: ignore[assignment]


class NoHistory(Ablated):
    """No user's ratings count: the population's taste for all."""

    def states(self, history: History) -> Floats:
        """States of strangers."""
        return super().states(history.first(0))


class CardsOnly(Ablated):
    """No outcome and no reward reaches an LLM's node."""

    def set_evidence(self, evidence: Floats) -> None:
        """Forgets the evidence."""
        super().set_evidence(np.zeros_like(evidence))


class NoPopularity(Ablated):
    """Users' rewards don't reach the LLM's node."""

    def log_evidence(self, log: History) -> Floats:
        """None."""
        return np.zeros_like(self.evidence)


class _LinearReading(nn.Module):
    """A reward as noisy utility of the predicted quality: what a regression would make of it."""

    def __init__(self, dense: Tensor, gain: Tensor) -> None:
        """Shares what a dense kind is."""
        super().__init__()
        self.dense, self.log_gain = dense, gain
        self.log_noise = torch.zeros_like(gain)

    def forward(
        self, mean: Tensor, covariance: Tensor, quality: Tensor, reward: Tensor, kind: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Precision [.., N, 2, 2] and information [.., N, 2] about (u, v), as `RewardReading` gives them."""
        direction = torch.stack([torch.ones_like(quality), 2 * quality - 1], -1)
        dense = self.dense[kind] > 0
        variance = torch.where(dense, RATING_VARIANCE + DOUBT_VARIANCE * quality * (1 - quality), 0.5)
        precision = direction.unsqueeze(-1) * direction.unsqueeze(-2) / variance.unsqueeze(-1).unsqueeze(-1)
        target = torch.where(dense, reward, reward / 1.5)
        information = direction * (target / variance).unsqueeze(-1)
        return precision.expand(*mean.shape, 2), information.expand_as(mean)


def linear_messages(router: Router) -> None:
    """Messages that don't ask whether the answer was right."""
    router.reading = _LinearReading(router.reading.dense, router.reading.log_gain)  # type: ignore[assignment]


def no_tasks(router: Router) -> None:
    """Tastes don't depend on the task."""
    _mask(router, slice(None), tasks=False)


def no_bends(router: Router) -> None:
    """No feature of a user but linear ones."""
    first = 3 * (1 + router.sizes.tasks) + 1
    _mask(router, slice(first, first + NON_LINEAR))


def _mask(router: Router, columns: slice, tasks: bool = True) -> None:
    """Zeroes features, or those of tasks."""
    whole = router.features.forward

    def forward(quality: Tensor, cost: Tensor, length: Tensor, task: Tensor, codes: Tensor) -> Tensor:
        phi = whole(quality, cost, length, task if tasks else torch.zeros_like(task), codes)
        if tasks:
            phi = phi.clone()
            phi[..., columns] = 0
        return phi

    router.features.forward = forward  # type: ignore[method-assign]


def no_changes(router: Router) -> None:
    """Tastes never change: one Gaussian."""
    node, blocks = router.user_node, router.sizes.blocks
    node.log_odds[: blocks - 1] = -1e9
    # Other kinds are measured against all the chances of a change that the usual people have.
    node.log_odds[blocks:] -= math.log1p((blocks - 1) * node.change)


def ablate(
    artifact: Annotated[Path, typer.Option(help="artifact folder")],
    pools: Annotated[str, typer.Option(help="comma-separated")] = "zeroeval,llmrouter",
    data: Annotated[Path, typer.Option(help="where the pools' folders are")] = DATA,
    feedback: Annotated[str, typer.Option(help="dense, thumbs")] = "dense",
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    out: Annotated[Path, typer.Option(help="folder for the table")] = Path("runs/ablate"),
) -> None:
    """Print what the router loses without each of its parts."""
    torch.set_num_threads(1)
    factories: list[Factory] = [
        partial(Ablated, artifact, "whole"),
        partial(NoHistory, artifact, "no user history"),
        partial(CardsOnly, artifact, "no LLM edges"),
        partial(NoPopularity, artifact, "no rewards to LLMs"),
        partial(Ablated, artifact, "linear messages", linear_messages),
        partial(Ablated, artifact, "no tasks", no_tasks),
        partial(Ablated, artifact, "no changes of taste", no_changes),
        partial(Ablated, artifact, "no non-linear features", no_bends),
    ]
    console = Console()
    plan = Plan(tuple(pools.split(",")), data, tuple(feedback.split(",")), seeds=seeds, lengths=(0, 5, 20, 100))  # type: ignore[arg-type]
    with console.status("ablate") as status:
        results = run(plan, factories, status.update)
    out.mkdir(parents=True, exist_ok=True)
    results.save(out / "results.json")
    (out / "results.md").write_text(markdown(results), encoding="utf-8")
    for table in terminal_tables(results):
        console.print(table)
