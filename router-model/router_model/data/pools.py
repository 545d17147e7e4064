"""Routing outcomes: which LLM answered which query how well, at what length and price.

A pool is a complete grid of queries x LLMs. Layout of a folder: `llms.json` (`name`, `input_price`, `output_price`,
further card fields where known) and one or more `*.jsonl.gz`, a row a query: `query`, `fold`, `scores` {llm: higher is
better}, and, where known, `id`, `task`, `choices`, `prompt_chars`, `completion_chars` or `completion_tokens` {llm: n}.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_model.data.cards import Card, card_for, price_matrix
from router_model.places import DATA

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CHARS_PER_TOKEN = 4.0
# Where a source doesn't tell reply lengths, dollars are those of a reply of this many tokens.
ASSUMED_COMPLETION_TOKENS = 150.0

LICENCES = {
    "zeroeval": "Apache-2.0",
    "llmrouter": "MIT",
    "routellm": "Apache-2.0",
    "routerarena": "Apache-2.0",
    "mmlu_pro": "Apache-2.0",
    "zoonk": "MIT",
    "can_ai_code": "MIT",
    "bullshit_v2": "MIT",
    "arena_hard_v2": "Apache-2.0",
    "mcpmark_texts": "Apache-2.0",
}
HIDDEN_TOKENS = "o1-"  # bills reasoning tokens that the data doesn't hold


class DataError(ValueError):
    """A folder that isn't in the layout above; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Folds:
    """Folds for training, validation and test; `data/NOTICE.md` gives the reasons."""

    train: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    validation: tuple[int, ...] = (7,)
    test: tuple[int, ...] = (8,)


# The instruction set of alpaca_eval is small (805), so more of it is kept for the test.
_SMALL = Folds((0, 1, 2, 3, 4), (7,), (5, 6, 8))
POOL_FOLDS = {"alpaca_eval": _SMALL, "alpaca_eval_v1": _SMALL}


@dataclass(frozen=True)
class Pool:
    """A complete grid. Q queries, M LLMs; NaN in `completion_tokens` = length not known."""

    name: str
    cards: tuple[Card, ...]
    """[M]"""
    ids: tuple[str, ...]
    queries: tuple[str, ...]
    """[Q]"""
    task: NDArray[np.str_]
    """[Q]; only for analysis and for simulated tastes: live traffic has no labels."""
    fold: Ints
    """[Q]"""
    quality: Floats
    """[Q, M], 0..1"""
    completion_tokens: Floats
    """[Q, M]"""
    prompt_tokens: Floats
    """[Q]"""
    test_folds: tuple[int, ...] | None = None
    """Other test folds than the usual ones; whatever isn't train or validation may be."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the LLMs [M]."""
        return tuple(card.name for card in self.cards)

    @property
    def lengths_known(self) -> bool:
        """Whether replies have lengths."""
        return bool(np.isfinite(self.completion_tokens).all())

    @property
    def folds(self) -> Folds:
        """This pool's train, validation and test folds."""
        usual = POOL_FOLDS.get(self.name, Folds())
        if self.test_folds is None:
            return usual
        if clash := set(self.test_folds) & {*usual.train, *usual.validation}:
            raise ValueError(f"{self.name}: folds {sorted(clash)} are for training or tuning")
        return replace(usual, test=self.test_folds)

    def cost_usd(self) -> Floats:
        """Dollars [Q, M] of each answer; with `ASSUMED_COMPLETION_TOKENS` where the length isn't known."""
        return cost_of(price_matrix(self.cards), self.prompt_tokens, self.completion_tokens)

    def rows(self, folds: Iterable[int]) -> Ints:
        """Indices of the queries in some folds."""
        return np.flatnonzero(np.isin(self.fold, list(folds)))

    def select_queries(self, index: Ints) -> Pool:
        """The same pool with some queries only."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            queries=tuple(self.queries[i] for i in index),
            task=self.task[index],
            fold=self.fold[index],
            quality=self.quality[index],
            completion_tokens=self.completion_tokens[index],
            prompt_tokens=self.prompt_tokens[index],
        )

    def select_llms(self, index: Sequence[int] | Ints) -> Pool:
        """The same pool with some LLMs only, in that order."""
        columns = np.asarray(index, dtype=np.int64)
        return replace(
            self,
            cards=tuple(self.cards[i] for i in columns),
            quality=self.quality[:, columns],
            completion_tokens=self.completion_tokens[:, columns],
        )


def cost_of(price: Floats, prompt_tokens: Floats, completion_tokens: Floats) -> Floats:
    """Dollars [..., M] from prices [M, 2], prompt tokens [...] and reply tokens [..., M] (NaN = not known)."""
    tokens = np.where(np.isnan(completion_tokens), np.float32(ASSUMED_COMPLETION_TOKENS), completion_tokens)
    return ((prompt_tokens[..., None] * price[:, 0] + tokens * price[:, 1]) * 1e-6).astype(np.float32)


def load_pool(name: str, root: str | Path = DATA, *, clean_test: bool = False) -> Pool:
    """Reads a pool by name, or any folder of the layout by its path under `root`.

    `zeroeval`: priced LLMs with all questions, without those that bill hidden tokens. `llmrouter`: its train file;
    `clean_test` adds the 372 rows of its test file that don't occur in train. `routellm`: GSM8K and MMLU.
    `alpaca_eval` and `alpaca_eval_v1`: one judge each. Raises `DataError` for a folder that is missing or malformed.
    """
    folder = Path(root) / {"alpaca_eval_v1": "alpaca_eval"}.get(name, name)
    if not (folder / "llms.json").is_file():
        raise DataError(f"{folder / 'llms.json'}: no such file; is --data right?")
    cards = [card_for(row) for row in json.loads((folder / "llms.json").read_text(encoding="utf-8"))]
    label = {"alpaca_eval": "pref_v2", "alpaca_eval_v1": "pref_v1"}.get(name, "scores")
    rows = list(_rows(folder, name, clean_test))
    for row in rows:
        row["scores"] = row.get(label, {})
    if name == "zeroeval":
        cards = [card for card in cards if not card.name.startswith(HIDDEN_TOKENS)]
    return grid(Path(name).name, cards, rows)


def sparse_pool(name: str, root: str | Path = DATA) -> Pool:
    """A folder of the layout whose LLMs did not all answer every query: NaN in `quality` where one did not.

    An LLM's `mean_completion_tokens` stands for its length where a row has none. Raises `DataError`.
    """
    folder = Path(root) / name
    if not (folder / "llms.json").is_file():
        raise DataError(f"{folder / 'llms.json'}: no such file; is --data right?")
    entries = json.loads((folder / "llms.json").read_text(encoding="utf-8"))
    cards = tuple(card_for(row) for row in entries)
    mean = np.array([float(row.get("mean_completion_tokens") or "nan") for row in entries], dtype=np.float32)
    rows = [row for path in sorted(folder.glob("*.jsonl.gz")) for row in read_rows(path) if row.get("query")]
    if not rows:
        raise DataError(f"{folder}: no query with its text")
    unknown = [float("nan")] * len(cards)
    quality = [[_score(row, card.name) for card in cards] if row["scores"] else unknown for row in rows]
    tokens = np.array([[_tokens(row, card.name) for card in cards] for row in rows], dtype=np.float32)
    texts = [full_prompt(row) for row in rows]
    chars = [max(float(row.get("prompt_chars", 0)), len(text)) for row, text in zip(rows, texts, strict=True)]
    return Pool(
        name=name,
        cards=cards,
        ids=tuple(str(row.get("id", number)) for number, row in enumerate(rows)),
        queries=tuple(texts),
        task=np.array([str(row.get("task", name)) for row in rows]),
        fold=np.array([int(row["fold"]) for row in rows], dtype=np.int64),
        quality=np.array(quality, dtype=np.float32),
        completion_tokens=np.where(np.isnan(tokens).all(0), mean, tokens),
        prompt_tokens=np.maximum(1.0, np.array(chars) / CHARS_PER_TOKEN).astype(np.float32),
    )


def _score(row: dict[str, Any], llm: str) -> float:
    return _mean(row["scores"][llm]) if llm in row["scores"] else float("nan")


def _rows(folder: Path, name: str, clean_test: bool) -> Iterator[dict[str, Any]]:
    """Rows of the files that belong to a pool."""
    if name == "llmrouter":
        yield from read_rows(folder / "train.jsonl.gz")
        if clean_test:
            yield from (row for row in read_rows(folder / "test.jsonl.gz") if not row["in_train"])
        return
    files = sorted(folder.glob("*.jsonl.gz"))
    if name == "routellm":
        files = [folder / "gsm8k.jsonl.gz", folder / "mmlu.jsonl.gz"]  # MT-Bench has another scale
    if not files:
        raise DataError(f"{folder}: no *.jsonl.gz")
    for path in files:
        yield from read_rows(path)


def full_prompt(row: dict[str, Any]) -> str:
    """The query as a user would send it: with the choices of a multiple-choice question, [[label, text]] or [text]."""
    choices = row.get("choices") or []
    pairs = [choice if isinstance(choice, list) else ("ABCDEFGHIJ"[i], choice) for i, choice in enumerate(choices)]
    return "\n".join([str(row["query"]), *(f"{label}. {text}" for label, text in pairs)])


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a gzipped JSON Lines file. Raises `DataError` naming the line."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
            if not isinstance(row, dict) or "query" not in row or "fold" not in row:
                raise DataError(f"{path}, line {number}: needs `query` and `fold`")
            yield row


def grid(name: str, cards: Sequence[Card], rows: Sequence[dict[str, Any]]) -> Pool:
    """The complete grid in some rows: LLMs with a price and at least 99 % of the rows, rows with all of these LLMs."""
    priced = [card for card in cards if card.input_price is not None and card.output_price is not None]
    has = np.array([[card.name in row["scores"] for card in priced] for row in rows], dtype=bool).reshape(len(rows), -1)
    columns = np.flatnonzero(has.sum(0) >= 0.99 * max(len(rows), 1))
    chosen = [priced[i] for i in columns]
    complete = has[:, columns].sum(1) == len(columns)
    kept = [row for row, whole in zip(rows, complete, strict=True) if whole and chosen]
    if not kept:
        raise DataError(f"{name}: no query has outcomes of a priced LLM")
    texts = [full_prompt(row) for row in kept]
    chars = [max(float(row.get("prompt_chars", 0)), len(text)) for row, text in zip(kept, texts, strict=True)]
    return Pool(
        name=name,
        cards=tuple(chosen),
        ids=tuple(str(row.get("id", number)) for number, row in enumerate(kept)),
        queries=tuple(texts),
        task=np.array([str(row.get("task", name)) for row in kept]),
        fold=np.array([int(row["fold"]) for row in kept], dtype=np.int64),
        quality=np.array([[_mean(row["scores"][card.name]) for card in chosen] for row in kept], dtype=np.float32),
        completion_tokens=np.array([[_tokens(row, card.name) for card in chosen] for row in kept], dtype=np.float32),
        prompt_tokens=np.maximum(1.0, np.array(chars) / CHARS_PER_TOKEN).astype(np.float32),
    )


def _mean(score: Any) -> float:
    return float(np.mean(score))


def _tokens(row: dict[str, Any], llm: str) -> float:
    if llm in row.get("completion_tokens", {}):
        return max(1.0, float(row["completion_tokens"][llm]))
    if llm in row.get("completion_chars", {}):
        return max(1.0, float(np.mean(row["completion_chars"][llm])) / CHARS_PER_TOKEN)
    return float("nan")
