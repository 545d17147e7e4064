"""Candidates as a table and as a list, right and wrong. That the gateway's own tables are read: `test_log.py`."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_model.retrain.candidates import Column, candidates
from router_model.retrain.log import LogError

COLUMNS: tuple[Column, ...] = ("mean", "std", "predicted_cost_usd", "propensity")


def table(names: list[str], **columns: list[float]) -> dict[str, Any]:
    float32 = np.array(list(columns.values()), "<f4").tobytes()
    return {"names": names, "columns": list(columns), "float32": base64.b64encode(float32).decode()}


number = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.text(), st.tuples(number, number, number, number))))
def test_both_forms_say_the_same(rows: list[tuple[str, tuple[float, float, float, float]]]) -> None:
    names = [name for name, _ in rows]
    numbers: dict[str, list[float]] = {column: [each[i] for _, each in rows] for i, column in enumerate(COLUMNS)}
    listed = [{"name": name} | dict(zip(COLUMNS, each, strict=True)) for name, each in rows]
    for column in COLUMNS:
        assert candidates(table(names, **numbers), column) == (names, numbers[column])
        assert candidates(listed, column) == (names, numbers[column])


def test_a_fallback_router_has_no_means() -> None:
    row: dict[str, Any] = {"name": "a", "mean": None, "std": None, "predicted_cost_usd": 0.5, "propensity": 1}
    for scored in (table(["a"], predicted_cost_usd=[0.5], propensity=[1]), [row]):
        for column in COLUMNS[:2]:
            names, values = candidates(scored, column)
            assert names == ["a"]
            assert np.isnan(values).all()
        assert candidates(scored, "propensity") == (["a"], [1])


GOOD = table(["a", "b"], predicted_cost_usd=[1, 2], propensity=[0.25, 0.75])


@pytest.mark.parametrize(
    ("scored", "says"),
    [
        (GOOD | {"names": ["a"]}, "cannot reshape"),
        (GOOD | {"columns": ["propensity"]}, "cannot reshape"),
        (GOOD | {"columns": ["predicted_cost_usd", "x"]}, "propensity"),
        (GOOD | {"float32": "%%%%"}, "can't be read"),
        (GOOD | {"float32": None}, "can't be read"),
        ({"names": ["a"]}, "columns"),
        ([{"name": "a"}], "propensity"),
        ([{"name": "a", "propensity": None}], "no finite number"),
        ("a", "can't be read"),
        (None, "can't be read"),
        (table(["a"], propensity=[np.nan]), "no finite number"),
        (table(["a"], propensity=[np.inf]), "no finite number"),
    ],
)
def test_what_cannot_be_read_is_refused(scored: Any, says: str) -> None:
    with pytest.raises(LogError, match=re.escape(says)):
        candidates(scored, "propensity")
