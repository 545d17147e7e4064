"""Writes what was gathered in the layout that `router_model/data/pools.py` reads: `queries.jsonl.gz`, `llms.json`."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from router_model.collect.journal import Outcome
from router_model.collect.questions import Question


def write_pool(
    folder: Path,
    questions: Sequence[Question],
    llms: Sequence[str],
    outcomes: Mapping[tuple[str, str], Outcome],
    models: Sequence[Mapping[str, Any]],
) -> int:
    """Writes all questions that some LLM has a score for; returns how many. `models`: of `GET /v1/models`."""
    rows = [row for question in questions if (row := _row(question, llms, outcomes)) is not None]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    # mtime=0: the same outcomes give the same bytes
    _replace(folder / "queries.jsonl.gz", gzip.compress(lines.encode(), mtime=0))
    known = {str(model["id"]): model for model in models}
    cards = json.dumps([_card(llm, known.get(llm, {})) for llm in llms], ensure_ascii=False, indent=1)
    _replace(folder / "llms.json", f"{cards}\n".encode())
    return len(rows)


def _row(question: Question, llms: Sequence[str], outcomes: Mapping[tuple[str, str], Outcome]) -> dict[str, Any] | None:
    found = {llm: outcomes[question.id, llm] for llm in llms if (question.id, llm) in outcomes}
    scored = {llm: o for llm, o in found.items() if o.score is not None}
    if not scored:
        return None
    prompts = [o.prompt_tokens for o in scored.values() if o.prompt_tokens is not None]
    return {
        "id": question.id,
        "task": question.task,
        "query": question.query,
        **({"choices": [[chr(65 + i), text] for i, text in enumerate(question.choices)]} if question.choices else {}),
        "metric": question.metric,
        "fold": question.fold,
        "prompt_chars": len(question.prompt),
        **({"prompt_tokens": round(sum(prompts) / len(prompts))} if prompts else {}),
        "scores": {llm: o.score for llm, o in scored.items()},
        "completion_tokens": {llm: o.completion_tokens for llm, o in scored.items() if o.completion_tokens is not None},
        "completion_chars": {llm: o.chars for llm, o in scored.items() if o.chars is not None},
        "cost_usd": {llm: o.cost_usd for llm, o in scored.items()},
    }


def _card(llm: str, model: Mapping[str, Any]) -> dict[str, Any]:
    ours = model.get("persona_router") or {}
    price, can = ours.get("price_usd_per_million_tokens") or {}, ours.get("capabilities")
    card = {
        "name": llm,
        "vendor": model.get("owned_by"),
        "description": ours.get("description"),
        "context_window": ours.get("context_window"),
        "input_price": price.get("input"),
        "output_price": price.get("output"),
    }
    if can is not None:
        card |= {name: name in can for name in ("tools", "vision", "json_schema")}
    return {name: value for name, value in card.items() if value is not None}


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
