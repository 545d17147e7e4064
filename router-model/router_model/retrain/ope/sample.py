"""The part of a log that off-policy evaluation reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class SampleError(ValueError):
    """Rows that no estimator can use: shapes that don't fit, or a logged action whose propensity is zero."""


@dataclass(frozen=True)
class Sample:
    """n logged decisions among M candidates. `propensity` is 0 for a candidate that could not be chosen."""

    action: Ints  # [n]
    reward: Doubles  # [n]
    propensity: Doubles  # [n, M]
    cluster: Ints  # [n], the user: rewards of one user are not independent

    def __post_init__(self) -> None:
        """Raises `SampleError`."""
        n, candidates = self.propensity.shape
        if not (self.action.shape == self.reward.shape == self.cluster.shape == (n,)):
            raise SampleError(f"action, reward and cluster must have {n} rows, as propensity does")
        if n == 0:
            raise SampleError("no rows")
        if self.action.min() < 0 or self.action.max() >= candidates:
            raise SampleError(f"an action is not one of {candidates} candidates")
        if not (self.taken(self.propensity) > 0).all():
            raise SampleError("a logged action has a propensity of zero")
        if np.abs(self.propensity.sum(1) - 1).max() > 1e-3:
            raise SampleError("propensities of a row don't sum to 1")

    def __len__(self) -> int:
        """Number of decisions n."""
        return len(self.action)

    def taken(self, table: Doubles) -> Doubles:
        """Of a table [n, M], the entry [n] of the logged action."""
        picked: Doubles = np.take_along_axis(table, self.action[:, None], 1)[:, 0]
        return picked
