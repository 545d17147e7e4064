"""A retrained artifact: its name and folder, what it holds, how it comes to be there in one step."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from router_model.export.artifact import Artifact, Source, seal_again, unpack_vector
from router_model.export.onnx import write_artifact
from router_model.places import ARTIFACTS
from router_model.retrain.consent import ConsentError, GatewayConfig, may_serve_all
from router_model.retrain.fit import Fitted
from router_model.retrain.start import Base

OWNER_CHARS = 40


def default_out(chosen: Sequence[str], present: Sequence[str], config: GatewayConfig | None) -> Path:
    """Where the gateway's artifact lies (the package's, where nothing is configured) if the model may serve all
    tenants, else a folder of the tenant's own beside it: there the gateway looks for it.
    """
    folder = config.artifact.parent if config and config.artifact else ARTIFACTS
    if may_serve_all(chosen, present, config):
        return folder
    if len(chosen) == 1:
        return folder / "tenants" / chosen[0]
    raise ConsentError(
        "not every tenant shares, so this model must not go where all are served from: name a directory with --out"
    )


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
    """Owner of a model, as part of its version (at most 64 characters in all); empty if it may serve all tenants."""
    if may_serve_all(chosen, present, config):
        return ""
    names = "-".join(chosen)
    return names if len(names) <= OWNER_CHARS else hashlib.sha256(names.encode()).hexdigest()[:16]


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
        tools=unpack_vector(manifest.tools) if manifest.tools else None,
        codes=manifest.codes,
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
    seal_again(folder, path.name)


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
