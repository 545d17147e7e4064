"""When LLMs came out, as models.dev has it: a newer LLM is an abler one, before anybody has measured it.

`data/released.json` has what isn't there, and what only hosts tell, who began to serve at another time.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from router_model.data.cards import plain_name
from router_model.places import DATA

CATALOGUE = ("anomalyco/models.dev", "MIT", "models.dev: when models came out")
BY_HAND = DATA / "released.json"
_DATE = re.compile(r"^20\d{2}-\d{2}(?:-\d{2})?$")
# Folders of the makers themselves, the firmest first; of hosts the one in the middle speaks.
FIRST = (
    "models/",
    "providers/(?:alibaba|anthropic|cohere|deepseek|google|minimax|mistral|moonshotai|nvidia|openai|xai|zai)/",
)


def read_dates(folder: Path) -> dict[str, str]:
    """Date by plain name: by hand, else from the `*.toml` of a checkout, the makers' or else hosts'.

    Raises `OSError`, and `ValueError` for a folder without any.
    """
    left = sorted(path for path in folder.rglob("*.toml") if path.is_file())
    made: dict[str, str] = {}
    for pattern in (*FIRST, ""):
        own = [path for path in left if re.match(pattern, path.relative_to(folder).as_posix())]
        left = [path for path in left if path not in set(own)]
        found: dict[str, list[str]] = defaultdict(list)
        for path in own:
            with path.open("rb") as file:
                date = str(tomllib.load(file).get("release_date", ""))
            if _DATE.match(date):
                found[plain_name(path.stem)].append(date)
        made = {name: sorted(dates)[(len(dates) - 1) // 2] for name, dates in found.items()} | made
    if not made:
        raise ValueError(f"{folder}: no *.toml with a release_date")
    told = json.loads(BY_HAND.read_text(encoding="utf-8"))["released"]
    return made | {plain_name(name): date for name, date in told.items()}


def date_of(names: Iterable[str], dates: Mapping[str, str]) -> str | None:
    """Of an LLM that has several names; the earliest."""
    found = [dates[plain] for plain in map(plain_name, names) if plain in dates]
    return min(found, default=None)
