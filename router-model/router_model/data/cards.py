"""An LLM's card: what is publicly known of it, and the numbers that the model reads from that.

See "Card features" in ARTIFACT.md. The gateway computes the same numbers from its configuration, so every rule here
has its twin there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from router_model.data.ability import AbilitySpec, VerbositySpec, infer, log_verbosity, thinks, transformed
from router_model.places import DATA, HOME

Array = NDArray[np.float32]
Abilities = dict[str, dict[str, Any]]
"""Entries of the layout of `config/abilities.json` by plain name."""

CARDS_FILE = DATA / "cards.json"
SPEC_FILE = CARDS_FILE.with_name("ability.json")
ABILITIES_FILE = HOME.parent / "config" / "abilities.json"
CLIP = 4.0
_DAYS, _MONTHS = 30.44, 12.0

# Makers of LLMs by the beginning of a name, for data sets that don't say.
VENDORS = {
    "alpaca": "stanford",
    "aya": "cohere",
    "chatglm": "zhipu",
    "claude-": "anthropic",
    "claude2-alpaca": "community",
    "codegemma": "google",
    "cohere": "cohere",
    "command": "cohere",
    "deepseek": "deepseek",
    "evo": "community",
    "falcon": "tii",
    "gemini": "google",
    "gemma": "google",
    "gpt": "openai",
    "guanaco": "community",
    "humpback": "meta",
    "jina": "jina",
    "llama": "meta",
    "meta-llama": "meta",
    "minichat": "community",
    "mistral": "mistral",
    "mixtral": "mistral",
    "oasst": "laion",
    "openbuddy": "openbuddy",
    "pairrm-tulu": "allenai",
    "phi": "microsoft",
    "pythia": "eleutherai",
    "qwen": "qwen",
    "text_davinci": "openai",
    "tulu": "allenai",
    "ultralm": "openbmb",
    "vicuna": "lmsys",
    "wizardlm": "microsoft",
    "yi": "01-ai",
    "zephyr": "huggingface",
}


class FeatureSpec(Protocol):
    """One entry of the manifest's `card_features`."""

    @property
    def field(self) -> str:
        """Field of the card, `benchmarks.<name>` for a benchmark."""

    @property
    def transform(self) -> str:
        """`log10`, `identity` or `flag`."""

    @property
    def mean(self) -> float:
        """Subtracted after the transform."""

    @property
    def std(self) -> float:
        """Divides the difference."""


@dataclass(frozen=True)
class Card:
    """Public facts about an LLM; None where unknown.

    Prices in dollars per million tokens, size in billions of parameters.
    """

    name: str
    vendor: str
    description: str = ""
    input_price: float | None = None
    output_price: float | None = None
    context_window: int | None = None
    size_b: float | None = None
    open_weights: bool | None = None
    reasoning: bool | None = None
    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    benchmarks: Mapping[str, float] = field(default_factory=dict)
    thinking: bool | None = None
    effort: str | None = None
    ability: float | None = None
    ability_sd: float | None = None
    aspects: Mapping[str, float] = field(default_factory=dict)
    verbosity: Mapping[str, float] = field(default_factory=dict)
    released: float | None = None
    """Year, with its fraction."""

    @property
    def text(self) -> str:
        """Text of the card for the embedder."""
        return f"{self.vendor} {self.name}: {self.description}"

    def value(self, name: str) -> float | None:
        """A field by the manifest's name for it."""
        if name.startswith("benchmarks."):
            return self.benchmarks.get(name.removeprefix("benchmarks."))
        value: Any = getattr(self, name, None)
        return None if value is None else float(value)


def card_matrix(
    cards: Sequence[Card],
    spec: Sequence[FeatureSpec],
    ability: AbilitySpec | None = None,
    verbosity: VerbositySpec | None = None,
) -> Array:
    """Features [M, F]: standardised value and presence for each entry of `spec`, F = 2 x entries.

    `ability`, `verbosity`: what the derived fields (`derived`) are inferred by; older artifacts have none.
    """
    features = np.zeros((len(cards), 2 * len(spec)), dtype=np.float32)
    for row, card in enumerate(cards):
        found = derived(card, ability, verbosity)
        for column, entry in enumerate(spec):
            value = found[entry.field] if entry.field in found else card.value(entry.field)
            if value is not None:
                standardised = (transformed(value, entry.transform) - entry.mean) / entry.std
                features[row, 2 * column] = min(max(standardised, -CLIP), CLIP)
                features[row, 2 * column + 1] = 1.0
    return features


def derived(card: Card, ability: AbilitySpec | None, verbosity: VerbositySpec | None) -> dict[str, float]:
    """Fields that no card holds itself: `ability`, `ability_sd`, aspects of it, `thinking`, `log_verbosity`."""
    if ability is None or verbosity is None:
        return {}
    told = infer(card, ability)
    return {
        "ability": told.mean,
        "ability_sd": told.sd,
        **told.aspects,
        "thinking": float(thinks(card)),
        "log_verbosity": log_verbosity(card, verbosity),
    }


def price_matrix(cards: Sequence[Card]) -> Array:
    """Input and output price [M, 2]; an unknown price counts as 0, as in the gateway."""
    return np.array([[card.input_price or 0.0, card.output_price or 0.0] for card in cards], dtype=np.float32)


def known_card(name: str) -> Card | None:
    """The card that `data/cards.json` holds for a name, case-insensitive, without prices."""
    entry = _known().get(name.lower())
    return None if entry is None else Card(name=name, **entry)


def known_cards() -> list[Card]:
    """One card of each entry of `data/cards.json`."""
    entries = json.loads(CARDS_FILE.read_text(encoding="utf-8"))
    rest = [{key: value for key, value in entry.items() if key != "names"} for entry in entries]
    return [Card(name=entry["names"][0], **more) for entry, more in zip(entries, rest, strict=True)]


def card_for(row: Mapping[str, Any]) -> Card:
    """A card from a row of some data set's `llms.json`, completed by what is publicly known of that LLM."""
    name = str(row["name"])
    card = known_card(name) or _card_from_row(row)
    card = replace(card, input_price=row.get("input_price"), output_price=row.get("output_price"))
    effort = row.get("effort")
    return able(replace(card, effort=None if effort == "default" else effort), str(row.get("model") or name))


def able(card: Card, model: str, table: Abilities | None = None) -> Card:
    """The card with the ability, aspects and verbosity that a table holds for a model, if it does; by default
    `config/abilities.json`.
    """
    known = known_ability(model, table)
    if known is None:
        return card
    silent = known.get("thinks") is False and card.thinking is None and card.effort is None
    return replace(
        card,
        thinking=False if silent else card.thinking,
        ability=known["ability"],
        ability_sd=known["ability_sd"],
        released=years(known.get("released")) if card.released is None else card.released,
        aspects=known.get("aspects", {}),
        verbosity=known.get("verbosity", {}),
    )


def plain_name(model: str) -> str:
    """A model's name without provider, date and dots, by which the table of abilities is looked up."""
    base = re.sub(
        r"^(?:[a-z]+\.)*(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai)\.", "", model.lower()
    )
    name = re.sub(r"[.:_ @]", "-", base.rsplit("/", 1)[-1].removesuffix(":free"))
    name = re.sub(r"(-20\d{2}-?\d{2}-?\d{2}|-latest|-preview|-instruct|-chat|-it|-v\d+-0|-v0-\d)+$", "", name)
    return re.sub(r"^(?:meta-)?llama-v?(?=\d)", "llama-", re.sub(r"(?<=\d)p(?=\d)", "-", name))


def known_ability(model: str, table: Abilities | None = None) -> dict[str, Any] | None:
    """The entry of a table, by default `config/abilities.json`, for a model, by its name or by that without what hosts
    add to it.
    """
    name, table = plain_name(model), abilities() if table is None else table
    hosted = _HOST.match(model.lower()) or _SIZED.search(name)
    while name not in table:
        weights = _HOSTED.sub("", name)
        shorter = plain_name(_FAST.sub("", name) if hosted and weights == name else weights)
        if shorter == name:
            return None
        name = shorter
    return table[name]


# How a host serves it, not what it is: number formats, version of the same weights.
_HOSTED = re.compile(r"-(?:fp\d+|bf16|int\d|q\d[a-z0-9-]*|awq|gptq|gguf|versatile|maas|hf|tee|0\d\d|\d+k)$")
# How fast: to a host the same weights, to a maker a smaller model.
_FAST = re.compile(r"-(?:turbo|fast|instant)$")
_HOST = re.compile(
    r"(?:accounts/)?(?:baseten|cerebras|deepinfra|fireworks|friendli|groq|nebius|novita|parasail|sambanova|siliconflow"
    r"|together)(?:[-_]?ai)?/"
)
# Weights of so many parameters are open, and stay what they are.
_SIZED = re.compile(r"-e?(?:\d+x)?\d+b(?:-|$)")


@cache
def abilities() -> Abilities:
    """Entries of `config/abilities.json` by plain name; none where the file isn't there."""
    if not ABILITIES_FILE.is_file():
        return {}
    return by_plain_name(json.loads(ABILITIES_FILE.read_text(encoding="utf-8"))["models"])


def by_plain_name(models: Mapping[str, dict[str, Any]]) -> Abilities:
    """Entries by every plain name that a model has."""
    return {plain_name(name): entry for key, entry in models.items() for name in (key, *entry.get("names", ()))}


def _card_from_row(row: Mapping[str, Any]) -> Card:
    name, size = str(row["name"]), size_in_billions(row.get("size"))
    vendor = str(row.get("vendor") or row.get("provider") or vendor_of(name)).lower()
    open_weights = row.get("open_weights", True if size else None)
    kind = "open-weights chat model" if open_weights else "chat model"
    described = row.get("description") or (f"A {kind} of {size:g} billion parameters." if size else f"A {kind}.")
    known = {key: row[key] for key in ("context_window", "reasoning", "tools", "vision", "json_schema") if key in row}
    more = {"benchmarks": row.get("benchmarks", {}), "released": years(row.get("released"))}
    return Card(name, vendor, described, size_b=size, open_weights=open_weights, **more, **known)


def years(date: str | None) -> float | None:
    """2026-07-01 is 2026.5, and a month its middle; the gateway's `candidates/released.ts` computes the same."""
    if date is None:
        return None
    year, month, *day = (int(part) for part in date.split("-"))
    return round(year + (month - 1 + ((day[0] if day else 15) - 1) / _DAYS) / _MONTHS, 3)


def vendor_of(name: str) -> str:
    """Maker of an LLM by its name, as far as the beginning tells; "community" otherwise."""
    lower = name.lower()
    fitting = [prefix for prefix in VENDORS if lower.startswith(prefix)]
    return VENDORS[max(fitting, key=len)] if fitting else "community"


def size_in_billions(size: object) -> float | None:
    """70 of "70B", 56 of "8x7B"; None of anything else."""
    match = re.fullmatch(r"(?:(\d+)x)?(\d+(?:\.\d+)?)B", str(size))
    return float(match[1] or 1) * float(match[2]) if match else None


@cache
def _known() -> dict[str, dict[str, Any]]:
    entries = json.loads(CARDS_FILE.read_text(encoding="utf-8"))
    return {
        name.lower(): {key: value for key, value in entry.items() if key != "names"}
        for entry in entries
        for name in entry["names"]
    }
