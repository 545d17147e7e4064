"""`python -m router_model abilities`: `config/abilities.json`, and what cards are read by, from public figures."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from router_model.abilities.dates import CATALOGUE, date_of, read_dates
from router_model.abilities.figures import FITTED, SAME, SHIPPED, Figure, effort_of_setting, is_silent, read_figures
from router_model.abilities.fit import EFFORTS, Fitted, effort_changes, fit_abilities, fit_verbosity
from router_model.data.ability import VerbositySpec
from router_model.data.cards import (
    ABILITIES_FILE,
    CARDS_FILE,
    SPEC_FILE,
    Card,
    known_cards,
    plain_name,
    vendor_of,
    years,
)

# Cards call today's Arena rating, with style control, by its usual name.
RENAMED = {"arena_text": "arena_elo"}


def abilities(
    figures: Annotated[Path, typer.Option(help="models and their figures, in the layout of the file itself")],
    settings: Annotated[Path, typer.Option(help="llms.json of reply lengths by setting (bullshit_v2)")],
    dates: Annotated[
        Path | None, typer.Option(help="checkout of models.dev; dates stay as they are by default")
    ] = None,
    out: Annotated[Path, typer.Option(help="the table that the gateway reads")] = ABILITIES_FILE,
    spec: Annotated[Path, typer.Option(help="what `train` puts into the manifest")] = SPEC_FILE,
) -> None:
    """Fit one ability of each LLM to all its figures; pass on only figures whose terms allow that."""
    try:
        models, found = read_figures(figures)
        measured = read_settings(settings)
        released = read_dates(dates) if dates else dates_before(out)
    except (OSError, ValueError, KeyError) as error:
        raise typer.BadParameter(str(error)) from error
    used = [f for f in found if f.repository in SHIPPED or f.repository in FITTED]
    fitted, verbosity = fit(models, used, measured, released)
    table = table_of(models, found, fitted, measured, released)
    out.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    both = {"ability": fitted.spec.model_dump(), "verbosity": verbosity.model_dump()}
    spec.write_text(json.dumps(both, indent=1) + "\n", encoding="utf-8")
    Console().print(f"Written: {out} ({len(table['models'])} LLMs), {spec}")


def read_settings(path: Path) -> list[tuple[str, str | None, str, float]]:
    """(name of the setting, model, effort, tokens) of each setting that was asked the same prompts."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [
        (str(row["name"]), row.get("model"), str(row.get("effort") or "default"), float(row["mean_completion_tokens"]))
        for row in rows
        if row.get("mean_completion_tokens")
    ]


def dates_before(table: Path) -> dict[str, str]:
    """Dates by plain name that an earlier table holds. Raises `OSError`."""
    if not table.is_file():
        return {}
    entries = json.loads(table.read_text(encoding="utf-8"))["models"]
    return {
        plain_name(name): entry["released"]
        for key, entry in entries.items()
        if "released" in entry
        for name in (key, *entry["names"])
    }


def fit(
    models: Mapping[str, Mapping[str, Any]],
    figures: Sequence[Figure],
    measured: Sequence[tuple[str, str | None, str, float]],
    released: Mapping[str, str],
) -> tuple[Fitted, VerbositySpec]:
    """Abilities of the models and of the LLMs of the training data together, and verbosity."""
    own = [
        replace(card, released=years(date_of(names, released)))
        for card, names in zip(known_cards(), names_of_known(), strict=True)
    ]
    cards = [
        *(replace(card_of(name, entry, figures), released=years(date_of(names_of(name, figures), released)))
          for name, entry in models.items()),
        *own,
    ]  # fmt: skip
    first = fit_abilities(cards, dict.fromkeys(EFFORTS, 0.0))
    loads = {f.field: f.load for f in first.spec.figures}
    changes = effort_changes(figures, loads, {name: str(entry.get("vendor")) for name, entry in models.items()})
    fitted = replace(first, spec=first.spec.model_copy(update={"effort": {k: round(v, 3) for k, v in changes.items()}}))
    tokens = [(vendor_of(name.split("/")[-1]), effort, n) for name, _, effort, n in measured if effort != "default"]
    return fitted, fit_verbosity([(vendor, "xhigh" if effort == "max" else effort, n) for vendor, effort, n in tokens])


def names_of(name: str, figures: Sequence[Figure]) -> list[str]:
    """Of a model: its own, and those of the settings that are it and nothing else."""
    names = {f.setting for f in figures if f.llm == name and effort_of_setting(f.setting) is None}
    names |= {other for other, model in SAME.items() if model == name}
    return [name, *sorted(n for n in names if " " not in n and "@" not in n and "(" not in n)]


def names_of_known() -> list[list[str]]:
    """Of the LLMs of `data/cards.json`, in its order."""
    return [list(entry["names"]) for entry in json.loads(CARDS_FILE.read_text(encoding="utf-8"))]


def card_of(name: str, entry: Mapping[str, Any], figures: Sequence[Figure]) -> Card:
    """A model's card with its best setting's figures."""
    best: dict[str, float] = {}
    for figure in figures:
        if figure.llm == name and figure.of_ability:
            field = RENAMED.get(figure.field, figure.field)
            best[field] = max(best.get(field, figure.value), figure.value)
    return Card(
        name=name,
        vendor=str(entry.get("vendor") or vendor_of(name)),
        input_price=entry.get("input_price"),
        output_price=entry.get("output_price"),
        context_window=entry.get("context_window"),
        reasoning=entry.get("reasoning"),
        benchmarks=best,
    )


def table_of(
    models: Mapping[str, Mapping[str, Any]],
    figures: Sequence[Figure],
    fitted: Fitted,
    measured: Sequence[tuple[str, str | None, str, float]],
    released: Mapping[str, str],
) -> dict[str, Any]:
    """What `config/abilities.json` holds."""
    lengths: dict[str, dict[str, float]] = defaultdict(dict)
    for _, model, effort, tokens in measured:
        if model:
            lengths[model]["xhigh" if effort == "max" else effort] = round(tokens)
    entries: dict[str, dict[str, Any]] = {}
    for name, entry in sorted(models.items()):
        if name in SAME:
            continue
        mean, sd = fitted.ability[name]
        shown: dict[str, Any] = {}
        for figure in figures:
            ours = figure.llm == name and figure.of_ability and figure.repository in SHIPPED
            if ours and figure.value > shown.get(figure.field, {"value": float("-inf")})["value"]:
                shown[figure.field] = {"value": figure.value, "as": figure.setting, "source": figure.source}
        called = names_of(name, figures)
        plain = {plain_name(n) for n in called} - {plain_name(name)}
        date = date_of(called, released)
        entries[name] = {
            "names": sorted(plain),
            "vendor": entry.get("vendor") or vendor_of(name),
            **({"thinks": False} if is_silent(plain_name(name)) else {}),
            **({"released": date} if date else {}),
            "ability": round(mean, 3),
            "ability_sd": round(sd, 3),
            "aspects": {k: round(v, 3) for k, v in fitted.aspects[name].items()},
            "verbosity": dict(sorted(lengths.get(name, {}).items())),
            "figures": dict(sorted(shown.items())),
        }
    taken = {plain_name(name) for name in entries} | {n for made in entries.values() for n in made["names"]}
    for card, called in zip(known_cards(), names_of_known(), strict=True):
        names, date = {plain_name(name) for name in called}, date_of(called, released)
        if card.benchmarks and not names & taken:
            mean, sd = fitted.ability[card.name]
            entries[plain_name(card.name)] = {
                "names": sorted(names - {plain_name(card.name)}),
                "vendor": card.vendor,
                **({"released": date} if date else {}),
                "ability": round(mean, 3),
                "ability_sd": round(sd, 3),
                "aspects": {k: round(v, 3) for k, v in fitted.aspects[card.name].items()},
                "verbosity": {},
                "figures": {},
            }
    claimed: dict[str, str] = {}
    for name in entries:
        claimed[plain_name(name)] = name
    for name, made in entries.items():
        made["names"] = [n for n in made["names"] if claimed.setdefault(n, name) == name]
    sources = [
        {"repository": repository, "licence": licence, "attribution": text}
        for repository, licence, text in [*((r, *told) for r, told in SHIPPED.items()), CATALOGUE]
    ]
    about = (
        "Ability: one number of each LLM at its best setting, mean 0 and deviation 1, fitted by "
        "`python -m router_model abilities` to all public figures; figures are those that may be passed on."
    )
    return {"about": about, "sources": sources, "models": entries}
