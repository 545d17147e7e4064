"""`python -m router_model train` and `export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from router_model.data.pools import DataError
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Artifact, ArtifactError, read_manifest, unpack_vector
from router_model.export.trained import figures_before, kept_tools, made_of, write_trained
from router_model.places import ARTIFACTS, CONFIGS, RUNS, find_artifact
from router_model.priors.people import with_people
from router_model.train.recard import learn_cards
from router_model.train.tools_table import lines_of, tools_table
from router_model.train.train import TrainConfig, Trained, pools_of, task_groups, tools_of
from router_model.train.train import train as train_router
from router_model.train.weights import WEIGHTS_FILE, load_weights

MODELS = ("graph", "personalized-router")


def train(
    config: Annotated[Path, typer.Option(help="a file of configs/")] = CONFIGS / "small.yaml",
    version: Annotated[str, typer.Option(help="name of the artifact")] = "local",
    out: Annotated[Path, typer.Option(help="where artifacts are")] = ARTIFACTS,
    runs: Annotated[Path, typer.Option(help="where finished stages are kept")] = RUNS,
    metrics: Annotated[Path | None, typer.Option(help="results.json of `evaluate`, to go into the artifact")] = None,
    hold_out: Annotated[str, typer.Option(help="LLMs or makers that training never sees, comma-separated")] = "",
    threads: Annotated[int, typer.Option(min=1)] = 1,
    model: Annotated[str, typer.Option(help=f"one of {', '.join(MODELS)}")] = MODELS[0],
    reader: Annotated[
        str, typer.Option(help="of personalized-router: artifact whose encoder reads queries")
    ] = "current",
    steps: Annotated[int | None, typer.Option(min=1, help="of personalized-router: of each network")] = None,
) -> None:
    """Train a router and write it as an artifact; goes on where an earlier run of the same configuration stopped."""
    torch.set_num_threads(threads)
    console = Console()
    if model not in MODELS:
        raise typer.BadParameter(f"no model {model}; there are {', '.join(MODELS)}")
    try:
        settings = TrainConfig.load(config)
        settings.hold_out.extend(word.strip() for word in hold_out.split(",") if word.strip())
        if model == "personalized-router":
            _personalized(settings, find_artifact(reader), steps, out / version, version)
            console.print(f"Written: {out / version}")
            return
        trained = train_router(settings, runs)
        _publish(trained, settings, out / version, version, metrics)
    except (ArtifactError, DataError, ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    console.print(f"Written: {out / version}")


def export(
    config: Annotated[Path, typer.Option(help="the configuration of a finished run")] = CONFIGS / "small.yaml",
    version: Annotated[str, typer.Option(help="name of the artifact")] = "local",
    out: Annotated[Path, typer.Option(help="where artifacts are")] = ARTIFACTS,
    runs: Annotated[Path, typer.Option(help="where finished stages are kept")] = RUNS,
    metrics: Annotated[Path | None, typer.Option(help="results.json of `evaluate`, to go into the artifact")] = None,
) -> None:
    """Write a finished run's artifact again, for instance with the figures of `evaluate` in it."""
    settings = TrainConfig.load(config)
    if not (runs / settings.digest() / "people.pt").is_file():
        raise typer.BadParameter(f"{config}: no finished run of this configuration in {runs}; train first")
    train(config, version, out, runs, metrics, hold_out="", threads=1)


def _personalized(settings: TrainConfig, reader: Path, steps: int | None, folder: Path, version: str) -> None:
    from router_model.personalized.learn import LearnConfig
    from router_model.personalized.train import train as train_networks
    from router_model.personalized.write import write

    made = train_networks(settings, reader, LearnConfig(**({} if steps is None else {"steps": steps})))
    write(made, reader / "embedder", folder, version)


def cards(
    artifact: Annotated[Path, typer.Option(help="whose reading of queries and tastes stay")],
    version: Annotated[str, typer.Option(help="name of the new artifact")],
    config: Annotated[Path, typer.Option(help="a file of configs/")] = CONFIGS / "small.yaml",
    out: Annotated[Path, typer.Option(help="where artifacts are")] = ARTIFACTS,
    metrics: Annotated[Path | None, typer.Option(help="results.json of `evaluate`, to go into the artifact")] = None,
) -> None:
    """Learn anew what cards say, after `abilities`, and write a new artifact; takes seconds."""
    torch.set_num_threads(1)
    try:
        settings = TrainConfig.load(config)
        trained = learn_cards(artifact, settings)
        _publish(trained, settings, out / version, version, metrics)
    except (ArtifactError, DataError, ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(f"Written: {out / version}")


def people(
    artifact: Annotated[Path, typer.Option(help="whose weights stay")],
    version: Annotated[str, typer.Option(help="name of the new artifact")],
    config: Annotated[Path, typer.Option(help="a file of configs/")] = CONFIGS / "small.yaml",
    out: Annotated[Path, typer.Option(help="where artifacts are")] = ARTIFACTS,
) -> None:
    """Write an artifact again with the kinds of people of this package, and by its exporter; takes seconds."""
    torch.set_num_threads(1)
    try:
        settings = TrainConfig.load(config)
        kept = _kept(artifact, settings, "people")
        kept.router = with_people(kept.router)
        _publish(kept, settings, out / version, version, None)
    except (ArtifactError, DataError, ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(f"Written: {out / version}")


def tools(
    artifact: Annotated[str, typer.Option(help="folder, or `current`, whose weights stay")],
    version: Annotated[str, typer.Option(help="name of the new artifact; none: print what this one's tools do")] = "",
    config: Annotated[Path, typer.Option(help="a file of configs/")] = CONFIGS / "small.yaml",
    out: Annotated[Path, typer.Option(help="where artifacts are")] = ARTIFACTS,
) -> None:
    """Learn anew what tools say of a query, and write a new artifact of the same weights; print how questions of the
    validation fold are read with tools; takes seconds.
    """
    torch.set_num_threads(1)
    try:
        settings, folder = TrainConfig.load(config), find_artifact(artifact)
        pools = pools_of(settings)
        if version:
            kept = _kept(folder, settings, "tools")
            kept.tools = tools_of(kept.router, pools, kept.embedder, settings)
            folder = out / version
            _publish(kept, settings, folder, version, None)
        made, embedder = Artifact(folder), StaticEmbedder.load(settings.embedder)
        table = tools_table(
            made, load_weights(folder / WEIGHTS_FILE), pools, embedder, task_groups(settings)[0], settings.agents
        )
    except (ArtifactError, DataError, ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    console = Console()
    console.print("\n".join(lines_of(table)), markup=False, soft_wrap=True)
    if version:
        console.print(f"Written: {folder}")


def _kept(artifact: Path, settings: TrainConfig, command: str) -> Trained:
    """An artifact as if training had just made it, by a command that changes something of it."""
    manifest = read_manifest(artifact)
    population = json.loads((artifact / "population.json").read_text(encoding="utf-8"))
    usual = None if manifest.usual is None else unpack_vector(manifest.usual).reshape(-1, manifest.dims.E)
    return Trained(
        load_weights(artifact / WEIGHTS_FILE),
        StaticEmbedder.load(settings.embedder),
        {name: unpack_vector(data) for name, data in population.items()},
        {source.name: source.licence for source in manifest.trained_on},
        usual,
        figures_before(artifact),
        made_of(artifact, command),
        kept_tools(manifest),
        # What cards say was learned of what was inferred so; `cards` learns it anew.
        (manifest.ability, manifest.verbosity) if manifest.ability and manifest.verbosity else None,
    )


def _publish(trained: Trained, settings: TrainConfig, folder: Path, version: str, metrics: Path | None) -> None:
    if metrics is not None:
        trained.metrics = json.loads(metrics.read_text())
    write_trained(trained, settings, folder, version)
    read_manifest(folder)
