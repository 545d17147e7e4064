"""`router.risk`: the same rule as the gateway's `src/routing/choose/safe-caution.ts`, on arrays."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STEPS = (0.15, 0.25, 0.35, 0.5, 0.75, 1.0)
FAVOURITE_ONLY = 100.0  # more than any doubt lets through


def safe_caution(mean: Floats, apart: Floats, favourite: int, caution: float, risk: float) -> float:
    """The least caution with which a user's mean gain over everybody's favourite is above 0 with probability 1 - risk.

    `mean` and `apart` [n, M]: the user's scores of usual questions, and deviations of the difference to the favourite.
    """
    for step in (caution, *(one for one in STEPS if one > caution)):
        worth = mean - step * apart
        worth[:, favourite] = mean[:, favourite]
        rows, best = np.arange(len(mean)), worth.argmax(1)
        best = np.where(worth[rows, best] > worth[:, favourite], best, favourite)
        left = best != favourite
        gain = float((mean[rows, best] - mean[:, favourite])[left].sum())
        doubt = float(apart[rows, best][left].sum())
        if doubt > 0 and NormalDist().cdf(gain / doubt) >= 1 - risk:
            return step
    return FAVOURITE_ONLY
