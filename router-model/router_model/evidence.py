"""How a reward is read: what it says of a user, what it says at the end of its scale, who rates leniently, and how the
messages of one user are kept.

*Reading*: a reward becomes Gaussian evidence about two numbers of the user (`RewardReading`). *Censored*: a rating at
the end of its scale says that utility is at least that far (`at_the_end`). *Lenient*: a user who rates nearly
everything well is read as such (`Leniency`). *Blocks by age*: messages are summed in blocks, so that a change of taste
can be found (`Memory`).
Letters: N rewards, U users, W blocks, G numbers of a message; the rest as in ARTIFACT.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from router_model.kinds import KINDS, REWARD_KINDS

if TYPE_CHECKING:
    from router_model.export.artifact import Manifest

Number = TypeVar("Number", bound=np.floating[Any])

QUADRATURE = 12  # nodes of the Gauss-Hermite rule for a thumb
END = 0.999  # a rating from here on, on a scale of -1 to 1, is at the end
# Chosen on validation users (`trials`, ratings). With one of them a third off, or `SHARE` a factor of three, ordinary
# users lose at most .008 of gap closed and satisfied raters up to .025.
OFFSET = 0.5  # how much too high a lenient rater's ratings are
SEEN = 0.4  # as how much that is seen, since the scale has an end
SPREAD = 0.15  # standard deviation of what other tastes add to a user's mean rating
SHARE = 0.1  # of raters who are lenient


class RewardReading(nn.Module):
    """The best Gaussian evidence in a reward about two numbers of its user, u and v.

    u is the user's utility of the answer apart from quality, v what quality is worth, and utility = u + s v with s = 1
    for a right answer and -1 for a wrong one. Which it was is unknown, but the reward itself tells: the exact posterior
    under the population's belief is a mixture of two Gaussians (right, wrong), and the message is the Gaussian evidence
    that leads from the prior to the mixture's mean and covariance (assumed density filtering: Minka 2001, UAI).
    Taking predicted quality for realised quality instead costs a tenth of the gain at 50 ratings.
    """

    dense: Tensor
    nodes: Tensor
    log_weights: Tensor

    def __init__(self) -> None:
        """Allocates; values come from training or from `priors`."""
        super().__init__()
        kinds = len(KINDS)
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        self.register_buffer("nodes", torch.as_tensor(nodes))
        self.register_buffer("log_weights", torch.as_tensor(np.log(weights / weights.sum())))
        # A dense kind is utility plus Gaussian noise; any other is a thumb: up with probability sigmoid(gain utility).
        self.register_buffer("dense", torch.tensor([1.0 if kind.dense else 0.0 for kind in REWARD_KINDS]))
        self.end = END
        self.log_noise = nn.Parameter(torch.full((kinds,), -3.5))
        self.log_gain = nn.Parameter(torch.full((kinds,), 1.386))

    def forward(
        self, mean: Tensor, covariance: Tensor, quality: Tensor, reward: Tensor, kind: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Precision [.., N, 2, 2] and information [.., N, 2] about (u, v), whose prior is `mean` [.., N, 2],
        `covariance` [N, 2, 2]; `quality` [N] is the predicted probability of a right answer. All float64.
        """
        log_shares, means, covariances = [], [], []
        for sign, chance in ((1.0, quality), (-1.0, 1 - quality)):
            direction = mean.new_tensor([1.0, sign])
            pull = covariance @ direction  # [N, 2]
            variance = pull @ direction
            evidence, posterior, left = self.moments(mean @ direction, variance, reward, kind)
            step = pull / variance.unsqueeze(-1)
            means.append(mean + step * (posterior - mean @ direction).unsqueeze(-1))
            shrink = (variance - left).unsqueeze(-1).unsqueeze(-1)
            covariances.append(covariance - shrink * step.unsqueeze(-1) * step.unsqueeze(-2))
            log_shares.append(torch.log(chance) + evidence)
        share = torch.softmax(torch.stack(log_shares, -1), -1)
        right, wrong = share[..., :1], share[..., 1:]
        centre = right * means[0] + wrong * means[1]
        apart = means[0] - means[1]
        spread = (right * wrong).unsqueeze(-1) * apart.unsqueeze(-1) * apart.unsqueeze(-2)
        after = right.unsqueeze(-1) * covariances[0] + wrong.unsqueeze(-1) * covariances[1] + spread
        prior = inverse_2x2(covariance)
        precision = positive_part_2x2(inverse_2x2(after) - prior)
        information = precision @ centre.unsqueeze(-1) + prior @ (centre - mean).unsqueeze(-1)
        return precision, information.squeeze(-1)

    def moments(self, mean: Tensor, variance: Tensor, reward: Tensor, kind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log evidence, posterior mean and variance, each [N], of a utility that was N(mean, variance), given
        rewards.
        """
        noise = self.log_noise.to(mean.dtype).exp()[kind]
        total = variance + noise
        apart = reward - mean
        inside = (
            -0.5 * torch.log(2 * math.pi * total) - 0.5 * apart.square() / total,
            mean + variance / total * apart,
            variance * noise / total,
        )
        beyond = at_the_end(mean, variance, noise, torch.sign(reward))
        cut = reward.abs() >= self.end
        of_dense = [torch.where(cut, a, b) for a, b in zip(beyond, inside, strict=True)]
        gain = self.log_gain.to(mean.dtype).exp()[kind]
        at = mean.unsqueeze(-1) + variance.sqrt().unsqueeze(-1) * self.nodes  # [N, nodes]
        sign = gain * reward
        likelihood = functional.logsigmoid(sign.unsqueeze(-1) * at) + self.log_weights
        top = likelihood.amax(-1, keepdim=True)
        share = torch.exp(likelihood - top)
        total_share = share.sum(-1)
        centre = (share * at).sum(-1) / total_share
        spread = (share * (at - centre.unsqueeze(-1)).square()).sum(-1) / total_share
        of_thumb = torch.log(total_share) + top.squeeze(-1), centre, spread
        dense = self.dense[kind] > 0
        evidence, posterior, left = (torch.where(dense, a, b) for a, b in zip(of_dense, of_thumb, strict=True))
        return evidence, posterior, left


def inverse_2x2(matrix: Tensor) -> Tensor:
    """Inverse [.., 2, 2] of symmetric matrices."""
    a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    flat = torch.stack([d, -b, -b, a], -1) / (a * d - b * b).unsqueeze(-1)
    return flat.reshape(matrix.shape)


def positive_part_2x2(matrix: Tensor) -> Tensor:
    """Symmetric matrices [.., 2, 2] without their negative eigenvalues."""
    a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    middle = 0.5 * (a + d)
    reach = (0.25 * (a - d).square() + b * b + 1e-18).sqrt()
    high, low = torch.relu(middle + reach), torch.relu(middle - reach)
    # f(matrix) = f(low) + (matrix - low) slope, exact for two eigenvalues
    slope = ((high - low) / (2 * reach)).unsqueeze(-1).unsqueeze(-1)
    identity = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
    offset = (low - slope.squeeze(-1).squeeze(-1) * (middle - reach)).unsqueeze(-1).unsqueeze(-1)
    return slope * matrix + offset * identity


# Chebyshev coefficients of log erfc(x) + x^2 - log t in t = 1 / (1 + x / 2) for x >= 0; relative error of erfc below
# 1.2e-7 (Press et al. 1992, Numerical Recipes, section 6.2). ONNX knows no log of a normal distribution function.
ERFC = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


def log_normal_cdf(z: Tensor) -> Tensor:
    """Log of the standard normal distribution function, any shape; float64 for a precision of 1e-6 in both tails."""
    x = z.abs() * math.sqrt(0.5)
    t = 1 / (1 + 0.5 * x)
    polynomial = torch.zeros_like(t)
    for coefficient in ERFC:
        polynomial = polynomial * t + coefficient
    tail = torch.log(0.5 * t) - x.square() + polynomial
    return torch.where(z < 0, tail, torch.log1p(-torch.exp(tail.clamp(max=-0.6))))


def at_the_end(mean: Tensor, variance: Tensor, noise: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log evidence, posterior mean and variance, each [..], of a utility that was N(mean, variance), given that utility
    plus noise of variance `noise` was at least 1 (`side` 1) or at most -1 (`side` -1): a censored regression (Tobin
    1958, Econometrica 26).
    """
    total = variance + noise
    z = (side * mean - 1) * torch.rsqrt(total)
    evidence = log_normal_cdf(z)
    # how many deviations the noisy utility is drawn beyond the end
    drawn = torch.exp(-0.5 * z.square() - evidence - 0.5 * math.log(2 * math.pi))
    posterior = mean + side * variance * torch.rsqrt(total) * drawn
    known = (drawn * (drawn + z)).clamp(0, 1)
    return evidence, posterior, variance * (1 - variance / total * known)


class Leniency(nn.Module):
    """From the sums of a user's messages to those that the belief is made of: every rating is read twice, and a rater's
    ratings as a whole tell which reading counts.

    A single high rating of a lenient rater can't be told from a right answer; a rater's mean can. So sums are kept of
    two messages, one that takes ratings at face value and one that takes them for a lenient rater's, and of the
    evidence about how much higher than expected the ratings are. What a user is believed to like is made of a mean of
    both sums by the probability that this rater is lenient (a mixture of two classes of raters: Titterington et al.
    1985, with the mean rating as its only clue). All is a sum, so that ratings can be taken back and replicas can add
    up theirs.

    Higher than expected is: than of usual people. Another kind of people explains high ratings by what they like, so
    their ratings are read at face value; read as a lenient rater's they would look like nobody's.
    """

    said: Tensor

    def __init__(self, belief: int) -> None:
        """`belief`: numbers of one reading. Nothing here is learned."""
        super().__init__()
        self.belief = belief
        self.offset, self.spread, self.share = OFFSET, SPREAD, SHARE
        said = torch.tensor([1.0 if kind.lenient else 0.0 for kind in REWARD_KINDS])
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
        return torch.sigmoid(self._log_odds(precision, information))

    def _log_odds(self, precision: Tensor, information: Tensor) -> Tensor:
        ratio = SEEN * (information - 0.5 * SEEN * precision) / (1 + self.spread**2 * precision)
        return math.log(self.share / (1 - self.share)) + ratio

    def forward(self, sums: Tensor) -> Tensor:
        """Packed precision and information [.., W, belief] from sums of messages in blocks [.., W, G]."""
        plain, lenient, clue = sums.split((self.belief, self.belief, 2), -1)
        precision, information = clue.sum(-2, keepdim=True).split(1, -1)
        blended: Tensor = plain + self.lenient(precision, information) * (lenient - plain)
        return blended

    def at_face_value(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward` if nobody were lenient [.., W, belief], and the logarithm [.., 1] of how much more probable it
        is to rate so high for somebody who may be.
        """
        clue = sums[..., -2:].sum(-2)
        log_odds = self._log_odds(*clue.split(1, -1))
        return sums[..., : self.belief], math.log(1 - self.share) + functional.softplus(log_odds)


@dataclass(frozen=True)
class Memory:
    """How a user's messages are kept: their sum in blocks by age, [U, W, G] for U users, so that a change of taste can
    be found in it.

    The newest `rewards` messages or fewer are in the first block, as many older ones in each of the next, all others in
    the last. Where a block starts depends on how many messages came before, never on what they say: replicas agree, and
    a rating can be taken out of the block that it is in. The gateway does the same (`src/learning/profile.ts`).
    """

    count: int
    """W."""
    rewards: int
    """To a block."""
    fade: float
    """Factor on earlier sums before a message is added."""

    @staticmethod
    def of(manifest: Manifest) -> Memory:
        """As an artifact wants them."""
        dims, forget = manifest.dims, manifest.forget
        return Memory(dims.H // dims.G, forget.block, forget.per_reward)

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
