"""From the gateway's log to an artifact that passed its gates, or a report why not: docs/learning.md has the steps.

Training starts from the artifact's own base, not from what an earlier retraining made of it: so a row counts once
however often one retrains, and rows that were erased since leave no trace.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from router_model.embedding import StaticEmbedder
from router_model.evidence import Memory
from router_model.export.artifact import Artifact
from router_model.places import RUNS, find_artifact
from router_model.retrain.consent import GatewayConfig, choose_tenants
from router_model.retrain.fit import fit
from router_model.retrain.gates import pass_gates
from router_model.retrain.judgement import Read, best_single_order, choices_of, judge
from router_model.retrain.log import LogError, LogSource, open_logs, shown_source
from router_model.retrain.logbook import read_logbook, with_queries
from router_model.retrain.options import Options, RetrainError, Watch
from router_model.retrain.plausible import extremes
from router_model.retrain.publish import default_out, next_version, owner_part, publish, set_metrics, write_new
from router_model.retrain.refit import held_out, readings_of
from router_model.retrain.renamed import RenamedLog
from router_model.retrain.replay import Model, replay
from router_model.retrain.report import Summary, metrics, write_report, write_run
from router_model.retrain.runner import llm_states
from router_model.retrain.sample import SampledLog, sample_of
from router_model.retrain.start import base_of, prepare
from router_model.train.weights import WEIGHTS_FILE, load_weights


def retrain(
    source: str | Sequence[str],
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
    sources = [source] if isinstance(source, str) else list(source)
    log_source: LogSource = open_logs(sources)  # first: it says what is wrong with an address
    shown = ", ".join(map(shown_source, sources))
    if config and config.renamed:
        log_source = RenamedLog(log_source, config.renamed)
    present = log_source.tenants()
    if not present:
        raise LogError(f"{shown}: an empty log: no row of any tenant")
    chosen = choose_tenants(present, tenants, shared, config)
    out = out or default_out(chosen, present, config)
    served = config.artifact if config else None
    current = Artifact(find_artifact(artifact, *([out, served.parent] if served else [out])))
    base = base_of(current)
    embedder = StaticEmbedder.load(current.folder / "embedder")

    sample = sample_of(log_source, chosen, options.most_rows)
    if sample:
        log_source = SampledLog(log_source, sample)
    with clock.step("read"):
        log = read_logbook(log_source, chosen, embedder, watch, base.router)
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
            choices = choices_of(log, judging, most=options.judged_rows, generator=generator)
            order = best_single_order(log, choices_of(log, ~judging, most=options.single_rows, generator=generator))
            log = with_queries(log, choices.answer, lambda a, b: watch("queries read as the log says", a, b))
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
            furthest = extremes(log, choices.answer, models[1], new, options.seed)
            read = Read(sample.share if sample else 1.0, options.most_rows, options.judged_rows)
            found = judge(log, choices, (old, new), readings, order, made, options.gamma, furthest)
            found = replace(found, read=read)
            set_metrics(made.folder, metrics(found))
            gates = pass_gates(made.folder, found, options.limits, options.waived)
        published = publish(made.folder, out, version) if all(gate.passed for gate in gates) else None
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    summary = Summary(
        version=version,
        current=current.manifest.version,
        at=datetime.now(UTC),
        source=shown,
        tenants=chosen,
        interactions=len(log.decisions),
        rewards=len(log.edges),
        users=len(log.users),
        held_out=int(judging.sum()),
        share_of_users=read.share,
        left_out=log.left_out,
        readings=fitted.readings,
        quality_calibration=fitted.quality,
        prior_users=fitted.prior_users,
        narrowed=fitted.narrowed,
        judgement=found,
        gates=gates,
        limits=options.limits,
        seconds=clock.seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2),
        published=published,
    )
    write_run(out, summary)
    return replace(summary, report=write_report(report or _new_folder(RUNS, version), summary))


def _new_folder(runs: Path, version: str) -> Path:
    """A refused version leaves its number to the next one: both reports are kept."""
    tries = 1
    while (folder := runs / (version if tries == 1 else f"{version}-try-{tries}")).exists():
        tries += 1
    return folder


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start
