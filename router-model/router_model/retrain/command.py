"""`python -m router_model retrain`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from router_model.export.artifact import ArtifactError
from router_model.places import NoArtifactError
from router_model.retrain.consent import ConsentError, read_config
from router_model.retrain.gates import FIRM, NAMES, WAIVABLE, Limits, advice
from router_model.retrain.judgement import JudgeError
from router_model.retrain.log import LogError
from router_model.retrain.options import JUDGED, Options, RetrainError, Watch
from router_model.retrain.policy import Gamma
from router_model.retrain.retrain import retrain
from router_model.retrain.sample import MOST
from router_model.train.weights import WeightsError

REFUSED = 3


def command(
    source: Annotated[
        list[str],
        typer.Option(
            "--from",
            help="redis://…, redis-cluster://…, redis-sentinel://…, sqlite:<file>, a .jsonl or .jsonl.gz file, or an "
            "archive (a directory, or s3://bucket/prefix); again for several, such as a store and its archive",
        ),
    ],
    artifact: Annotated[str, typer.Option(help="what to improve on: `current` or a directory")] = "current",
    out: Annotated[Path | None, typer.Option(help="where artifacts lie; the gateway watches it")] = None,
    tenant: Annotated[
        list[str] | None, typer.Option(help="tenant whose rows to learn from (again for several, which must all share)")
    ] = None,
    shared: Annotated[bool, typer.Option(help="the rows of all tenants with share_training: true")] = False,
    config: Annotated[
        Path | None, typer.Option(help="the gateway's configuration: the tenants that share, and the candidates' cards")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="directory of the report; default: router-model/runs/<version>")
    ] = None,
    waive: Annotated[
        list[str] | None, typer.Option(help=f"measure a gate but let it pass: {', '.join(WAIVABLE)}")
    ] = None,
    value_margin: Annotated[
        float, typer.Option(help="how much worse than the current policy may be, at the lower end")
    ] = 0.01,
    tenant_loss: Annotated[float, typer.Option(help="how much any tenant may lose")] = 0.02,
    held: Annotated[float, typer.Option("--held-out", help="share of users kept for judging", min=0.05, max=0.9)] = 0.2,
    most_rows: Annotated[
        int, typer.Option(help="of a log with more interactions or rewards, read some users alone", min=1000)
    ] = MOST,
    judged_rows: Annotated[
        int, typer.Option(help="judge by at most so many rewards of the users kept for it", min=1000)
    ] = JUDGED,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Learn from the gateway's log; publish the artifact only if it passes every gate (exit code 3 if not)."""
    console = Console(stderr=True, soft_wrap=True)
    unknown, firm = sorted(set(waive or ()) - set(NAMES)), sorted(set(waive or ()) & set(FIRM))
    if unknown or firm:
        what = f"No such gate: {', '.join(unknown)}" if unknown else f"Not to be waived: {', '.join(firm)}"
        console.print(f"{what}. These may be waived: {', '.join(WAIVABLE)}.")
        raise typer.Exit(2)
    torch.set_num_threads(1)
    limits = Limits(value_margin=value_margin, tenant_loss=tenant_loss)
    try:
        gateway = read_config(config) if config else None
        gamma = gateway.gamma if gateway else Gamma()
        options = Options(
            held_out=held,
            gamma=gamma,
            limits=limits,
            waived=tuple(waive or ()),
            judged_rows=judged_rows,
            most_rows=most_rows,
            seed=seed,
        )
        with _progress(console) as watch:
            summary = retrain(
                source,
                artifact=artifact,
                out=out,
                tenants=tenant or (),
                shared=shared,
                config=gateway,
                report=report,
                options=options,
                watch=watch,
            )
    except (LogError, ConsentError, ArtifactError, WeightsError, JudgeError, NoArtifactError, RetrainError) as error:
        console.print(f"[bold]Nothing was retrained.[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    for gate in summary.gates:
        console.print(str(gate), highlight=False, markup=False)
    if summary.published is None:
        console.print(f"Refused; the current artifact stays. Report: {summary.report}")
        judged = summary.judgement.gain.rows / max(summary.judgement.there, 1)
        says = advice(summary.gates, summary.rewards, summary.share_of_users, judged)
        console.print(says, highlight=False, markup=False)
        raise typer.Exit(REFUSED)
    console.print(f"Published {summary.published}. Report: {summary.report}")


TELL_EVERY_S = 15.0


def lines(console: Console, clock: Callable[[], float] = time.monotonic) -> Watch:
    """A line when a step begins, and now and then while it lasts: for a file, or a job's log."""
    begun = clock()
    told: dict[str, float] = {}

    def watch(name: str, done: int, total: int) -> None:
        now = clock()
        if name in told and now < told[name] + TELL_EVERY_S and done != total:
            return
        told[name] = now
        of = f" of {total:,}" if total else ""
        console.print(f"{now - begun:5.0f} s  {name}: {done:,}{of}", highlight=False, markup=False)

    return watch


@contextmanager
def _progress(console: Console) -> Iterator[Watch]:
    if not console.is_terminal:
        yield lines(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, int] = {}

        def watch(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total or None)
            bar.update(tasks[name], completed=done, total=total or None)  # type: ignore[arg-type]

        yield watch
