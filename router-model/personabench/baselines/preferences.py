"""Features phi of an answer that a user may like: the input of every linear model of a user.

[1, quality, cost, length], quality, cost and length once more for each soft task, one-hot LLM, one-hot provider; in the
units of `population`. Quality is predicted; cost and length are predicted too, but realised ones are used in a history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personabench.bench.contestant import Known
from personabench.heads import Heads
from router_model.data.pools import Pool
from router_model.data.population import cost_units, length_units
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Preferences:
    """phi of every (query, LLM) of a pool, and of the edges of a history. K features."""

    pool: Pool
    heads: Heads
    vendors: tuple[str, ...]

    @staticmethod
    def of(known: Known) -> Preferences:
        """For a contestant."""
        return Preferences(known.pool, known.heads, tuple(sorted({card.vendor for card in known.pool.cards})))

    @property
    def size(self) -> int:
        """K."""
        return 4 + 3 * len(self.heads.tasks) + len(self.pool.cards) + len(self.vendors)

    @property
    def llm_columns(self) -> slice:
        """Where the one-hot LLM is in phi."""
        first = 4 + 3 * len(self.heads.tasks)
        return slice(first, first + len(self.pool.cards))

    @property
    def vendor_columns(self) -> slice:
        """Where the one-hot provider is in phi."""
        return slice(self.llm_columns.stop, self.size)

    def columns_in(self, old: Preferences) -> list[int | slice]:
        """For each feature where another pool's phi has it, or the group of features that it is a new one of."""
        shared: list[int | slice] = list(range(old.llm_columns.start))
        for names, known, group in (
            (self.pool.names, old.pool.names, old.llm_columns),
            (self.vendors, old.vendors, old.vendor_columns),
        ):
            shared += [group.start + known.index(name) if name in known else group for name in names]
        return shared

    def grid(self, rows: Ints) -> Floats:
        """phi [R, M, K] as predicted."""
        heads, llms = self.heads, len(self.pool.cards)
        parts = (
            2 * heads.quality[rows] - 1,
            cost_units(heads.cost_usd[rows]),
            length_units(heads.completion_tokens[rows]),
        )
        basic = np.stack(parts, -1)
        task = np.broadcast_to(heads.task[rows][:, None], (len(rows), llms, len(heads.tasks)))
        codes = np.broadcast_to(self._codes(), (len(rows), llms, self._codes().shape[1]))
        return self._join(basic, task, codes)

    def edges(self, history: History) -> Floats:
        """phi [U, N, K] of what was answered, with realised cost and length."""
        return self.answered(history.query, history.llm, history.cost_usd, history.completion_tokens)

    def answered(self, query: Ints, llm: Ints, cost_usd: Floats, tokens: Floats) -> Floats:
        """phi [..., K] of answers; NaN tokens = not known."""
        heads = self.heads
        length = np.where(np.isnan(tokens), heads.completion_tokens[query, llm], tokens)
        basic = np.stack([2 * heads.quality[query, llm] - 1, cost_units(cost_usd), length_units(length)], -1)
        return self._join(basic, heads.task[query], self._codes()[llm])

    def doubt(self, history: History) -> Floats:
        """Variance [U, N] of what isn't known of each answer's quality, 0..1."""
        quality = self.heads.quality[history.query, history.llm]
        return np.asarray(4 * quality * (1 - quality), dtype=np.float32)

    def _codes(self) -> Floats:
        llm = np.eye(len(self.pool.cards))
        vendor = [[float(card.vendor == name) for name in self.vendors] for card in self.pool.cards]
        return np.hstack([llm, np.array(vendor)]).astype(np.float32)

    def _join(self, basic: Floats, task: Floats, codes: Floats) -> Floats:
        by_task = (basic[..., :, None] * task[..., None, :]).reshape(*basic.shape[:-1], 3 * task.shape[-1])
        one = np.ones((*basic.shape[:-1], 1), dtype=np.float32)
        return np.concatenate([one, basic, by_task, codes], -1).astype(np.float32)
