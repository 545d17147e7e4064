"""What is known of the queries of a log: a vector of the embedder, what the router's reader read in it, or nothing.

Fitting needs readings alone. Judging runs the graphs as the gateway does, which take vectors: for those few answers a
query is made that is read the same (`preimage.py`), some milliseconds each, which a whole log could not afford.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.network import QueryEncoder
from router_model.retrain.preimage import queries_read_as

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NOTHING = -1
"""The place of a query of which nothing is known."""
ROUNDS_OF = 1024
"""Queries that are made between two reports of progress."""


def place_of_reading(number: int) -> int:
    """The place of a reading, in an array of places of vectors (0, 1, …) and readings (-2, -3, …)."""
    return -2 - number


@dataclass(frozen=True)
class Packed:
    """n rows of signed bytes, each times its scale."""

    int8: NDArray[np.int8]
    """[n, width]"""
    scale: Floats
    """[n]"""

    def rows(self, some: Ints) -> Floats:
        """[len(some), width] float32."""
        return self.int8[some].astype(np.float32) * self.scale[some, None]


def quantised(values: Floats) -> Packed:
    """Rows [n, width], rounded."""
    scale = (np.abs(values).max(1, initial=0.0) / 127).astype(np.float32)
    return Packed(np.rint(values / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8), scale)


@dataclass(frozen=True)
class Queries:
    """Queries of A answers."""

    place: Ints
    """[A]: row of `vectors`, `place_of_reading` of a row of `readings`, or `NOTHING`."""
    vectors: Packed
    """[.., E]"""
    readings: Packed
    """[.., Q]"""
    encoder: QueryEncoder | None = None
    """Whose readings they are; None where there are vectors alone."""
    made_for: Ints | None = None
    """Answers, ascending, whose readings have got a query by `with_queries`."""
    made: Packed | None = None
    """Their queries."""

    @staticmethod
    def of_vectors(vectors: Packed) -> Queries:
        """One vector for each answer."""
        none = Packed(np.zeros((0, 0), np.int8), np.zeros(0, np.float32))
        return Queries(np.arange(len(vectors.scale)), vectors, none)

    @property
    def width(self) -> int:
        """E."""
        return int(self.vectors.int8.shape[1])

    def reading(self, rows: Ints, encoder: QueryEncoder) -> Floats:
        """What is read in the queries of some answers, [len(rows), Q]; zero where nothing is known."""
        place = self.place[rows]
        made = np.zeros((len(rows), encoder.sizes.reading), np.float32)
        kept, given = place < NOTHING, place >= 0
        if kept.any():
            made[kept] = self.readings.rows(-2 - place[kept])
        if given.any():
            with torch.no_grad():
                made[given] = encoder.reading(torch.from_numpy(self.vectors.rows(place[given]))).numpy()
        return made

    def vector(self, rows: Ints) -> Floats:
        """Queries of some answers, [len(rows), E]; zero where nothing is known. Where only a reading is, it is that of
        `with_queries`, or made now.
        """
        place = self.place[rows]
        found = np.zeros((len(rows), self.width), np.float32)
        given = place >= 0
        found[given] = self.vectors.rows(place[given])
        wanting = np.flatnonzero(place < NOTHING)
        if self.made_for is not None and self.made is not None and len(self.made_for):
            at = np.minimum(np.searchsorted(self.made_for, rows[wanting]), len(self.made_for) - 1)
            there = self.made_for[at] == rows[wanting]
            found[wanting[there]] = self.made.rows(at[there])
            wanting = wanting[~there]
        if len(wanting) and self.encoder is not None:
            found[wanting] = queries_read_as(self.encoder, self.readings.rows(-2 - place[wanting]))
        return found

    def with_queries(self, rows: Ints, progress: Callable[[int, int], None] | None = None) -> Queries:
        """With a query for each of some answers of which only a reading is known: made once, however often it runs."""
        rows = np.unique(rows)
        rows = rows[self.place[rows] < NOTHING]
        parts = [quantised(np.zeros((0, self.width), np.float32))]
        for start in range(0, len(rows), ROUNDS_OF):
            parts.append(quantised(replace(self, made_for=None).vector(rows[start : start + ROUNDS_OF])))
            if progress is not None:
                progress(min(start + ROUNDS_OF, len(rows)), len(rows))
        made = Packed(np.concatenate([part.int8 for part in parts]), np.concatenate([part.scale for part in parts]))
        return replace(self, made_for=rows, made=made)
