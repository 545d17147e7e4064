"""What caution costs and saves: users worse off than with the best single LLM, and the gap closed, by `router.risk`.

`python -m personabench risk --seeds 5`: test users on test questions, with the best single LLM as `router.baseline`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast, get_args

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.episode import Judgement, Setup, make_episode, pick
from personabench.heads import HeadsConfig
from personabench.metrics import Gain, interval, share_worse_off, total
from personabench.record import under
from router_model.data.pools import load_pool
from router_model.data.simulation import Feedback
from router_model.places import DATA, find_artifact

RISKS = (None, 0.2, 0.1)
LENGTHS = (0, 5, 20, 50, 100)
UNREAD = HeadsConfig(networks=1, epochs=1)
"""The graph router reads queries by itself."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """Of one seed, after so many requests."""

    gain: Gain
    worse: float


def risk(
    artifact: Annotated[str, typer.Option(help="name or folder")] = "current",
    pools: Annotated[str, typer.Option(help="comma-separated")] = "zeroeval,llmrouter",
    feedback: Annotated[str, typer.Option(help=", ".join(get_args(Feedback)))] = "dense",
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    users: Annotated[int, typer.Option(min=20, help="20 % of them test users")] = 1000,
    named: Annotated[
        bool, typer.Option(help="the best single LLM is the baseline; else whom the router takes for it")
    ] = True,
    out: Annotated[Path, typer.Option(help="folder for results.md")] = Path("runs/risk"),
) -> None:
    """Print the gap closed, with a 95 % interval, and the share of users worse off, by risk, in Markdown."""
    torch.set_num_threads(1)
    if feedback not in get_args(Feedback):
        raise typer.BadParameter(f"no feedback {feedback}", param_hint="--feedback")
    out.mkdir(parents=True, exist_ok=True)
    whose = f"which is {'' if named else 'not '}named as the baseline:"
    command = f"python -m personabench {shlex.join(sys.argv[1:])}"
    lines: list[str] = []
    for pool in pools.split(","):
        found: list[dict[tuple[float | None, int], Found]] = []
        table: list[str] = []
        for seed in range(seeds):
            setup = Setup(pool, cast(Feedback, feedback), seed, users, LENGTHS)
            found.append(trade_off(setup, find_artifact(artifact), named=named))
            table = _table(f"{pool}, {feedback}, {_seeds(seed + 1)}", found)
            # after each seed: a run takes a while
            text = [f"Gap closed, and users worse off than with the best single LLM, {whose}", "", *lines, *table]
            (out / "results.md").write_text(under(command, "\n".join([*text, ""])), encoding="utf-8")
        lines += table
    typer.echo("\n".join(lines))


def _table(title: str, found: Sequence[dict[tuple[float | None, int], Found]]) -> list[str]:
    lines = [_row(f"{title}: risk", *(f"n = {n}" for n in LENGTHS)), _row("---", *("---:" for _ in LENGTHS))]
    for level in RISKS:
        cells = [_cell([one[level, n] for one in found]) for n in LENGTHS]
        lines.append(_row("none" if level is None else f"{level:g}", *cells))
    return [*lines, ""]


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def trade_off(
    setup: Setup, artifact: Path, *, named: bool = True, heads: HeadsConfig = UNREAD
) -> dict[tuple[float | None, int], Found]:
    """By risk and number of requests. Users are scored once for all risks."""
    episode = make_episode(setup, load_pool(setup.pool, DATA), heads=heads)
    router = ArtifactRouter(artifact, baseline=named)
    router.fit(episode.known)
    judgement = episode.tests["none"]
    found: dict[tuple[float | None, int], Found] = {}
    for n in setup.lengths:
        states, utility = router.states(judgement.history.first(n)), judgement.utility(n)
        mean, apart = router.doubts(judgement.rows, states)
        for level in RISKS:
            cautions = router.cautions(states, level)
            chosen = pick(utility, mean - cautions[:, None, None] * apart)
            found[level, n] = _judged(judgement, chosen, utility)
    return found


def _judged(judgement: Judgement, chosen: Floats, utility: Floats) -> Found:
    single = utility[..., judgement.best_single]
    return Found(judgement.gain(chosen, utility), share_worse_off(chosen, single, judgement.counted))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(found: Sequence[Found]) -> str:
    gap = interval(total([one.gain for one in found]).gap_closed)
    worse = np.mean([one.worse for one in found])
    return f"{gap.value:.3f} [{gap.low:.2f}, {gap.high:.2f}], {worse:.1%}"
