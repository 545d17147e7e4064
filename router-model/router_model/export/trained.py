"""From a trained router to an artifact and its model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from router_model.export.artifact import Artifact, Manifest, read_manifest, unpack_vector
from router_model.export.finished import write_finished
from router_model.train.train import TrainConfig, Trained

Floats = NDArray[np.float32]

MADE = "Made by "
BEFORE = "before"
"""Field of `metrics.json` with the figures of the artifact that this one was made of."""


def write_trained(trained: Trained, config: TrainConfig, folder: Path, version: str) -> Artifact:
    """As `write_finished`."""
    return write_finished(
        trained.router,
        folder,
        version,
        embedder=trained.embedder,
        embedder_folder=config.embedder,
        population=trained.population,
        sources=trained.sources,
        usual=trained.usual,
        tools=trained.tools,
        card_reading=trained.card_reading,
        model_card=model_card(trained, config, version),
        forget=config.forget,
        metrics=trained.metrics,
    )


def model_card(trained: Trained, config: TrainConfig, version: str) -> str:
    """MODEL_CARD.md."""
    data = "\n".join(f"- `{name}` ({licence})" for name, licence in trained.sources.items())
    size = sum(p.numel() for p in trained.router.parameters())
    return f"""# Router model {version}

Predicts the reward that a user would give each candidate LLM's answer to a query; see `router-model/README.md`.

- **Licence**: Apache-2.0. {size:,} parameters, four ONNX graphs, float32.
- **Trained on** outcomes of:
{data}
- **Users**: {config.people.users} simulated people of six kinds (`router_model/data/population.py`), seed
  {config.seed}, 70 % of them for training. No real person's data.
- **Intended use**: choosing among chat LLMs in a gateway whose users rate answers. It starts from what cards say and
  from average tastes, and becomes a user's own with that user's ratings.
- **Limits**: quality is learned from English benchmark questions with a checkable answer; open-ended writing is nearly
  unseen, and what a card says stands in for it. Scores of a candidate that the training data lacks rest on price, size
  and public benchmarks until outcomes arrive. Tastes are a simulator's: the prior is a guess about real people.
- **Not for** judging people, or quality of LLMs outside of routing.

{MADE}{trained.made or f"`python -m router_model train` from `configs/` with seed {config.seed}"}.
Figures: `metrics.json`{_whose(trained.metrics)}.
"""


def _whose(metrics: Mapping[str, Any]) -> str:
    before = metrics.get(BEFORE)
    if before is None:
        return "" if metrics else " (none yet)"
    return f"; what is under `{BEFORE}` there are figures of {before['of']}, not of this artifact"


def kept_tools(manifest: Manifest) -> Floats | None:
    """What an artifact's tools add to a query, for one that is made of it and reads alike."""
    return None if manifest.tools is None else unpack_vector(manifest.tools)


def figures_before(folder: Path) -> dict[str, Any]:
    """Of an artifact's `metrics.json`, what one that is made of it may tell: it says whose figures they are."""
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if set(found) <= {BEFORE}:  # themselves of an earlier one
        return cast("dict[str, Any]", found)
    return {BEFORE: {"of": read_manifest(folder).version, **found}}


def made_of(folder: Path, command: str) -> str:
    """How an artifact came to be, by its card, and what was run on it after that."""
    version = read_manifest(folder).version
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    lines = [line.removeprefix(MADE) for line in card.splitlines() if line.startswith(MADE)]
    before = f"{lines[-1].removesuffix('.')} ({version})" if lines else version
    return f"{before}, then `python -m router_model {command}`"
