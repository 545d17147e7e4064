"""The nodes of the graph and the messages between them; all aggregation is a sum.

*llm*: a Gaussian belief over what an LLM can do (a Bayesian last layer, Harrison et al. 2018, arXiv 1807.08912), from
its card, its kin, and outcomes. *user*: Gaussians over preference weights, one for each time at which they may have
changed last. *edge*: a reward becomes evidence for both. Messages depend on no user's state, so that a reward can be
taken back and replicas can add up their sums.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn.aggr import SumAggregation

from router_model.censored import END, at_the_end
from router_model.linalg import inverse_and_logdet, unpack
from router_model.sizes import JUDGE, KINDS, OUTCOME, RATING, Sizes

QUADRATURE = 12  # nodes of the Gauss-Hermite rule for a thumb
CHANGE = 0.05  # prior odds that tastes changed between two blocks; a compromise on validation users (`trials`, changes)


def unit(x: Tensor) -> Tensor:
    """Rows of length 1; zero rows stay zero."""
    return x / x.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()


def aggregate(messages: Tensor, node: Tensor, nodes: int) -> Tensor:
    """Sums [nodes, G] of messages [N, G] by the node [N] that each goes to."""
    summed: Tensor = SumAggregation()(messages, node, dim_size=nodes, dim=0)
    return summed


class Belief(nn.Module):
    """A Gaussian belief over an LLM's weights of n features: prior mean from the card, precision shared by all LLMs."""

    kin_text: Tensor
    kin_weights: Tensor
    kin_sharpness: Tensor
    kin_mask: Tensor
    doubt: Tensor
    gain: Tensor

    def __init__(self, sizes: Sizes, features: int) -> None:
        """Allocates; values come from training or from `prior`."""
        super().__init__()
        self.features = features
        self.card = nn.Linear(sizes.card, features)
        self.register_buffer("kin_text", torch.zeros(sizes.kin, sizes.query))
        self.register_buffer("kin_weights", torch.zeros(sizes.kin, features))
        self.register_buffer("kin_sharpness", torch.tensor(8.0))
        self.register_buffer("kin_mask", torch.ones(sizes.query))
        # Of the card's features: how unsure the ability is that the card's weights start from.
        self.register_buffer("doubt", torch.zeros(sizes.card))
        # What a weight changes with ability.
        self.register_buffer("gain", torch.zeros(features))
        # Lower factor of the prior precision: what one LLM's skills say of its other skills.
        self.factor = nn.Parameter(torch.eye(features))

    def prior_mean(self, card: Tensor, text: Tensor) -> Tensor:
        """Weights [M, n] before any outcome: the card's, moved by what is known of LLMs with alike descriptions."""
        likeness = torch.exp(self.kin_sharpness * (unit(text * self.kin_mask) @ self.kin_text.T - 1))
        mean: Tensor = self.card(card) + likeness @ self.kin_weights
        return mean

    def set_kin(self, text: Tensor, weights: Tensor, sharpness: float, mask: Tensor) -> None:
        """Remembers known LLMs: embedded descriptions [M, E] and what each adds to its kin [M, n].

        `mask` [E] is 0 for those dimensions of an embedding that are no part of its meaning (length, symbols).
        """
        if len(text) > len(self.kin_text):
            raise ValueError(f"{len(text)} known LLMs, but room for {len(self.kin_text)} (sizes.kin)")
        self.kin_mask.copy_(mask)
        self.kin_text.zero_()[: len(text)] = unit(text * mask)
        self.kin_weights.zero_()[: len(weights)] = weights
        self.kin_sharpness.fill_(sharpness)

    def prior_precision(self, card: Tensor) -> Tensor:
        """[M, n, n]: that of all LLMs, less what the doubt about an ability takes away along `gain`."""
        factor, gain = self.factor.double().tril(), self.gain.double()
        precision = factor @ factor.T
        along = precision @ gain
        variance = (card @ self.doubt).double().square()
        share = variance / (1 + variance * (gain @ along))
        return precision - share.unsqueeze(-1).unsqueeze(-1) * torch.outer(along, along)

    def forward(self, card: Tensor, text: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean [M, n] given sums of messages [M, n (n + 1) / 2 + n], and the prior mean [M, n]."""
        n = self.features
        packed, information = evidence.double().split((n * (n + 1) // 2, n), -1)
        mean = self.prior_mean(card, text)
        covariance, _ = inverse_and_logdet(self.prior_precision(card) + unpack(packed, n))
        # The correction is zero, exactly, where there is no evidence.
        target = information - (unpack(packed, n) @ mean.double().unsqueeze(-1)).squeeze(-1)
        correction: Tensor = (covariance @ target.unsqueeze(-1)).squeeze(-1).to(mean.dtype)
        return mean + correction, mean


class LlmNode(nn.Module):
    """z of an LLM: what its card makes us expect, corrected by the outcomes seen (logits of quality, log tokens)."""

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `prior`."""
        super().__init__()
        self.sizes = sizes
        self.quality = Belief(sizes, sizes.quality)
        self.length = Belief(sizes, sizes.length)
        self.popularity_log_precision = nn.Parameter(torch.tensor(5.5))

    def forward(
        self, card: Tensor, text: Tensor, provider_code: Tensor, name_code: Tensor, price: Tensor, evidence: Tensor
    ) -> Tensor:
        """See the class."""
        d, length = self.sizes.quality, self.sizes.length
        of_quality, of_length, of_liking = evidence.split(
            (d * (d + 1) // 2 + d, length * (length + 1) // 2 + length, 2), -1
        )
        popularity = of_liking[:, 1:] / (of_liking[:, :1] + self.popularity_log_precision.exp())
        (quality, by_card), (talk, _) = self.quality(card, text, of_quality), self.length(card, text, of_length)
        return torch.cat([quality, talk, popularity, price, provider_code, name_code, by_card], -1)


class UserNode(nn.Module):
    """The belief over a user's preference weights, from the sums of messages, which come in blocks by age.

    Tastes change: any block may be the first that speaks of the present ones, and what older blocks say is of somebody
    else then. So the belief is a mixture of one Gaussian for each such block, weighted by how likely both parts are as
    words of two strangers, against all as words of one person (Bayesian detection of change points: Adams & MacKay
    2007, arXiv 0710.3742). Each starts from the population as one Gaussian, that of a mixture of J that training fits.
    """

    population_mean: Tensor
    population_covariance: Tensor
    precision: Tensor
    pull: Tensor
    split: Tensor
    log_odds: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `prior`."""
        super().__init__()
        self.sizes, self.change = sizes, CHANGE
        self.log_weight = nn.Parameter(torch.zeros(sizes.components))
        self.mean = nn.Parameter(torch.zeros(sizes.components, sizes.user))
        # lower factor of each component's precision; the exponential of its diagonal is used
        self.factor = nn.Parameter(torch.zeros(sizes.components, sizes.user, sizes.user))
        # The population as one Gaussian: what a message takes for granted of whoever rates.
        self.register_buffer("population_mean", torch.zeros(sizes.user))
        self.register_buffer("population_covariance", torch.eye(sizes.user))
        for name, values in self._derived().items():
            self.register_buffer(name, values, persistent=False)
        self.register_load_state_dict_post_hook(_derive)

    def _derived(self) -> dict[str, Tensor]:
        """What follows from the population and the sizes."""
        blocks, mean = self.sizes.blocks, self.population_mean.double()
        precision = torch.linalg.inv(self.population_covariance.double())
        newest = torch.ones(blocks, blocks, dtype=torch.double, device=mean.device).tril()
        # A change adds an earlier self, whose evidence is measured from that of no words at all.
        silence = 0.5 * (mean @ precision @ mean - torch.logdet(precision))
        log_odds = (math.log(self.change) - silence).repeat(blocks)
        log_odds[-1] = 0.0
        return {
            "precision": precision,
            "pull": precision @ mean,
            # Of the sums [W, G]: the newest block, the newest two, .., all; all but the newest, .., the oldest.
            "split": torch.cat([newest, 1 - newest[:-1]]),
            "log_odds": log_odds,
        }

    def derive(self) -> None:
        """Call after changing the population's mean or covariance, the sizes or the odds of a change."""
        for name, values in self._derived().items():
            setattr(self, name, values)

    def summarise(self) -> None:
        """Recomputes the population's mean and covariance from the mixture; call after changing the prior."""
        with torch.no_grad():
            weight, mean = torch.softmax(self.log_weight.double(), -1), self.mean.double()
            centre, covariance = mixed(weight, mean, torch.linalg.inv(self.prior_precision()))
            self.population_mean.copy_(centre)
            self.population_covariance.copy_(covariance)
            self.derive()

    def prior_precision(self) -> Tensor:
        """[J, K, K]."""
        lower = self.factor.double().tril(-1) + torch.diag_embed(self.factor.double().diagonal(dim1=-2, dim2=-1).exp())
        return lower @ lower.transpose(-1, -2)

    def moments(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, K] and covariance [B, K, K] of the belief, float64, given packed precisions and information
        [B, W, belief] of the W blocks, newest first.
        """
        k, blocks = self.sizes.user, self.sizes.blocks
        packed, information = (self.split @ sums.double()).split((k * (k + 1) // 2, k), -1)
        covariance, logdet = inverse_and_logdet(self.precision + unpack(packed, k))
        target = information + self.pull
        posterior = (covariance @ target.unsqueeze(-1)).squeeze(-1)  # [B, 2 W - 1, K]
        evidence = 0.5 * ((posterior * target).sum(-1) - logdet)
        recent, earlier = evidence.split((blocks, blocks - 1), -1)
        log_weight = recent + functional.pad(earlier, (0, 1)) + self.log_odds
        return mixed(torch.softmax(log_weight, -1), posterior[..., :blocks, :], covariance[..., :blocks, :, :])

    def forward(self, sums: Tensor) -> Tensor:
        """State [B, S] from the sums [B, W, belief]; see `moments`."""
        mean, covariance = self.moments(sums)
        return torch.cat([mean, covariance.flatten(-2)], -1).to(sums.dtype)


def _derive(node: nn.Module, _: object) -> None:
    assert isinstance(node, UserNode)
    node.derive()


def mixed(weight: Tensor, means: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [.., K] and covariance [.., K, K] of a mixture of Gaussians: weight [.., J], mean [.., J, K], covariance
    [.., J, K, K].
    """
    k = means.shape[-1]
    mean = (weight.unsqueeze(-2) @ means).squeeze(-2)
    apart = means - mean.unsqueeze(-2)
    within = (weight.unsqueeze(-2) @ covariances.flatten(-2)).unflatten(-1, (k, k)).squeeze(-3)
    between = (apart * weight.unsqueeze(-1)).transpose(-1, -2) @ apart
    return mean, within + between


class RewardReading(nn.Module):
    """What a reward says of a user: the best Gaussian evidence about two numbers, u and v.

    u is the user's utility of the answer apart from quality, v what quality is worth, and utility = u + s v with s = 1
    for a right answer and -1 for a wrong one. Which it was nobody knows, but the reward itself tells: the exact
    posterior
    under the population's belief is a mixture of two Gaussians (right, wrong), and the message is the Gaussian evidence
    that leads from the prior to the mixture's mean and covariance (assumed density filtering: Minka 2001, UAI).
    Taking predicted quality for realised quality instead costs a tenth of the gain at 50 ratings. A dense reward at the
    end of the scale says only that utility is at least that far (`at_the_end`).
    """

    dense: Tensor
    nodes: Tensor
    log_weights: Tensor

    def __init__(self) -> None:
        """Allocates; values come from training or from `prior`."""
        super().__init__()
        kinds = len(KINDS)
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        self.register_buffer("nodes", torch.as_tensor(nodes))
        self.register_buffer("log_weights", torch.as_tensor(np.log(weights / weights.sum())))
        # A dense kind is utility plus Gaussian noise; any other is a thumb: up with probability sigmoid(gain utility).
        dense = torch.zeros(kinds)
        dense[[OUTCOME, RATING, JUDGE]] = 1.0
        self.register_buffer("dense", dense)
        self.end = END
        self.log_noise = nn.Parameter(torch.full((kinds,), -3.5))
        self.log_gain = nn.Parameter(torch.full((kinds,), 1.386))

    def moments(self, mean: Tensor, variance: Tensor, reward: Tensor, kind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log evidence, posterior mean and variance, each [N], of a utility that was N(mean, variance), given
        rewards."""
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
