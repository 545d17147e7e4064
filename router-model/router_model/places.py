"""Where this package's files lie: data, configurations, artifacts, runs."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parents[1]
ARTIFACTS, CONFIGS, DATA, EMBEDDERS, RUNS = (
    HOME / name for name in ("artifacts", "configs", "data", "embedders", "runs")
)


class NoArtifactError(ValueError):
    """There is none where one was looked for; the message says where."""


def find_artifact(name: str, *folders: Path) -> Path:
    """`current`: the link in the first of `folders` or the package that has one, else the newest there. Another name is
    a path.

    Raises `NoArtifactError`.
    """
    if name != "current":
        return Path(name)
    for folder in (*folders, ARTIFACTS):
        if (folder / "current").exists():
            return (folder / "current").resolve()
        versions = sorted((p for p in folder.glob("*/manifest.json")), key=lambda p: p.stat().st_mtime)
        if versions:
            return versions[-1].parent
    looked = ", ".join(str(folder) for folder in (*folders, ARTIFACTS))
    raise NoArtifactError(f"no artifact in {looked}; name one with --artifact")
