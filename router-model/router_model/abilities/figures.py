"""Figures of LLMs with their sources, and which of them may be passed on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Sources whose terms let figures be passed on, with attribution.
SHIPPED = {
    "epoch-research/benchmark-stitching": ("MIT", "Epoch AI, benchmark-stitching"),
    "Aider-AI/aider": ("Apache-2.0", "Aider polyglot leaderboard"),
    "JonathanChavezTamales/llm-leaderboard": ("CC BY 4.0", "llm-leaderboard, makers' own figures"),
    "petergpt/bullshit-benchmark": ("MIT", "bullshit-benchmark v2: tokens of a reply"),
    "sierra-research/tau2-bench": ("MIT", "tau2-bench"),
    "vectara/hallucination-leaderboard": ("Apache-2.0", "Vectara hallucination leaderboard"),
}
# State no terms: they help to fit our one number, and are not passed on themselves.
FITTED = {"LiveBench/livebench.github.io", "lmarena/arena-catalog"}
# Served by their makers under another name than their weights have.
SAME = {"qwen3-coder-plus": "qwen3-coder-480b"}
# Think only where a request says how hard, though they can (by the billed tokens of requests that say nothing).
_SILENT = re.compile(r"^gpt-5-[1-9](?!.*(?:codex|pro))|flash-lite")
# No ability: what a task costs, how long it takes, and second copies of a figure.
_NO_ABILITY = re.compile(r"usd|tokens|chars|seconds|calls|_raw$|words")


@dataclass(frozen=True)
class Figure:
    """One published figure."""

    llm: str
    field: str
    value: float
    source: str
    """Repository and commit, and the file."""
    setting: str
    """The source's own name for what it tested."""

    @property
    def repository(self) -> str:
        """Where it was published."""
        return self.source.split("@")[0]

    @property
    def of_ability(self) -> bool:
        """Whether it says how able an LLM is."""
        return not _NO_ABILITY.search(self.field)


def read_figures(path: Path) -> tuple[dict[str, dict[str, Any]], list[Figure]]:
    """Models by name with what is known of them, and their figures. Raises `ValueError` for another layout."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    models: Mapping[str, Any] = entries.get("models", entries)
    figures = list(_figures(models))
    return {name: {k: v for k, v in entry.items() if k != "figures"} for name, entry in models.items()}, figures


def _figures(models: Mapping[str, Any]) -> Iterator[Figure]:
    for name, entry in models.items():
        if not isinstance(entry, dict):
            raise ValueError(f"{name}: no entry of a model")
        for field, many in entry.get("figures", {}).items():
            for one in many:
                yield Figure(name, field, float(one["value"]), str(one["source"]), str(one.get("as", "")))


def is_silent(model: str) -> bool:
    """Whether a model that can think doesn't unless it is told to; by its plain name."""
    return bool(_SILENT.search(model))


def effort_of_setting(setting: str) -> str | None:
    """Effort that a source's name for a setting tells: `none`, `minimal` … `xhigh`; None where it tells nothing."""
    text = setting.lower()
    if re.search(r"no.?think|nothink|non.?reason|reasoning=none", text):
        return "none"
    found = re.search(r"(?:^|[^a-z])(xhigh|high|medium|low|minimal|max)(?:$|[^a-z])", text)
    if found:
        return "xhigh" if found[1] == "max" else found[1]
    return "high" if re.search(r"think|[-_]\d+k", text) else None
