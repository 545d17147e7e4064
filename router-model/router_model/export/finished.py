"""A finished training's artifact, whatever network was trained: made aside, verified, then put in its place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_model.data.ability import AbilitySpec, VerbositySpec
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Artifact, EmbedderEntry, Source
from router_model.export.onnx import Exported, write_artifact
from router_model.network import Router
from router_model.priors.prior import CARD_FEATURES, ability_specs

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
GOLDEN_TEXTS = (
    "What is the capital of France?",
    "def f(xs):\n    return sorted(xs)[::-1]\n\nassert f([1, 3, 2]) == ??",
    "Übersetze ins Japanische: „Die Katze schläft.“ 🐈",
    "Solve $x^2 - 5x + 6 = 0$ for $x$.",
    "",
)


def write_finished(
    network: Router | Exported,
    folder: Path,
    version: str,
    *,
    embedder: StaticEmbedder,
    embedder_folder: Path,
    population: Mapping[str, Floats],
    sources: Mapping[str, str],
    usual: Floats | None,
    model_card: str,
    tools: Floats | None = None,
    card_reading: tuple[AbilitySpec, VerbositySpec] | None = None,
    forget: float = 1.0,
    metrics: Mapping[str, Any] | None = None,
) -> Artifact:
    """Writes the artifact to `folder`, which may exist, only once all of it is made and verified.

    `population`: evidence [V] of each training LLM; `sources`: data and licence; `usual` [n, E]: usual questions;
    `tools` [E]: what tools add to a query; `card_reading`: another one than this package's. Raises `ArtifactError`.
    """
    spec = embedder.spec
    aside = folder.with_name(f".{folder.name}.part")
    files = tuple(f"embedder/{name}" for name in ("embedder.json", spec.tokenizer, spec.vectors))
    try:
        write_artifact(
            aside,
            network,
            version=version,
            embedder=embedder_folder,
            embedder_entry=EmbedderEntry(kind="static", version=spec.version, dim=spec.dim, files=files),
            golden_texts={text: embedder.embed([text])[0] for text in GOLDEN_TEXTS},
            card_features=CARD_FEATURES,
            card_reading=card_reading or ability_specs(),
            usual=usual,
            tools=tools,
            population=population,
            aliases={name: many for name, many in ALIASES.items() if name in population},
            trained_on=[Source(name=name, licence=licence) for name, licence in sources.items()],
            forget=forget,
            metrics=metrics or {},
            model_card=model_card,
        )
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Artifact(folder)
