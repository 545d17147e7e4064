from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from router_model.collect.made_log import MadeLog
from router_model.retrain.consent import read_config
from router_model.retrain.log import Document, open_log
from router_model.retrain.renamed import RenamedLog
from tests.retrain.made_rows import rows_of, write


def names_in(row: Document) -> set[str | None]:
    if row["type"] == "reward":
        return {row["preferred_model"]}
    attempts = {attempt["candidate"] for attempt in row["attempts"]}
    return {row["chosen"], *attempts, *(one["name"] for one in row["candidates"])}


def test_rows_have_the_present_names_of_their_candidates(make_log: Callable[..., MadeLog], tmp_path: Path) -> None:
    rows = rows_of(make_log())[:200]
    old = next(row["chosen"] for row in rows if row["type"] == "interaction")
    table = {"type": "interaction", "tenant": rows[0]["tenant"], "chosen": old, "attempts": []}
    scored = {"names": [old, "other"], "columns": ["propensity"], "float32": "AACAPwAAAAA="}
    path = write(tmp_path / "log.jsonl", [*rows, {**table, "candidates": scored}])
    (tmp_path / "gateway.yaml").write_text(
        f"candidates: [{{ name: new-name, provider: p, formerly: [{old}, older] }}, {{ name: x, provider: p }}]\n"
    )
    renamed = read_config(tmp_path / "gateway.yaml").renamed
    assert renamed == {old: "new-name", "older": "new-name"}

    source = RenamedLog(open_log(str(path)), renamed)
    tenants = source.tenants()
    read = [row for kind in ("interaction", "reward") for batch in source.read(kind, tenants) for row in batch]
    assert len(read) == len(rows) + 1
    listed = [row for row in read if not isinstance(row.get("candidates"), dict)]
    assert any("new-name" in names_in(row) for row in listed)
    assert not any(old in names_in(row) for row in listed)
    assert [row["candidates"]["names"] for row in read if isinstance(row.get("candidates"), dict)] == [
        ["new-name", "other"]
    ]
