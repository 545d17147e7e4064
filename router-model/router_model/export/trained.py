"""From a trained router to an artifact: graphs, evidence of known LLMs, golden vectors, model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from router_model.export.artifact import Artifact, EmbedderEntry, Manifest, Source, read_manifest, unpack_vector
from router_model.export.onnx import write_artifact
from router_model.priors.prior import CARD_FEATURES, ability_specs
from router_model.train.train import TrainConfig, Trained

Floats = NDArray[np.float32]

# LLMs whose outcomes training holds, by the other names that a gateway's configuration may use for the same model.
ALIASES = {
    "claude-3-5-haiku-20241022": ("claude-3-5-haiku", "claude-3-5-haiku-latest", "anthropic/claude-3.5-haiku"),
    "claude-3-5-sonnet-20241022": ("claude-3-5-sonnet", "claude-3-5-sonnet-latest", "anthropic/claude-3.5-sonnet"),
    "claude-3-haiku-20240307": ("claude-3-haiku", "anthropic/claude-3-haiku"),
    "claude-3-opus-20240229": ("claude-3-opus", "claude-3-opus-latest", "anthropic/claude-3-opus"),
    "gpt-3.5-turbo-0125": ("gpt-3.5-turbo", "openai/gpt-3.5-turbo"),
    "gpt-4-1106-preview": ("gpt-4-turbo-preview",),
    "gpt-4o-2024-08-06": ("gpt-4o", "openai/gpt-4o"),
    "gpt-4o-mini-2024-07-18": ("gpt-4o-mini", "openai/gpt-4o-mini"),
    "Meta-Llama-3.1-8B-Instruct": ("llama-3.1-8b", "meta-llama/llama-3.1-8b-instruct", "llama3.1:8b"),
    "Meta-Llama-3.1-70B-Instruct": ("llama-3.1-70b", "meta-llama/llama-3.1-70b-instruct", "llama3.1:70b"),
    "Llama-3.1-405B-Instruct": ("llama-3.1-405b", "meta-llama/llama-3.1-405b-instruct"),
    "Mistral-Large-2": ("mistral-large-2407", "mistralai/mistral-large-2407"),
    "Qwen2-72B-Instruct": ("qwen2-72b", "qwen/qwen-2-72b-instruct"),
    "gemma-2-9b-it": ("gemma-2-9b", "google/gemma-2-9b-it", "gemma2:9b"),
    "gemma-2-27b-it": ("gemma-2-27b", "google/gemma-2-27b-it", "gemma2:27b"),
}
MADE = "Made by "
BEFORE = "before"
"""Field of `metrics.json` with the figures of the artifact that this one was made of."""
GOLDEN_TEXTS = (
    "What is the capital of France?",
    "def f(xs):\n    return sorted(xs)[::-1]\n\nassert f([1, 3, 2]) == ??",
    "Übersetze ins Japanische: „Die Katze schläft.“ 🐈",
    "Solve $x^2 - 5x + 6 = 0$ for $x$.",
    "",
)


def write_trained(trained: Trained, config: TrainConfig, folder: Path, version: str) -> Artifact:
    """Writes the artifact to `folder`, which may exist, only once all of it is made and verified."""
    spec = trained.embedder.spec
    aside = folder.with_name(f".{folder.name}.part")
    names = ("embedder.json", spec.tokenizer, spec.vectors)
    try:
        write_artifact(
            aside,
            trained.router,
            version=version,
            embedder=config.embedder,
            embedder_entry=EmbedderEntry(
                kind="static",
                version=spec.version,
                dim=spec.dim,
                files=tuple(f"embedder/{name}" for name in names),
            ),
            golden_texts={text: trained.embedder.embed([text])[0] for text in GOLDEN_TEXTS},
            card_features=CARD_FEATURES,
            card_reading=ability_specs(),
            usual=trained.usual,
            tools=trained.tools,
            population=trained.population,
            aliases={name: many for name, many in ALIASES.items() if name in trained.population},
            trained_on=[Source(name=name, licence=licence) for name, licence in trained.sources.items()],
            forget=config.forget,
            metrics=trained.metrics,
            model_card=model_card(trained, config, version),
        )
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Artifact(folder)


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
