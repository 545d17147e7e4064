"""How a user's messages are kept: their sum in blocks by age, so that a change of taste can be found in it.

The newest `rewards` messages or fewer are in the first block, as many older ones in each of the next, all others in the
last. Where a block starts depends on how many messages came before, never on what they say: replicas agree, and a
rating can be taken out of the block that it is in. The gateway does the same (`src/learning/profile.ts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from router_model.export.artifact import Forget, Manifest
from router_model.sizes import Sizes

Number = TypeVar("Number", bound=np.floating[Any])


@dataclass(frozen=True)
class Memory:
    """Sizes of the sums of U users, [U, W, G]."""

    count: int
    """W."""
    rewards: int
    """To a block."""
    fade: float
    """What is known is multiplied by this before a message is added."""

    @staticmethod
    def of(manifest: Manifest) -> Memory:
        """As an artifact wants them."""
        dims, forget = manifest.dims, manifest.forget
        return Memory(dims.H // dims.G, forget.block, forget.per_reward)

    @staticmethod
    def of_sizes(sizes: Sizes, fade: float) -> Memory:
        """As the network wants them."""
        return Memory(sizes.blocks, sizes.block_rewards, fade)

    @property
    def forget(self) -> Forget:
        """For a manifest."""
        return Forget(per_reward=self.fade, block=self.rewards)

    def empty(self, users: int, message: int, dtype: type[Number]) -> NDArray[Number]:
        """Sums of users who said nothing."""
        return np.zeros((users, self.count, message), dtype=dtype)

    def add(self, sums: NDArray[Number], messages: NDArray[Number], before: NDArray[np.int64]) -> NDArray[Number]:
        """Sums [U, W, G] with a message [U, G] more for each user, who had sent `before` [U] messages."""
        added = sums * sums.dtype.type(self.fade)
        if self.count > 1:
            full = (before > 0) & (before % self.rewards == 0)
            old = added[full]
            added[full, 1:] = old[:, :-1]
            added[full, -1] += old[:, -1]
            added[full, 0] = 0
        added[:, 0] += messages
        return added
