"""The fields of a record, from the gateway's own table: `record.schema.json`, written by its tests."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

SCHEMA: dict[str, Any] = json.loads(resources.files(__package__).joinpath("record.schema.json").read_text("utf-8"))


def fields(kind: str) -> dict[str, Any]:
    """JSON schema of each field of an `interaction` or a `reward`, by its name."""
    found: dict[str, Any] = SCHEMA["$defs"][kind]["properties"]
    return found


REASONS: tuple[str, ...] = tuple(fields("interaction")["reason"]["anyOf"][0]["enum"])
"""How a selection came about; a later version may know others."""
