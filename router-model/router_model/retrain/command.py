"""`python -m router_model retrain`: from the gateway's log to an artifact that passed its gates, or a report why not.

docs/learning.md explains each step. Training starts from the artifact's own base, not from what an earlier retraining
made of it: so a row counts once however often one retrains, and rows that were erased since leave no trace.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from router_model.data.cards import Card, card_matrix, code_matrix, price_matrix
from router_model.embedding import Embedder, StaticEmbedder
from router_model.export.artifact import Artifact, ArtifactError, Source, digest, read_manifest, unpack_vector
from router_model.export.onnx import write_artifact
from router_model.memory import Memory
from router_model.model import Router
from router_model.priors.user import write_prior
from router_model.retrain.consent import (
    ConsentError,
    GatewayConfig,
    cards_of,
    choose_tenants,
    may_serve_all,
    read_config,
)
from router_model.retrain.gates import NAMES, Limits, pass_gates
from router_model.retrain.judgement import JudgeError, best_single_order, choices_of, evenly, judge
from router_model.retrain.log import LogError, open_log, shown_source
from router_model.retrain.logbook import Logbook, read_logbook
from router_model.retrain.places import ARTIFACTS, NoArtifactError, find_artifact
from router_model.retrain.policy import Gamma
from router_model.retrain.refit import (
    KindReading,
    beliefs,
    calibrate_quality,
    copy_of,
    fit_prior,
    fit_readings,
    held_out,
    llm_evidence,
    readings_of,
)
from router_model.retrain.replay import Ints, Model, replay
from router_model.retrain.report import Summary, metrics, write_report
from router_model.retrain.runner import TorchRunner, llm_states
from router_model.train.weights import WEIGHTS_FILE, WeightsError, load_weights

RUNS = Path(__file__).parents[2] / "runs"
REFUSED = 3
OWNER_CHARS = 40

Watch = Callable[[str, int, int], None]


class RetrainError(ValueError):
    """Nothing can be trained; the message says what is missing."""


@dataclass(frozen=True)
class Options:
    """How much of the log each step looks at, and how it is judged."""

    held_out: float = 0.2
    """Share of the users that are kept for judging."""
    prior_users: int = 1000
    """At most so many users teach the prior: 350 kB of evidence each, and tastes of a thousand people say it all."""
    reading_users: int = 400
    """At most so many users' histories are gone through to learn how rewards speak."""
    judged_rows: int = 20_000
    """At most so many rewards of held-out users are judged, spread evenly over these users."""
    evidence_edges: int = 300_000
    """At most so many of the newest rewards go into what is known of LLMs."""
    gamma: Gamma = field(default_factory=Gamma)
    limits: Limits = field(default_factory=Limits)
    waived: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Base:
    """Where training starts: weights and population evidence without any log."""

    router: Router
    population: dict[str, np.ndarray]
    files: dict[str, bytes]
    """To be kept in the new artifact, so that the next retraining starts here, too."""


@dataclass(frozen=True)
class Prepared:
    """The candidates of a log as inputs of llm.onnx."""

    cards: list[Card]
    inputs: dict[str, np.ndarray]
    keys: list[str]
    """[M] name in `population.json`."""
    base_evidence: np.ndarray
    """[M, V]"""


def base_of(artifact: Artifact) -> Base:
    """The base of an artifact: itself, unless it came from a log. Raises `WeightsError`."""
    folder = artifact.folder / "base" if (artifact.folder / "base").is_dir() else artifact.folder
    names = (WEIGHTS_FILE, "population.json")
    router = load_weights(folder / WEIGHTS_FILE)
    population = json.loads((folder / "population.json").read_text())
    return Base(
        router,
        {name: unpack_vector(data) for name, data in population.items()},
        {f"base/{name}": (folder / name).read_bytes() for name in names},
    )


def prepare(log: Logbook, artifact: Artifact, base: Base, embedder: Embedder, config: GatewayConfig | None) -> Prepared:
    """Cards and codes of every LLM in the log, and what the base knows of it."""
    cards = cards_of(log.llms, log.price, config)
    dims = artifact.manifest.dims
    known = {name.lower(): name for name in base.population}
    for name, others in artifact.manifest.aliases.items():
        if name in base.population:
            known |= {other.lower(): name for other in others if other.lower() not in known}
    keys = [known.get(card.name.lower(), card.name) for card in cards]
    nothing = np.zeros(dims.V, np.float32)
    return Prepared(
        cards,
        {
            "card": card_matrix(
                cards, artifact.manifest.card_features, artifact.manifest.ability, artifact.manifest.verbosity
            ),
            "text": embedder.embed([card.text for card in cards]),
            "provider_code": code_matrix([card.vendor for card in cards], dims.P),
            "name_code": code_matrix([card.name for card in cards], dims.C),
            "price": price_matrix(cards),
        },
        keys,
        np.stack([base.population.get(key, nothing) for key in keys]),
    )


@dataclass
class Fitted:
    """What `fit` makes."""

    router: Router
    population: dict[str, np.ndarray]
    evidence_before: np.ndarray
    """[M, V], base and log, as the base hears it: what the current artifact knows of LLMs by now."""
    evidence: np.ndarray
    """[M, V], as the new one hears it."""
    readings: tuple[list[KindReading], list[KindReading]]
    quality: tuple[float, float, int]
    prior_users: int


def fit(
    log: Logbook, base: Base, prepared: Prepared, fade: float, judging: np.ndarray, options: Options, watch: Watch
) -> Fitted:
    """Learns from the users that are not kept for judging; see `refit`."""
    generator = np.random.default_rng(options.seed)
    router = copy_of(base.router)
    runner, memory = TorchRunner(router), Memory.of_sizes(router.sizes, fade)
    taught = log.edges.only(~judging[log.edges.user])
    if len(taught) == 0:
        raise RetrainError("no rewards to learn from: nobody but held-out users has rated an answer")
    newest = taught.only(np.sort(np.argsort(taught.ts, kind="stable")[-options.evidence_edges :]))

    def evidence_by(z: np.ndarray, name: str) -> np.ndarray:
        added = llm_evidence(Model(runner, z, memory), log, newest, lambda a, b: watch(name, a, b))
        return prepared.base_evidence + added

    first = evidence_by(llm_states(runner, prepared.inputs, prepared.base_evidence), "evidence on LLMs")
    model = Model(runner, llm_states(runner, prepared.inputs, first), memory)
    users, counts = np.unique(taught.user, return_counts=True)
    before = readings_of(router)
    believed = beliefs(
        router,
        model,
        log,
        _some(users, options.reading_users, generator),
        lambda a, b: watch("how rewards speak", a, b),
    )
    readings = fit_readings(router, log, taught, believed)
    quality = calibrate_quality(router, log, taught, believed)
    teachers = _some(users[counts >= 3], options.prior_users, generator)
    if len(teachers):
        for _ in range(ROUNDS):
            write_prior(router.user_node, fit_prior(router, model, log, teachers, lambda a, b: watch("tastes", a, b)))
    # What is usual, and so what a reward says of an LLM, depends on the prior: once more.
    evidence = evidence_by(model.z, "evidence on LLMs, again")
    population = dict(base.population) | dict(zip(prepared.keys, evidence.astype(np.float32), strict=True))
    return Fitted(router, population, first, evidence, (before, readings), quality, len(teachers))


def _some(users: Ints, most: int, generator: np.random.Generator) -> Ints:
    return np.sort(generator.permutation(users)[:most])


def next_version(out: Path, now: datetime, current: str, owner: str = "") -> str:
    """`YYYY.MM.DD-n`, the first that is free in `out` and not the current artifact's; with `-<owner>` where it is not
    for everybody. A gateway that serves several tenants knows an artifact by this name.
    """
    day = now.strftime("%Y.%m.%d")
    tail = f"-{owner}" if owner else ""
    number = 1
    while (out / f"{day}-{number}{tail}").exists() or f"{day}-{number}{tail}" == current:
        number += 1
    return f"{day}-{number}{tail}"


def owner_part(chosen: Sequence[str], present: Sequence[str], config: GatewayConfig | None) -> str:
    """Whose a model is, as part of its version (at most 64 characters in all); empty where it is everybody's."""
    if may_serve_all(chosen, present, config):
        return ""
    names = "-".join(chosen)
    return names if len(names) <= OWNER_CHARS else hashlib.sha256(names.encode()).hexdigest()[:16]


def publish(made: Path, out: Path, version: str) -> Path:
    """Moves an artifact into `out` in one step, and then the link `current`: who watches never sees half of one.

    `made` must lie on the same file system. Raises `FileExistsError` where the version is there already.
    """
    target = out / version
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    for path in [*made.rglob("*"), made]:
        _sync(path)
    os.rename(made, target)
    link = out / f".current-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(version)
    os.replace(link, out / "current")
    _sync(out)
    return target


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def retrain(
    source: str,
    *,
    artifact: str = "current",
    out: Path | None = None,
    tenants: Sequence[str] = (),
    shared: bool = False,
    config: GatewayConfig | None = None,
    report: Path | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> Summary:
    """The whole of it. The artifact is published in `out` if all gates pass; the report is written either way.

    Raises `LogError`, `ConsentError`, `ArtifactError`, `WeightsError`, `JudgeError`, `NoArtifactError` or
    `RetrainError` where nothing can be made.
    """
    options = options or Options()
    watch = watch or (lambda *_: None)
    clock = _Clock()
    log_source = open_log(source)
    present = log_source.tenants()
    chosen = choose_tenants(present, tenants, shared, config)
    out = out or default_out(chosen, present, config)
    current = Artifact(find_artifact(artifact, out))
    base = base_of(current)
    embedder = StaticEmbedder.load(current.folder / "embedder")

    with clock.step("read"):
        log = read_logbook(log_source, chosen, embedder, watch)
    if len(log.edges) == 0:
        raise RetrainError(
            f"{len(log.decisions):,} interactions but no usable reward; left out: {log.left_out or 'nothing'}"
        )
    judging = held_out(log.users, options.held_out)
    prepared = prepare(log, current, base, embedder, config)
    fade = current.manifest.forget.per_reward
    with clock.step("fit"):
        fitted = fit(log, base, prepared, fade, judging, options, watch)

    out.mkdir(parents=True, exist_ok=True)
    owner = owner_part(chosen, present, config)
    version = next_version(out, datetime.now(UTC), current.manifest.version, owner)
    workshop = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=out))
    try:
        with clock.step("judge"):
            made = write_new(workshop / version, current, base, fitted, version, chosen)
            generator = np.random.default_rng(options.seed)
            choices = evenly(choices_of(log, judging), options.judged_rows, generator)
            order = best_single_order(log, choices_of(log, ~judging))
            # The current artifact as the gateway runs it by now: it, too, has heard these rewards.
            heard = ((current, fitted.evidence_before), (made, fitted.evidence))
            models = [
                Model(a, llm_states(a, prepared.inputs, evidence), Memory.of(a.manifest)) for a, evidence in heard
            ]
            names = ("judging the current artifact", "judging the new artifact")
            old, new = (
                replay(model, log, choices.answer, lambda a, b, name=name: watch(name, a, b))  # type: ignore[misc]
                for model, name in zip(models, names, strict=True)
            )
            readings = (readings_of(load_weights(current.folder / WEIGHTS_FILE)), fitted.readings[1])
            found = judge(log, choices, (old, new), readings, order, made, options.gamma)
            set_metrics(made.folder, metrics(found))
            gates = pass_gates(made.folder, found, options.limits, options.waived)
        published = publish(made.folder, out, version) if all(gate.passed for gate in gates) else None
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    summary = Summary(
        version=version,
        current=current.manifest.version,
        source=shown_source(source),
        tenants=chosen,
        interactions=len(log.decisions),
        rewards=len(log.edges),
        users=len(log.users),
        held_out=int(judging.sum()),
        left_out=log.left_out,
        readings=fitted.readings,
        quality_calibration=fitted.quality,
        prior_users=fitted.prior_users,
        judgement=found,
        gates=gates,
        limits=options.limits,
        seconds=clock.seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2),
        published=published,
    )
    write_report(report or RUNS / version, summary)
    return summary


def write_new(
    folder: Path, current: Artifact, base: Base, fitted: Fitted, version: str, tenants: Sequence[str]
) -> Artifact:
    """The artifact of what was fitted; everything else as in the current one."""
    manifest = current.manifest
    golden = json.loads((current.folder / "golden.json").read_text())
    donors = [Source(name=f"log of {tenant}", licence="private") for tenant in tenants]
    kept = [source for source in manifest.trained_on if source.licence != "private"]
    learned = f"Retrained on artifact {manifest.version} from the log of {', '.join(tenants)}: not for others' users.\n"
    return write_artifact(
        folder,
        fitted.router,
        version=version,
        embedder=current.folder / "embedder",
        embedder_entry=manifest.embedder,
        golden_texts={entry["text"]: unpack_vector(entry["vector"]) for entry in golden["embed"]},
        card_features=manifest.card_features,
        card_reading=(manifest.ability, manifest.verbosity) if manifest.ability and manifest.verbosity else None,
        usual=unpack_vector(manifest.usual) if manifest.usual else None,
        population=fitted.population,
        aliases=manifest.aliases,
        trained_on=[*kept, *donors],
        forget=manifest.forget.per_reward,
        metrics={},
        model_card=f"# Router {version}\n\n{learned}",
        more=base.files,
    )


def set_metrics(folder: Path, found: Mapping[str, object]) -> None:
    """Fills in `metrics.json`, and its hash in the manifest: an artifact is judged before it is finished."""
    path = folder / "metrics.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    manifest = read_manifest(folder)
    updated = manifest.model_copy(update={"files": manifest.files | {path.name: digest(path)}})
    (folder / "manifest.json").write_text(updated.model_dump_json(by_alias=True, indent=2) + "\n")


def default_out(chosen: Sequence[str], present: Sequence[str], config: GatewayConfig | None) -> Path:
    """The package's artifacts if everybody may have the model, else a folder of the tenant's own."""
    if may_serve_all(chosen, present, config):
        return ARTIFACTS
    if len(chosen) == 1:
        return ARTIFACTS / "tenants" / chosen[0]
    raise ConsentError(
        "not every tenant shares, so this model must not go where all are served from: name a directory with --out"
    )


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def command(
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="redis://…, redis-cluster://…, redis-sentinel://…, sqlite:<file>, or a .jsonl or .jsonl.gz file",
        ),
    ],
    artifact: Annotated[str, typer.Option(help="what to improve on: `current` or a directory")] = "current",
    out: Annotated[Path | None, typer.Option(help="where artifacts lie; the gateway watches it")] = None,
    tenant: Annotated[list[str] | None, typer.Option(help="whose rows (again for several, who must all share)")] = None,
    shared: Annotated[bool, typer.Option(help="the rows of all tenants with share_training: true")] = False,
    config: Annotated[
        Path | None, typer.Option(help="the gateway's configuration: who shares, and the candidates' cards")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="directory of the report; default: router-model/runs/<version>")
    ] = None,
    waive: Annotated[list[str] | None, typer.Option(help=f"measure a gate but let it pass: {', '.join(NAMES)}")] = None,
    value_margin: Annotated[
        float, typer.Option(help="how much worse than the current policy may be, at the lower end")
    ] = 0.01,
    tenant_loss: Annotated[float, typer.Option(help="how much any tenant may lose")] = 0.02,
    held: Annotated[float, typer.Option("--held-out", help="share of users kept for judging", min=0.05, max=0.9)] = 0.2,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Learn from the gateway's log; publish the artifact only if it passes every gate (exit code 3 if not)."""
    console = Console(stderr=True)
    unknown = sorted(set(waive or ()) - set(NAMES))
    if unknown:
        console.print(f"No such gate: {', '.join(unknown)}. There are: {', '.join(NAMES)}.")
        raise typer.Exit(2)
    torch.set_num_threads(1)
    limits = Limits(value_margin=value_margin, tenant_loss=tenant_loss)
    try:
        gateway = read_config(config) if config else None
        gamma = gateway.gamma if gateway else Gamma()
        options = Options(held_out=held, gamma=gamma, limits=limits, waived=tuple(waive or ()), seed=seed)
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
    written = report or RUNS / summary.version
    if summary.published is None:
        console.print(f"Refused; the current artifact stays. Report: {written / 'report.md'}")
        raise typer.Exit(REFUSED)
    console.print(f"Published {summary.published}. Report: {written / 'report.md'}")


@contextmanager
def _progress(console: Console) -> Iterator[Watch]:
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
