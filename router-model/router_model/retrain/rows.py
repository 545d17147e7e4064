"""Rows of a Redis log: lists of a document's values, by the gateway's own table (`record.schema.json`)."""

from __future__ import annotations

import base64
import struct
from typing import Any

from router_model.retrain.record import SCHEMA

Document = dict[str, Any]

_FORM: dict[str, Any] = SCHEMA["row"]
_NAMES: list[str] = _FORM["names"]
_OPTIONAL = frozenset(_FORM["optional"])
_FLAGS = frozenset(_FORM["flags"])
_NESTED: dict[str, list[str]] = _FORM["nested"]
_LISTS: dict[str, list[str]] = _FORM["lists"]
# The usual columns are told by their number, as `store/records/scored-candidates.ts` does.
_COLUMNS = {
    4: ["mean", "std", "predicted_cost_usd", "propensity"],
    2: ["predicted_cost_usd", "propensity"],
}


_SHARED: list[int] = [_NAMES.index(name) for name in _FORM["shared"]]
_TENANT, _TS, _CANDIDATES, _READING, _CHOSEN, _ATTEMPTS = (
    _NAMES.index(name) for name in ("tenant", "ts", "candidates", "reading", "chosen", "attempts")
)


def shared_of(row: list[Any]) -> tuple[str, int] | None:
    """Name of what the row shares with others, and the row's time in Unix milliseconds; None = it shares nothing."""
    tenant = row[_TENANT]
    return (tenant[0], row[_TS]) if isinstance(tenant, list) else None


def whole_row(row: list[Any], numbers: bytes, shared: list[Any]) -> list[Any]:
    """The row with what it shares, as `store/records/shared-row.ts` of the gateway does.

    `numbers`: float32 of the candidates, column by column, then scale (float64) and int8 of the reading. Raises
    `ValueError` where there are too few.
    """
    whole = row + [None] * (max(_SHARED) + 1 - len(row))
    for place, value in zip(_SHARED, shared, strict=True):
        whole[place] = value
    names, columns = whole[_CANDIDATES]
    end = 4 * len(names) * (columns if isinstance(columns, int) else len(columns))
    if len(numbers) < end:
        raise ValueError(f"{len(numbers)} bytes beside a row, not {end}")
    whole[_CANDIDATES] = [names, columns, base64.b64encode(numbers[:end]).decode()]
    if row[_READING] == 0:
        (scale,) = struct.unpack_from("<d", numbers, end)
        whole[_READING] = [base64.b64encode(numbers[end + 8 :]).decode(), scale]
    whole[_CHOSEN] = _named(names, row[_CHOSEN])
    whole[_ATTEMPTS] = [[_named(names, name), *rest] for name, *rest in row[_ATTEMPTS]]
    return whole


def _named(names: list[str], place: int | str) -> str:
    return place if isinstance(place, str) else names[place]


def document_of(row: list[Any]) -> Document:
    """The document that a whole row was made of, without the prompt's text. Values beyond known names are left out."""
    document: Document = {"text": None}
    for i, name in enumerate(_NAMES):
        value = row[i] if i < len(row) else None
        if value is None:
            if name not in _OPTIONAL:
                document[name] = None
        elif name in _OPTIONAL and value == []:
            document[name] = None
        elif name in _FLAGS:
            document[name] = value == 1
        elif name in _NESTED:
            document[name] = dict(zip(_NESTED[name], value, strict=False))
        elif name in _LISTS:
            document[name] = [dict(zip(_LISTS[name], each, strict=False)) for each in value]
        else:
            document[name] = value
    candidates = document["candidates"]
    if isinstance(candidates["columns"], int):
        candidates["columns"] = _COLUMNS[candidates["columns"]]
    return document
