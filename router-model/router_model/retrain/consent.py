"""Tenants and candidates of the gateway's configuration, as far as retraining needs them.

Tenants' rows train a model together only where each of them says `share_training: true`; and a model goes only to
tenants that gave rows to it, or to all if every tenant said so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from router_model.data.cards import Card, able, known_card, vendor_of, years
from router_model.retrain.policy import Gamma

CAPABILITIES = ("tools", "vision", "json_schema")


class ConsentError(ValueError):
    """Rows that may not be used together; the message says what would be allowed."""


@dataclass(frozen=True)
class GatewayConfig:
    """The part of `config/gateway.yaml` that matters here."""

    sharing: dict[str, bool]
    """Tenant -> `share_training`."""
    cards: dict[str, Card]
    """Candidate name -> its card, as the gateway makes it (prices may be missing: then its catalogue has them)."""
    gamma: Gamma = field(default_factory=Gamma)
    """How much it explores."""
    artifact: Path | None = None
    """`router.artifact`: what is served now, or a link to it."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Former names of candidates (`formerly`) -> what they are called now."""


def read_config(path: Path) -> GatewayConfig:
    """Reads the gateway's YAML with its includes. Raises `ConsentError` where there is none."""
    main = _load(path)
    sharing = {
        str(t["name"]): bool(t.get("share_training", False)) for t in main.get("tenants") or [{"name": "default"}]
    }
    entries = list(main.get("candidates") or [])
    for name in main.get("include") or []:
        entries += _load(path.parent / str(name)).get("candidates") or []
    cards: dict[str, Card] = {}
    renamed: dict[str, str] = {}
    for entry in entries:
        cards.setdefault(str(entry["name"]), _card(entry))
        renamed |= {str(old): str(entry["name"]) for old in entry.get("formerly") or []}
    explore = (main.get("router") or {}).get("gamma") or {}
    served = (main.get("router") or {}).get("artifact")
    return GatewayConfig(
        sharing,
        cards,
        Gamma(**{name: float(value) for name, value in explore.items()}),
        Path(str(served)) if served else None,
        renamed,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = _with_variables(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConsentError(f"{path}: {error}") from error
    if not isinstance(loaded, dict):
        raise ConsentError(f"{path}: not a configuration")
    return loaded


VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def _with_variables(value: Any) -> Any:
    """`${VAR}` and `${VAR:-default}` as the gateway reads them; what nothing is known of is left out."""
    if isinstance(value, dict):
        return {key: found for key, item in value.items() if (found := _with_variables(item)) is not None}
    if isinstance(value, list):
        return [found for item in value if (found := _with_variables(item)) is not None]
    if not isinstance(value, str) or "${" not in value:
        return value
    text = VARIABLE.sub(lambda found: os.environ.get(found[1]) or found[2] or "", value)
    if NUMBER.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text or None)


def _card(entry: dict[str, Any]) -> Card:
    model = str(entry.get("model") or entry["name"])
    price = entry.get("price") or {}
    stated = entry.get("capabilities")
    can: dict[str, Any] = {name: (name in stated) if stated is not None else None for name in CAPABILITIES}
    defaults = entry.get("defaults") or {}
    thinking = {"enabled": True, "disabled": False}.get(str((defaults.get("thinking") or {}).get("type")))
    effort = entry.get("effort") or defaults.get("reasoning_effort")
    card = Card(
        name=str(entry["name"]),
        vendor=str(entry.get("vendor") or vendor_of(model)).lower(),
        description=str(entry.get("description") or ""),
        input_price=price.get("input"),
        output_price=price.get("output"),
        context_window=entry.get("context_window"),
        size_b=entry.get("size_b"),
        open_weights=entry.get("open_weights"),
        reasoning=entry.get("reasoning"),
        thinking=entry.get("thinking", thinking),
        effort=effort,
        released=years(str(entry["released"])) if entry.get("released") else None,
        benchmarks=entry.get("benchmarks") or {},
        **can,
    )
    # All of one entry, as the gateway's `catalogue.ts` finds it.
    by_model = able(card, str(entry.get("known_as") or model))
    card = able(card, str(entry["name"])) if by_model is card else by_model
    measured = entry.get("verbosity")
    return replace(card, verbosity={effort or "default": float(measured)}) if measured else card


def cards_of(names: Sequence[str], prices: Any, config: GatewayConfig | None) -> list[Card]:
    """A card for every LLM of a log: the configuration's, else what is publicly known, else its name alone.

    A price that isn't stated is the one that fits what its answers cost (`prices` [M, 2], NaN = not known).
    """
    made = []
    for name, (fitted_in, fitted_out) in zip(names, prices, strict=True):
        card = (config.cards.get(name) if config else None) or able(
            known_card(name) or Card(name, vendor_of(name)), name
        )
        if card.input_price is None and fitted_in == fitted_in:
            card = replace(card, input_price=float(fitted_in), output_price=float(fitted_out))
        made.append(card)
    return made


def choose_tenants(
    present: Sequence[str], named: Sequence[str], shared: bool, config: GatewayConfig | None
) -> list[str]:
    """Tenants whose rows train one model. `named`: asked for one by one; `shared`: all that share.

    Raises `ConsentError` for tenants that have no rows, and for several tenants that haven't all opted in.
    """
    missing = sorted(set(named) - set(present))
    if missing:
        raise ConsentError(f"no rows of {', '.join(missing)}; there are rows of {', '.join(present) or 'no tenant'}")
    sharing = config.sharing if config else {}
    if shared:
        if config is None:
            raise ConsentError("--shared needs --config: only the gateway's configuration says which tenants share")
        named = [tenant for tenant in present if sharing.get(tenant)]
        if not named:
            raise ConsentError(f"none of {', '.join(present)} has share_training: true in the configuration")
    if not named:
        if len(present) != 1:
            raise ConsentError(
                f"rows of {', '.join(present) or 'no tenant'}: name one with --tenant, or all that share with --shared"
            )
        named = present
    chosen = sorted(set(named))
    unwilling = [tenant for tenant in chosen if not sharing.get(tenant)] if len(chosen) > 1 else []
    if unwilling:
        raise ConsentError(
            f"{', '.join(unwilling)} did not opt in (share_training) to a model that other tenants train or use too: "
            "retrain each tenant alone"
        )
    return chosen


def may_serve_all(chosen: Sequence[str], present: Sequence[str], config: GatewayConfig | None) -> bool:
    """Whether a model of these tenants' rows may go where every tenant of the gateway gets it.

    Yes where there are no other tenants, in the log (`present`) or in the configuration, or where all of them share.
    """
    sharing = config.sharing if config else {}
    everybody = {*present, *sharing, *chosen}
    return everybody == set(chosen) or all(sharing.get(tenant, False) for tenant in everybody)
