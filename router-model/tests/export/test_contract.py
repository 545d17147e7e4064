"""ARTIFACT.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import SIZES, tiny_router

from router_model.export.artifact import read_manifest
from router_model.export.contract import CONTRACT, contract
from router_model.export.onnx import INPUTS, dims_of, outputs_of, realistic, results_of
from router_model.kinds import KINDS, OF_ANSWERS, REWARD_KINDS, TWO_SIDED
from router_model.network import PARTS

ARTIFACTS = sorted((Path(__file__).parents[2] / "artifacts").glob("[0-9]*"))


def test_tables_of_the_contract_are_those_of_the_code() -> None:
    text = CONTRACT.read_text(encoding="utf-8")
    assert contract(text) == text, "run: python -m router_model.export.contract"


def test_a_table_that_nothing_makes_is_refused() -> None:
    with pytest.raises(KeyError, match="verdicts"):
        contract("<!-- generated: verdicts -->\n<!-- end -->")


@pytest.mark.parametrize("graph", list(INPUTS))
def test_outputs_have_the_shapes_of_the_contract(graph: str) -> None:
    router, lengths = tiny_router(), {"B": 2, "M": 3, "N": 4, "U": 2, "A": 2}
    named = {**dims_of(SIZES).model_dump(), **lengths}
    found = outputs_of(router, graph, realistic(router, graph, lengths, 0))
    assert {name: list(value.shape) for name, value in found.items()} == {
        name: [named[letter] for letter in shape] for name, shape in results_of(graph, SIZES).items()
    }


@pytest.mark.parametrize("folder", ARTIFACTS, ids=lambda folder: folder.name)
def test_committed_artifacts_name_kinds_and_parts_as_the_code_does(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.kinds == KINDS
    assert manifest.parts == PARTS


def test_what_follows_from_the_table_of_kinds() -> None:
    assert [KINDS[kind] for kind in TWO_SIDED] == ["rating", "thumb", "preference", "judge"]
    assert [KINDS[kind] for kind in OF_ANSWERS] == ["outcome", "judge"]
    assert {kind.fallback for kind in REWARD_KINDS} - {None} <= set(KINDS)
    assert len(set(KINDS)) == len(KINDS)
