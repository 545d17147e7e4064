"""`python -m personabench seed`: the test that PersonalizedRouter was published with, against PersonalizedRouter."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import typer
from rich.console import Console

from personabench.baselines.bandit import PerUserLinear
from personabench.baselines.personalized_router import PersonalizedRouter
from personabench.baselines.regression import BestRegression
from personabench.baselines.served_networks import ServedNetworks
from personabench.baselines.simple import BestSingle
from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.retrained_router import RetrainedRouter
from personabench.bench.variants import VARIANTS
from personabench.heads import HeadsConfig
from personabench.record import under
from personabench.seed.bounds import Oracle, OwnBest, Told
from personabench.seed.judge import Case, Factory, Group, Row, compete
from personabench.seed.report import markdown, paired, save
from router_model.collect.strategies import CostScale
from router_model.data.pools import load_pool
from router_model.places import DATA, find_artifact

OUT = Path("runs/seed")
OF_TRADE_OFFS = ("told", "told-graph-heads")
"""Who must be told a trade-off."""


def routers(artifact: Path) -> Mapping[str, Factory]:
    """All who take part, by name; the best single LLM always does."""
    return {
        "own-best": OwnBest,
        "linucb": PerUserLinear,
        "regression": partial(BestRegression, VARIANTS),
        "personalized-router": PersonalizedRouter,
        "personalized-router-released": partial(PersonalizedRouter, personal=False),
        "personalized-router-artifact": partial(ServedNetworks, artifact),
        "graph": partial(ArtifactRouter, artifact, "graph router, as shipped"),
        "graph-new": partial(ArtifactRouter, artifact, "graph router, as shipped, nobody heard", heard=0),
        "graph-20": partial(ArtifactRouter, artifact, "graph router, as shipped, 20 users heard", heard=20),
        "graph-50": partial(ArtifactRouter, artifact, "graph router, as shipped, 50 users heard", heard=50),
        "retrained": partial(RetrainedRouter, artifact, "graph router, after retrain"),
        "told": Told,
        "told-graph-heads": partial(Told, artifact),
        "oracle": Oracle,
    }


def seed(
    artifact: Annotated[str, typer.Option(help="folder, or `current`")] = "current",
    pools: Annotated[str, typer.Option(help="comma-separated names of pools")] = "llmrouter,zeroeval",
    groups: Annotated[str, typer.Option(help="nine, spread, judged")] = "nine,spread,judged",
    scales: Annotated[str, typer.Option(help="how dollars become a cost: percentile, task")] = "percentile,task",
    data: Annotated[Path, typer.Option(help="where the pools' folders are")] = DATA,
    folds: Annotated[str, typer.Option(help="test folds, comma-separated; the pool's own by default")] = "",
    only: Annotated[str, typer.Option(help=f"routers: {', '.join(routers(Path()))}")] = "",
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    users: Annotated[int, typer.Option(min=50, help="users spread over the trade-offs")] = 1000,
    quick: Annotated[bool, typer.Option(help="small heads: to see that it runs")] = False,
    out: Annotated[Path, typer.Option(help="folder for results.json and results.md")] = OUT,
) -> None:
    """Print what cost-efficiency users get from each router: new users and users met before, with 95 % intervals."""
    torch.set_num_threads(1)
    console = Console()
    try:
        known = routers(find_artifact(artifact))
        chosen = _known("router", only, tuple(known)) if only else tuple(known)
        cases = [
            Case(pool, group, scale)
            for pool in pools.split(",")
            for group in _known("group", groups, get_args(Group))
            for scale in _known("scale", scales, get_args(CostScale))[: 1 if group == "judged" else None]
        ]
        heads = HeadsConfig(networks=1, epochs=3, hidden=32) if quick else None
        command = f"python -m personabench {shlex.join(sys.argv[1:])}"
        settings: dict[str, object] = {"command": command, "seeds": seeds}
        rows: list[Row] = []
        out.mkdir(parents=True, exist_ok=True)
        for case in cases:
            pool = load_pool(case.pool, data)
            if folds:
                pool = replace(pool, test_folds=tuple(int(fold) for fold in folds.split(",")))
            there = [name for name in chosen if case.group != "judged" or name not in OF_TRADE_OFFS]
            factories: list[Factory] = [BestSingle, *(known[name] for name in there)]
            before = list(rows)

            def keep(found: list[Row], before: list[Row] = before) -> None:
                """After each seed: a run takes hours."""
                made = [*before, *found]
                save(made, settings, out / "results.json")
                (out / "results.md").write_text(under(command, f"{markdown(made)}\n{paired(made)}"), encoding="utf-8")

            found = compete(case, pool, factories, seeds, users, console.log, heads, keep)
            console.print(markdown(found), paired(found), markup=False, soft_wrap=True)
            rows += found
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    console.print(f"Written: {out / 'results.json'}, {out / 'results.md'}")


def _known(what: str, text: str, names: tuple[Any, ...]) -> tuple[Any, ...]:
    asked = tuple(word.strip() for word in text.split(",") if word.strip())
    unknown = [word for word in asked if word not in names]
    if unknown:
        raise ValueError(f"no {what} {', '.join(unknown)}; there are {', '.join(names)}")
    return asked
