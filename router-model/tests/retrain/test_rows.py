"""Rows of a Redis log: `row.jsonl` is one that the gateway made, and its document (`codec.test.ts` writes it)."""

import base64
import json
from pathlib import Path

from router_model.retrain.candidates import candidates
from router_model.retrain.rows import document_of, shared_of, whole_row

PAIR = json.loads(Path(__file__).with_name("row.jsonl").read_text())


def test_a_row_is_read_as_its_document() -> None:
    """All fields, those that are null and those that are not there included."""
    assert document_of(PAIR["row"]) == PAIR["document"]


def test_a_row_is_whole_with_what_it_shares() -> None:
    """Names, and candidates told by their place."""
    sharing = PAIR["sharing"]
    name, ts = shared_of(sharing) or ("", 0)
    assert len(name) == 8
    assert ts == PAIR["document"]["ts"]
    numbers = base64.b64decode(PAIR["bytes"])
    assert document_of(whole_row(sharing, numbers, PAIR["shared"])) == PAIR["document"]
    assert shared_of(PAIR["row"]) is None
    # Of a row that ends before a place that is shared.
    short = sharing[:22]
    assert document_of(whole_row(short, numbers, PAIR["shared"]))["modalities"] == PAIR["document"]["modalities"]


def test_candidates_of_a_row_are_read_like_those_of_a_document() -> None:
    """Names and numbers, whatever the columns are called."""
    found = document_of(PAIR["row"])["candidates"]
    assert candidates(found, "propensity") == candidates(PAIR["document"]["candidates"], "propensity")


def test_what_was_left_out_is_left_out() -> None:
    """A row ends where the rest is null; values of a later version are passed by."""
    required = {name for name in PAIR["document"] if name not in ("shadow", "gain", "baseline_usd")}
    short = document_of(PAIR["row"][:-3])
    assert short == {name: value for name, value in PAIR["document"].items() if name in required}
    assert document_of([*PAIR["row"], "later"]) == PAIR["document"]
