"""Interface of every embedder."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Text in, vectors out. A vector belongs to one `version`: vectors of different versions never mix."""

    @property
    def version(self) -> str:
        """Name of the embedder that made a vector, kept beside it in the log."""

    @property
    def dim(self) -> int:
        """Length E of a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text: [n, E] float32, always finite."""
