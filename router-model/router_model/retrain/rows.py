"""Rows of a Redis log: lists of a document's values, by the gateway's own table (`record.schema.json`)."""

from __future__ import annotations

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


def document_of(row: list[Any]) -> Document:
    """The document that a row was made of, without the prompt's text. Values beyond the known names are left out."""
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
