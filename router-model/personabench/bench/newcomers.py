"""LLMs that no training data holds, joined by k population outcomes: what is a router worth that never saw them?

A whole family is held out, because near twins would make it easy. "Trained" saw the family's outcomes and logs;
"joined" was trained without, and then got cards and k outcomes of each. Letters: Q queries, M LLMs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from personabench.bench.contestant import Known
from personabench.bench.episode import Episode, Setup, make_episode
from personabench.heads import Heads, HeadsConfig, from_logit, logit
from personabench.metrics import Gain, Interval, interval, total
from router_model.data.cards import Card, price_matrix
from router_model.data.pools import Pool, cost_of
from router_model.data.population import generator

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

OUTCOMES = (0, 5, 20, 50)
RIDGE = 3.0


@runtime_checkable
class Joinable(Protocol):
    """A contestant that takes new LLMs in without training."""

    def join(self, known: Known) -> None:
        """`known.pool` now also holds `known.newcomers`, with the few outcomes there are of them."""


def families(pool: Pool, most: int = 3) -> list[str]:
    """Makers of LLMs whose absence leaves at least half of the pool; those with the most LLMs first."""
    counts = Counter(card.vendor for card in pool.cards)
    fitting = [(name, n) for name, n in counts.items() if n <= len(pool.cards) / 2]
    return [name for name, _ in sorted(fitting, key=lambda pair: (-pair[1], pair[0]))[:most]]


@dataclass(frozen=True)
class Newcomers:
    """One family held out of one episode."""

    family: str
    trained: Episode
    """Training saw the family."""
    without: Episode
    """Training didn't; its pool is the first columns of the other one's."""

    def joined(self, k: int) -> Known:
        """The knowledge after k outcomes of each new LLM, on random train queries."""
        full, old = self.trained.known, self.without.known
        new = np.arange(len(old.pool.cards), len(full.pool.cards))
        pool = full.pool
        quality, tokens = pool.quality.copy(), pool.completion_tokens.copy()
        for column in new:
            rng = generator(self.trained.setup.seed, "outcomes", pool.cards[column].name)
            seen = rng.permutation(full.train)[:k]
            hidden = np.setdiff1d(np.arange(len(quality)), seen)
            quality[hidden, column], tokens[hidden, column] = np.nan, np.nan
        shown = replace(pool, quality=quality, completion_tokens=tokens)
        return replace(old, pool=shown, heads=extend_heads(old.heads, shown, new), newcomers=new)


def hold_out(setup: Setup, pool: Pool, family: str, heads: HeadsConfig | None = None) -> Newcomers:
    """Both worlds. Raises `ValueError` for a family that the pool doesn't have."""
    vendor = np.array([card.vendor for card in pool.cards])
    if family not in vendor:
        raise ValueError(f"{pool.name} has no LLM of {family}; there are {', '.join(sorted(set(vendor)))}")
    kept, new = np.flatnonzero(vendor != family), np.flatnonzero(vendor == family)
    full = pool.select_llms(np.concatenate([kept, new]))
    old = full.select_llms(np.arange(len(kept)))
    return Newcomers(family, make_episode(setup, full, heads=heads), make_episode(setup, old, heads=heads))


def extend_heads(heads: Heads, pool: Pool, new: Ints) -> Heads:
    """Heads with columns for new LLMs: an offset to the mean LLM from the card, corrected by outcomes."""
    old = np.arange(heads.quality.shape[1])
    level = logit(heads.quality)
    mean = level.mean(1)
    offsets = (level - mean[:, None]).mean(0)
    expected, doubt = offsets_from_cards(pool.cards, old, offsets)
    quality = [heads.quality]
    for column in new:
        seen = np.flatnonzero(np.isfinite(pool.quality[:, column]))
        offset = fitted_offset(mean[seen], pool.quality[seen, column], expected[column], doubt)
        quality.append(from_logit(mean + np.float32(offset))[:, None])
    tokens = [heads.completion_tokens]
    logs = np.log(heads.completion_tokens)
    spread = float(np.nanvar(logs.mean(0))) if np.isfinite(logs).all() else 1.0
    for column in new:
        seen = np.flatnonzero(np.isfinite(pool.completion_tokens[:, column]))
        excess = np.log(pool.completion_tokens[seen, column]) - logs[seen].mean(1)
        shrunk = float(excess.sum()) / (len(seen) + 0.4 / max(spread, 1e-3))
        tokens.append(np.exp(logs.mean(1) + np.float32(shrunk))[:, None])
    completion = np.concatenate(tokens, 1)
    cost = cost_of(price_matrix(pool.cards), pool.prompt_tokens, completion)
    return replace(heads, quality=np.concatenate(quality, 1), completion_tokens=completion, cost_usd=cost)


def offsets_from_cards(cards: Sequence[Card], old: Ints, offsets: Floats) -> tuple[Doubles, float]:
    """Expected offset of every card's LLM, by ridge regression on known LLMs, and the variance of its error."""
    fields = ("output_price", "size_b", "benchmarks.mmlu", "benchmarks.arena_elo")
    columns = []
    for name in fields:
        values = np.array([np.nan if (v := card.value(name)) is None else v for card in cards])
        values = np.log(values) if name in ("output_price", "size_b") else values
        known = values[old][np.isfinite(values[old])]
        centre, scale = (float(known.mean()), float(known.std()) or 1.0) if len(known) else (0.0, 1.0)
        columns.append(np.nan_to_num((values - centre) / scale))
    x = np.stack(columns, 1)
    y = offsets - offsets.mean()
    weights = np.linalg.solve(x[old].T @ x[old] + RIDGE * np.eye(x.shape[1]), x[old].T @ y)
    error = y - x[old] @ weights
    return np.asarray(x @ weights + float(offsets.mean())), float(error.var()) + 0.05


def fitted_offset(level: Floats, outcome: Floats, expected: float, variance: float) -> float:
    """Offset of an LLM's log-odds to `level`, the likeliest given outcomes [k] and what its card makes one expect."""
    offset = expected
    for _ in range(20):
        p = 1 / (1 + np.exp(-(level + offset)))
        slope = float((outcome - p).sum()) - (offset - expected) / variance
        curve = float((p * (1 - p)).sum()) + 1 / variance
        offset += slope / curve
    return float(offset)


def retention(joined: Sequence[Gain], trained: Sequence[Gain]) -> Interval:
    """Gain of the joined router as a share of the trained one's."""
    return interval(total(joined).gained / total(trained).gained)
