"""`python -m personabench record`: the figures of several runs of `evaluate` into an artifact, tables and a picture.

Graphs and weights of the artifact stay as they are; `metrics.json`, the last line of `MODEL_CARD.md` and the manifest's
hashes of both change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from personabench.bench.report import markdown, picture
from personabench.bench.results import Results, Row
from router_model.export.artifact import Artifact, read_manifest, seal_again

FIGURES = re.compile(r"Figures: .*\n")


def record(
    results: Annotated[list[Path], typer.Option(help="results.json of a run, may be repeated")],
    artifact: Annotated[Path, typer.Option(help="the artifact that was judged")],
    out: Annotated[Path, typer.Option(help="folder for RESULTS.md and curves.png")] = Path("runs/record"),
    more: Annotated[list[Path] | None, typer.Option(help="results.md of other commands, may be repeated")] = None,
) -> None:
    """Put the figures of finished runs into an artifact, and all their tables and curves into one page."""
    runs = [Results.load(path) for path in results]
    others = [path.read_text(encoding="utf-8") for path in more or []]
    write_metrics(artifact, runs)
    out.mkdir(parents=True, exist_ok=True)
    (out / "RESULTS.md").write_text(page(read_manifest(artifact).version, runs, others), encoding="utf-8")
    picture(Results({}, curves(runs)), out / "curves.png")
    Console().print(f"Written: {artifact / 'metrics.json'}, {out / 'RESULTS.md'}, {out / 'curves.png'}")


def under(command: object, text: str) -> str:
    """A table under the command that printed it."""
    return f"```\n{command}\n```\n\n{text}"


def page(version: str, runs: Sequence[Results], others: Sequence[str] = ()) -> str:
    """Every table under the command that printed it; `others`: pages that have it already."""
    parts = [
        f"# Figures of router model {version}",
        "",
        "Written by `python -m personabench record`; what the figures mean: `personabench/README.md`.",
        "",
    ]
    parts += [under(run.settings.get("command", ""), markdown(run, precise=True)) for run in runs]
    return "\n".join([*parts, *others])


def curves(runs: Sequence[Results]) -> list[Row]:
    """Rows without a shift; of several runs of one pool and kind of feedback the first speaks."""
    first: dict[tuple[str, str], Results] = {}
    for run in runs:
        for pool, feedback, _ in run.parts():
            first.setdefault((pool, feedback), run)
    return [row for (pool, feedback), run in first.items() for row in run.of(pool, feedback, "none")]


def write_metrics(folder: Path, runs: Sequence[Results]) -> None:
    """Replaces the artifact's figures. Raises `ArtifactError` where it isn't sound, before and after."""
    Artifact(folder)
    made = json.dumps({"runs": [run.as_dict() for run in runs]})
    text = json.dumps(json.loads(made, parse_float=lambda digits: round(float(digits), 4)), indent=1)
    # a row or figure a line
    text = re.sub(r"\n {5,}|\n {4}(?=[\]}])", " ", text)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    card = folder / "MODEL_CARD.md"
    card.write_text(FIGURES.sub("Figures: `metrics.json`.\n", card.read_text(encoding="utf-8")), encoding="utf-8")
    seal_again(folder, "metrics.json", "MODEL_CARD.md")
    Artifact(folder)
