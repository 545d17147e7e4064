"""Codes of LLMs and makers: signatures by which likings need no table of them.

`hashed`: bits of a hash, nearly orthogonal. `frame`: those of all names that a tenant may use, turned as little as
makes them orthonormal (the polar factor; Higham 1986), so that a liking for one says nothing of another; of more names
than dimensions, the nearest tight frame, which has the least overlap there is (Benedetto & Fickus 2003). The gateway
computes the same (`src/routing/choose/codes.ts`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Codes = Literal["hashed", "frame"]
STEPS = 40  # of Newton and Schulz; a singular value that is small grows by half in each


def code(text: str, n: int) -> Array:
    """Signature [n] of a text: the first n bits of SHA-256 as +-1/sqrt(n), lowest bit of each byte first.

    The dot product of two codes is 1 for the same text and about 0, give or take 1/sqrt(n), for two different ones.
    Raises `ValueError` beyond 256 bits.
    """
    if not 0 <= n <= 256:
        raise ValueError(f"a code has 0 to 256 bits, not {n}")
    digest = np.frombuffer(hashlib.sha256(text.lower().encode()).digest(), dtype=np.uint8)
    bits = np.unpackbits(digest, bitorder="little")[:n]
    return np.where(bits > 0, 1.0, -1.0).astype(np.float32) / np.float32(math.sqrt(max(n, 1)))


def code_matrix(texts: Sequence[str], n: int, codes: Codes = "hashed") -> Array:
    """Codes [len(texts), n] of all names that are told apart; the order of the names doesn't matter."""
    if not texts:
        return np.zeros((0, n), dtype=np.float32)
    if codes == "hashed" or n == 0:
        return np.stack([code(text, n) for text in texts])
    names = sorted({text.lower() for text in texts})
    return _frame(names, n)[[names.index(text.lower()) for text in texts]]


def _frame(names: Sequence[str], n: int) -> Array:
    x = np.stack([code(name, n) for name in names]).astype(np.float64)
    x = x / math.sqrt(float(np.abs(x @ x.T).sum(1).max()))  # no singular value above 1
    for _ in range(STEPS):
        x = 1.5 * x - 0.5 * (x @ x.T) @ x
    unit: Array = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return unit
