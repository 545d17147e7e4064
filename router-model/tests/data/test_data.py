import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router_model.data.pools import ASSUMED_COMPLETION_TOKENS, DataError, load_pool

SHARED = Path(__file__).parents[4] / "shared" / "data"


def write_pool(folder: Path, rows: list[dict]) -> None:
    folder.mkdir()
    llms = [{"name": name, "input_price": 1.0, "output_price": 2.0} for name in ("one", "two")]
    (folder / "llms.json").write_text(json.dumps([*llms, {"name": "free", "input_price": None, "output_price": None}]))
    with gzip.open(folder / "queries.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_zeroeval_is_a_complete_grid_of_priced_llms_without_hidden_tokens():
    pool = load_pool("zeroeval")
    assert pool.quality.shape == (2537, 24)
    assert pool.lengths_known
    assert not any(name.startswith("o1-") for name in pool.names)
    assert set(pool.fold) == set(range(9))


def test_llmrouter_shows_the_choices_to_the_router_as_a_user_would():
    pool = load_pool("llmrouter")
    assert pool.quality.shape == (5043, 9)
    assert not pool.lengths_known
    row = int(np.flatnonzero(pool.task == "openbook_qa")[0])
    assert "\nA. " in pool.queries[row]


def test_clean_test_rows_add_no_question_twice():
    pool = load_pool("llmrouter", clean_test=True)
    assert len(pool.queries) > 5043
    assert len(set(pool.queries)) == len(pool.queries)


def test_any_folder_of_the_layout_is_a_pool(tmp_path):
    rows = [{"query": f"q{i}", "fold": i % 3, "scores": {"one": 1, "two": 0.5, "free": 1}} for i in range(6)]
    write_pool(tmp_path / "mine", rows)
    pool = load_pool("mine", tmp_path)
    assert pool.names == ("one", "two")
    assert pool.quality.tolist() == [[1.0, 0.5]] * 6
    assert pool.cost_usd() == pytest.approx(np.full((6, 2), (1 + 2 * ASSUMED_COMPLETION_TOKENS) * 1e-6))
    assert pool.select_llms([1]).names == ("two",)


def test_a_broken_line_is_named(tmp_path):
    write_pool(tmp_path / "mine", [{"query": "q", "fold": 0, "scores": {"one": 1, "two": 0}}, {"query": "no fold"}])
    with pytest.raises(DataError, match="line 2"):
        load_pool("mine", tmp_path)


def test_a_folder_without_outcomes_of_priced_llms_is_refused(tmp_path):
    write_pool(tmp_path / "mine", [{"query": "q", "fold": 0, "scores": {"free": 1}}])
    with pytest.raises(DataError, match="no query"):
        load_pool("mine", tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load_pool("elsewhere", tmp_path)


def test_train_folds_can_never_be_test_folds():
    with pytest.raises(ValueError, match=r"folds \[3\]"):
        _ = replace(load_pool("zeroeval"), test_folds=(3, 8)).folds


@pytest.mark.skipif(not SHARED.is_dir(), reason="the evaluation-only data sets are not at hand")
@pytest.mark.parametrize(("name", "llms"), [("alpaca_eval", 46), ("routerarena", 2)])
def test_evaluation_only_pools_load(name, llms):
    assert load_pool(name, SHARED).quality.shape[1] >= llms - 4
