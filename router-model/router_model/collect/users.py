"""`python -m router_model simulate-users`: users who weigh effect against cost, out of gathered outcomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from router_model.collect.made_log import MadeLog, write_jsonl
from router_model.collect.strategies import TRADE_OFFS, CostEfficiencyPopulation, scaled_cost
from router_model.data.pools import DataError, Pool, load_pool
from router_model.embedding import StaticEmbedder
from router_model.places import ARTIFACTS, NoArtifactError, find_artifact

LOG = "log.jsonl.gz"
USERS = "users.json"
TENANT = "simulated"

Collected = Annotated[Path, typer.Argument(help="folder of `collect`, or any in its layout")]
Requests = Annotated[int, typer.Option(min=1, help="questions of each user")]
Tenant = Annotated[str, typer.Option(help="tenant of the users")]
ForArtifact = Annotated[
    str, typer.Option("--artifact", help="what the log is to retrain: its embedder makes the vectors")
]


def command(
    collected: Collected,
    out: Annotated[Path, typer.Option(help=f"folder for {LOG} and {USERS}")] = Path("simulated"),
    users: Annotated[int, typer.Option(min=1)] = 1000,
    spread: Annotated[bool, typer.Option(help="any a from 0.2 to 1, not the paper's nine values")] = False,
    requests: Requests = 50,
    noise: Annotated[float, typer.Option(min=0, help="standard deviation of a rating around the reward")] = 0.0,
    tenant: Tenant = TENANT,
    artifact: ForArtifact = "current",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Make users with reward = a x effect - (1 - a) x cost, and a log of what they asked and thought, for `retrain`."""
    console = Console(stderr=True)
    make = CostEfficiencyPopulation.spread if spread else CostEfficiencyPopulation.over_nine
    people = make(users, seed)
    try:
        pool = pool_of(collected)
        log = MadeLog(pool, embedder_of(artifact), people, tenant, requests, noise=noise, thumbs=0, judged=0, seed=seed)
        rows = write_users(out, log, [{"a": round(float(a), 4)} for a in people.weight])
    except (DataError, NoArtifactError, OSError) as error:
        console.print(str(error), highlight=False, markup=False)
        raise typer.Exit(1) from error
    console.print(best_of_each(people, pool), highlight=False)
    console.print(f"{users:,} users, {rows:,} rows: {out / LOG}", highlight=False)


def pool_of(collected: Path) -> Pool:
    """The pool that `collect` left in a folder. Raises `DataError`."""
    return load_pool(collected.name, collected.parent)


def embedder_of(artifact: str) -> StaticEmbedder:
    """The embedder that an artifact carries. Raises `NoArtifactError`, or `OSError` where there is no embedder."""
    return StaticEmbedder.load(find_artifact(artifact, ARTIFACTS) / "embedder")


def write_users(out: Path, log: MadeLog, about: Sequence[dict[str, Any]]) -> int:
    """Writes the log, and each user's parameters; returns the number of rows."""
    out.mkdir(parents=True, exist_ok=True)
    rows = write_jsonl(out / LOG, log)
    listed = [{"user": f"user-{number}"} | what for number, what in enumerate(about)]
    lines = ",\n".join(json.dumps(user, ensure_ascii=False) for user in listed)
    (out / USERS).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return rows


def best_of_each(people: CostEfficiencyPopulation, pool: Pool) -> str:
    """The best single LLM for each value of a: what a router has to tell apart."""
    effect, cost = pool.quality.mean(0), scaled_cost(pool).mean(0)
    best = [pool.names[int(np.argmax(a * effect - (1 - a) * cost))] for a in TRADE_OFFS]
    lines = []
    for llm, same in groupby(zip(TRADE_OFFS, best, strict=True), key=lambda pair: pair[1]):
        served = [a for a, _ in same]
        lines.append(f"best single LLM for a = {served[0]:g} to {served[-1]:g}: {llm}")
    return "\n".join(lines)
