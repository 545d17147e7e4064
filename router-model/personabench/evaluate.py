"""`python -m personabench evaluate`: the whole of PersonaBench in one command."""

from __future__ import annotations

import hashlib
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import typer
from rich.console import Console
from rich.status import Status

from personabench.bench.registry import BORROWED, CONTESTANTS, QUICK, contestants
from personabench.bench.report import markdown, picture, terminal_tables
from personabench.bench.results import Results
from personabench.bench.run import Plan, run
from personabench.bench.tally import Kept
from personabench.heads import HeadsConfig
from router_model.data.population import SHIFTS, Shift
from router_model.data.simulation import Feedback
from router_model.export.artifact import read_manifest
from router_model.places import DATA

POOLS = "zeroeval,llmrouter"
OUT = Path("runs/evaluate")
WIDE = 180  # columns of a terminal from which intervals fit
QUICK_HEADS = HeadsConfig(networks=1, epochs=10)


def evaluate(
    pools: Annotated[str, typer.Option(help="comma-separated names of pools, or folders under --data")] = POOLS,
    data: Annotated[Path, typer.Option(help="where the pools' folders are")] = DATA,
    feedback: Annotated[str, typer.Option(help="dense, thumbs, sparse, retries")] = "dense,thumbs",
    shifts: Annotated[str, typer.Option(help="shifted populations beside the usual one, or `all`")] = "",
    folds: Annotated[str, typer.Option(help="test folds, comma-separated; the pool's own by default")] = "",
    llms: Annotated[str, typer.Option(help="LLMs of the pool to keep, comma-separated; all by default")] = "",
    population: Annotated[Path | None, typer.Option(help="users from a file instead of the generator")] = None,
    artifact: Annotated[list[Path] | None, typer.Option(help="artifact folder, may be repeated")] = None,
    only: Annotated[str, typer.Option(help=f"contestants: {', '.join([*CONTESTANTS, *BORROWED])}")] = "",
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    first: Annotated[int, typer.Option(min=0, help="the first of them")] = 0,
    resume: Annotated[bool, typer.Option(help="take the seeds that a run which was cut off left in --out")] = False,
    users: Annotated[int, typer.Option(min=20, help="users of a population, 20 % of them test users")] = 1000,
    regret: Annotated[bool, typer.Option(help="also live regret over 200 requests")] = False,
    newcomers: Annotated[bool, typer.Option(help="also LLMs that joined after training")] = False,
    newcomer_seeds: Annotated[int, typer.Option(min=1, help="of the seeds, so many for --newcomers")] = 2,
    families: Annotated[str, typer.Option(help="makers whose LLMs join later; the three largest by default")] = "",
    without: Annotated[Path | None, typer.Option(help="artifact that never saw --families, to join later")] = None,
    quick: Annotated[bool, typer.Option(help="a minute's worth: one pool, one seed, few contestants")] = False,
    config: Annotated[Path | None, typer.Option(help="TOML with any of these options")] = None,
    out: Annotated[Path, typer.Option(help="folder for results.json, results.md and curves.png")] = OUT,
) -> None:
    """Print how well routers serve users they have not met, with 95 % intervals; write JSON, markdown and a picture."""
    torch.set_num_threads(1)
    options: dict[str, Any] = {
        "pools": pools, "data": data, "feedback": feedback, "shifts": shifts, "folds": folds, "llms": llms,
        "population": population, "artifact": artifact, "only": only, "seeds": seeds, "first": first, "users": users,
        "regret": regret, "newcomers": newcomers, "newcomer_seeds": newcomer_seeds, "families": families,
        "without": without,
    }  # fmt: skip
    if config is not None:
        options |= tomllib.loads(config.read_text(encoding="utf-8"))
    console = Console()
    try:
        plan = make_plan(options, quick)
        names = _words(options["only"]) or (QUICK if quick else None)
        artifacts = [Path(path) for path in options["artifact"] or []]
        factories = contestants(names, artifacts)
        kept = Kept(out / "seeds", _hang_on(plan, names, artifacts))
        if not resume:
            kept.clear()
        with console.status("PersonaBench") as status:
            results = run(plan, factories, _speaker(status, console), lambda made: _write(made, out), kept)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    _write(results, out)
    picture(results, out / "curves.png")
    for table in terminal_tables(results, precise=console.width >= WIDE):
        console.print(table)
    console.print(f"Written: {out / 'results.json'}, {out / 'results.md'}, {out / 'curves.png'}")


def _write(results: Results, out: Path) -> None:
    results.settings["command"] = f"python -m personabench {shlex.join(sys.argv[1:])}"
    out.mkdir(parents=True, exist_ok=True)
    results.save(out / "results.json")
    (out / "results.md").write_text(markdown(results), encoding="utf-8")


def _hang_on(plan: Plan, names: Sequence[str] | None, artifacts: Sequence[Path]) -> dict[str, str]:
    """What a seed's figures hang on, beside the pool and the kind of feedback."""
    whole = ("pools", "feedbacks", "seeds", "first", "regret", "newcomers", "newcomer_seeds", "families", "without")
    made = {name: str(value) for name, value in vars(plan).items() if name not in whole}
    if plan.population is not None:
        made["population"] = hashlib.sha256(plan.population.read_bytes()).hexdigest()
    files = [sorted((name, file.sha256) for name, file in read_manifest(path).files.items()) for path in artifacts]
    graphs = [[of for of in each if of[0].endswith((".onnx", ".safetensors"))] for each in files]
    return {**made, "contestants": str(names), "artifacts": hashlib.sha256(str(graphs).encode()).hexdigest()}


def make_plan(options: dict[str, Any], quick: bool) -> Plan:
    """A plan from the command's options. Raises `ValueError` for an unknown kind of feedback or shift."""
    asked = _words(options["shifts"])
    shifted = SHIFTS if asked == ("all",) else asked
    plan = Plan(
        pools=_words(options["pools"]),
        data=Path(options["data"]),
        feedbacks=_checked("feedback", _words(options["feedback"]), get_args(Feedback)),
        shifts=("none", *_checked("shift", [shift for shift in shifted if shift != "none"], get_args(Shift))),
        seeds=int(options["seeds"]),
        first=int(options["first"]),
        users=int(options["users"]),
        population=Path(options["population"]) if options["population"] else None,
        folds=tuple(int(fold) for fold in _words(str(options["folds"]))) or None,
        llms=_words(options["llms"]) or None,
        regret=bool(options["regret"]),
        newcomers=bool(options["newcomers"]),
        newcomer_seeds=int(options["newcomer_seeds"]),
        families=_words(options["families"]) or None,
        without=Path(options["without"]) if options["without"] else None,
    )
    if not quick:
        return plan
    short = replace(plan, pools=plan.pools[:1], seeds=1, users=min(plan.users, 400))
    return replace(short, heads=QUICK_HEADS, lengths=(0, 5, 20, 50))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _checked(what: str, words: Sequence[str], known: tuple[Any, ...]) -> tuple[Any, ...]:
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(words)


def _speaker(status: Status, console: Console) -> Callable[[str], None]:
    """Progress in place on a terminal, in lines with the time elsewhere: a run of hours has a log."""
    if console.is_terminal:
        return lambda text: status.update(text)
    return console.log
