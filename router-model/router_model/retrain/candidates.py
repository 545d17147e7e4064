"""The candidates of an interaction, in either of the forms that `docs/records.md` names."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import numpy as np

from router_model.retrain.log import LogError

Column = Literal["mean", "std", "predicted_cost_usd", "propensity"]


def candidates(scored: Any, column: Column) -> tuple[list[str], list[float]]:
    """Names and one number of each; NaN for a mean or std that is not there.

    `scored`: as stored, a table {names [m], columns [c], float32: base64 of little-endian [c, m]}, or as exported (and
    stored by earlier versions), a list of objects. Raises `LogError` for what is neither, and for numbers that aren't
    finite.
    """
    try:
        names, values = _table(scored, column) if isinstance(scored, dict) else _listed(scored, column)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise LogError(f"candidates of an interaction can't be read: {error!r}") from error
    optional = column in ("mean", "std")
    if not (np.isfinite(values) | (optional & np.isnan(values))).all():
        raise LogError(f"candidates of an interaction have a {column} that is no finite number")
    return names, values.tolist()


def _table(scored: dict[str, Any], column: Column) -> tuple[list[str], Any]:
    names, columns = scored["names"], scored["columns"]
    table = np.frombuffer(base64.b64decode(scored["float32"], validate=True), "<f4").reshape(len(columns), len(names))
    if column not in columns and column in ("mean", "std"):
        return names, np.full(len(names), np.nan)
    return names, table[columns.index(column)]


def _listed(scored: list[dict[str, Any]], column: Column) -> tuple[list[str], Any]:
    return [one["name"] for one in scored], np.array([one[column] for one in scored], np.float64)
