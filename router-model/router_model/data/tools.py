"""How much a request looks like agents' work by its tools; `src/embedding/tool-share.ts` counts alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MANY = 10.0
"""Tools from which on a request is agents' work as far as these tell."""


def tool_share(many: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """0..1 of how many tools are offered and results of tools are in the request already, any shape."""
    share = np.log1p(np.asarray(many, dtype=np.float64)) / np.log1p(MANY)
    bounded: npt.NDArray[np.float32] = np.minimum(share, 1.0).astype(np.float32)
    return bounded
