"""Rows of a made-up log, and where things lie."""

from __future__ import annotations

import json
from pathlib import Path

from router_model.collect.made_log import Document, MadeLog

__all__ = ["EMBEDDER", "ROOT", "Document", "rows_of", "write"]

ROOT = Path(__file__).parents[3]
EMBEDDER = max((ROOT / "router-model" / "embedders").iterdir())


def rows_of(log: MadeLog) -> list[Document]:
    return [row for made in log.documents() for row in made]


def write(path: Path, rows: list[Document]) -> Path:
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    return path
