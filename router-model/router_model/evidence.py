"""Who rates nearly everything well: every rating is read twice, and a rater's ratings as a whole tell which counts.

A single high rating of a lenient rater can't be told from a right answer; a rater's mean can. So sums are kept of two
messages, one that takes ratings at face value and one that takes them for a lenient rater's, and of the evidence about
how much higher than expected the ratings are. What a user is believed to like is made of a mean of both sums by the
probability that this rater is lenient (a mixture of two classes of raters: Titterington et al. 1985, with the mean
rating as its only clue). All is a sum, so that ratings can be taken back and replicas can add up theirs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from router_model.sizes import KINDS, RATING, THUMB, Sizes

# Chosen on validation users (`trials`, ratings). With one of them a third off, or `SHARE` a factor of three, ordinary
# users lose at most .008 of gap closed and satisfied raters up to .025.
OFFSET = 0.5  # how much too high a lenient rater's ratings are
SEEN = 0.4  # as how much that is seen, since the scale has an end
SPREAD = 0.15  # standard deviation of what other tastes add to a user's mean rating
SHARE = 0.1  # of raters who are lenient


class Leniency(nn.Module):
    """From the sums of a user's messages to those that the belief is made of."""

    said: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Nothing here is learned."""
        super().__init__()
        self.sizes = sizes
        self.offset, self.spread, self.share = OFFSET, SPREAD, SHARE
        said = torch.zeros(len(KINDS))
        said[[RATING, THUMB]] = 1.0
        self.register_buffer("said", said, persistent=False)

    def offsets(self, kind: Tensor) -> Tensor:
        """How much too high a reward is to both readings, [2, N]; only what users say may be lenient. float64."""
        offset = self.offset * self.said[kind].double()
        return torch.stack([torch.zeros_like(offset), offset])

    def evidence(self, precision: Tensor, information: Tensor, popularity: Tensor, kind: Tensor) -> Tensor:
        """Precision and information [N, 2] about how much too high ratings are, from those about how much an LLM is
        liked (`Router.liking`), of which `popularity` was expected.
        """
        said = self.said[kind].to(precision.dtype)
        return torch.stack([said * precision, said * (information - precision * popularity)], -1)

    def lenient(self, precision: Tensor, information: Tensor) -> Tensor:
        """Probability that a rater is lenient, from sums of `evidence`, any shape."""
        ratio = SEEN * (information - 0.5 * SEEN * precision) / (1 + self.spread**2 * precision)
        return torch.sigmoid(math.log(self.share / (1 - self.share)) + ratio)

    def forward(self, sums: Tensor) -> Tensor:
        """Packed precision and information [.., W, belief] from sums of messages in blocks [.., W, G]."""
        plain, lenient, clue = sums.split((self.sizes.belief, self.sizes.belief, 2), -1)
        precision, information = clue.sum(-2, keepdim=True).split(1, -1)
        blended: Tensor = plain + self.lenient(precision, information) * (lenient - plain)
        return blended
