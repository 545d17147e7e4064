"""Where this package's files lie: data, configurations, artifacts, runs."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parents[1]
ARTIFACTS, CONFIGS, DATA, EMBEDDERS, RUNS = (
    HOME / name for name in ("artifacts", "configs", "data", "embedders", "runs")
)


class NoArtifactError(ValueError):
    """There is none where one was looked for; the message says where."""


def find_artifact(name: str, out: Path) -> Path:
    """`current`: the link in `out`, else in the package, else the newest there. Another name is a path.

    Raises `NoArtifactError`.
    """
    if name != "current":
        return Path(name)
    for folder in (out, ARTIFACTS):
        if (folder / "current").exists():
            return (folder / "current").resolve()
        versions = sorted((p for p in folder.glob("*/manifest.json")), key=lambda p: p.stat().st_mtime)
        if versions:
            return versions[-1].parent
    raise NoArtifactError(f"no artifact in {out} or {ARTIFACTS}; name one with --artifact")
