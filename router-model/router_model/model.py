"""The network of the router: a query encoder, an LLM node, a message per edge, a user node and a scorer.

A user is not a vector that gradient steps must find but a belief over preference weights w; a reward is evidence, a
message (tau phi phi^T, tau phi r), and the aggregate of messages is their sum. The LLM node works the same way on the
outcomes of all users (a Bayesian last layer: Harrison et al. 2018, arXiv 1807.08912), starting from the LLM's card.
Letters: B requests, M candidates, N edges, T tasks, D quality features, L length features, K user features,
J components of the prior; the rest as in ARTIFACT.md.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from router_model.linalg import inverse_and_logdet, packed_indices, packed_outer, unpack

KINDS = ("outcome", "rating", "thumb", "preference", "regeneration", "edit", "continuation", "abort", "judge")
PARTS = ("base", "quality", "cost", "length", "liking")
OUTCOME, RATING, THUMB = 0, 1, 2
NON_LINEAR = 6  # features of the user beside the linear ones: see `UserFeatures`


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything that the manifest's `dims` name, and of what is inside the graphs."""

    query: int = 256  # E
    card: int = 36  # F
    provider_code: int = 8  # P
    name_code: int = 32  # C
    tasks: int = 5  # T
    quality: int = 16  # D
    length: int = 8  # L
    hidden: int = 64
    components: int = 12  # J

    @property
    def user(self) -> int:
        """K: features of a (query, LLM) pair as a user sees it."""
        return 4 * (1 + self.tasks) + NON_LINEAR + self.provider_code + self.name_code

    @property
    def z(self) -> int:
        """Z: quality weights, length weights, two prices, two codes."""
        return self.quality + self.length + 2 + self.provider_code + self.name_code

    @property
    def llm_message(self) -> int:
        """V: packed precision and information of quality and of length."""
        return sum(n * (n + 1) // 2 + n for n in (self.quality, self.length))

    @property
    def user_message(self) -> int:
        """G: packed precision and information of the preference weights."""
        return self.user * (self.user + 1) // 2 + self.user

    @property
    def state(self) -> int:
        """S: posterior mean and packed covariance."""
        return self.user_message

    def as_dict(self) -> dict[str, int]:
        """For a checkpoint."""
        return asdict(self)


class QueryEncoder(nn.Module):
    """Reads a query's embedding: features of quality [.., D], of length [.., L], and a soft task [.., T]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.hidden = nn.Linear(sizes.query, sizes.hidden)
        self.heads = nn.Linear(sizes.hidden + sizes.query, sizes.quality - 1 + sizes.length - 1 + sizes.tasks)
        self.split = (sizes.quality - 1, sizes.length - 1, sizes.tasks)

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = torch.relu(self.hidden(query))
        quality, length, task = self.heads(torch.cat([hidden, query], -1)).split(self.split, -1)
        one = torch.ones_like(query[..., :1])
        return torch.cat([one, quality], -1), torch.cat([one, length], -1), torch.softmax(task, -1)


class LlmNode(nn.Module):
    """z of an LLM: what its card makes us expect, corrected by the outcomes seen.

    Prior mean of the quality weights (logits) and of the length weights (log tokens) is affine in the card and the
    embedded description; prior precision is learned. `evidence` is a plain sum of messages from `EdgeMessages`.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.card_quality = nn.Linear(sizes.card, sizes.quality)
        self.card_length = nn.Linear(sizes.card, sizes.length)
        self.text_quality = nn.Linear(sizes.query, sizes.quality, bias=False)
        self.text_length = nn.Linear(sizes.query, sizes.length, bias=False)
        self.quality_log_precision = nn.Parameter(torch.zeros(sizes.quality))
        self.length_log_precision = nn.Parameter(torch.zeros(sizes.length))

    def prior_mean(self, card: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Quality [M, D] and length [M, L] weights before any outcome."""
        return self.card_quality(card) + self.text_quality(text), self.card_length(card) + self.text_length(text)

    def posterior_mean(self, mean: Tensor, log_precision: Tensor, evidence: Tensor) -> Tensor:
        """Mean [M, n] of the weights given `evidence` [M, n (n + 1) / 2 + n]."""
        n = mean.shape[-1]
        packed, information = evidence.split((n * (n + 1) // 2, n), -1)
        prior = torch.diag(log_precision.exp()).double()
        precision = prior + unpack(packed.double(), n)
        covariance, _ = inverse_and_logdet(precision)
        target = information.double() + mean.double() @ prior
        return (covariance @ target.unsqueeze(-1)).squeeze(-1).to(mean.dtype)

    def forward(
        self, card: Tensor, text: Tensor, provider_code: Tensor, name_code: Tensor, price: Tensor, evidence: Tensor
    ) -> Tensor:
        d, length = self.sizes.quality, self.sizes.length
        of_quality, of_length = evidence.split((d * (d + 1) // 2 + d, length * (length + 1) // 2 + length), -1)
        quality_prior, length_prior = self.prior_mean(card, text)
        quality = self.posterior_mean(quality_prior, self.quality_log_precision, of_quality)
        tokens = self.posterior_mean(length_prior, self.length_log_precision, of_length)
        return torch.cat([quality, tokens, price, provider_code, name_code], -1)


class UserFeatures(nn.Module):
    """phi(query, llm) [.., K]: [1, quality, cost, length] x [1, task], some non-linear ones, vendor and name codes.

    Quality, cost and length enter standardised; codes are random signatures, so that likings of single LLMs and vendors
    need no table of LLMs and work for LLMs that training never saw.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        # quality, log10 dollars, log tokens
        self.register_buffer("centre", torch.tensor([0.6, -3.5, math.log(150.0)]))
        self.register_buffer("scale", torch.tensor([0.25, 0.8, 0.9]))
        self.quality_scale = nn.Parameter(torch.ones(2))
        self.quality_shift = nn.Parameter(torch.zeros(1))

    def quality(self, logit: Tensor) -> Tensor:
        """Probability of a good answer from the LLM node's logit."""
        return torch.sigmoid(self.quality_scale[0] * logit + self.quality_shift)

    def standardise(self, quality: Tensor, cost: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quality 0..1, dollars, tokens, any equal shapes, to about zero mean and unit spread."""
        log_cost = torch.log10(cost.clamp(min=1e-9))
        log_tokens = torch.log(tokens.clamp(min=1.0))
        return (
            (quality - self.centre[0]) / self.scale[0],
            (log_cost - self.centre[1]) / self.scale[1],
            (log_tokens - self.centre[2]) / self.scale[2],
        )

    def non_linear(self, quality: Tensor, cost: Tensor, length: Tensor) -> list[Tensor]:
        """What a linear preference can't say: thresholds of quality, a budget, an ideal length."""
        hinge = torch.relu(cost - 0.5)
        doubt = torch.relu(-0.4 - quality)
        return [quality * cost, quality * quality, cost * cost, length * length, hinge, doubt]

    def forward(self, quality: Tensor, cost: Tensor, length: Tensor, task: Tensor, codes: Tensor) -> Tensor:
        one = torch.ones_like(quality)
        linear = torch.stack([one, quality, cost, length], -1)
        with_task = torch.cat([linear.new_ones(task[..., :1].shape), task], -1)
        outer = (linear.unsqueeze(-1) * with_task.unsqueeze(-2)).flatten(-2)
        return torch.cat([outer, torch.stack(self.non_linear(quality, cost, length), -1), codes], -1)


class UserNode(nn.Module):
    """The belief over a user's preference weights: a mixture of J Gaussians, updated by the sum of messages."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.log_weight = nn.Parameter(torch.zeros(sizes.components))
        self.mean = nn.Parameter(torch.zeros(sizes.components, sizes.user))
        # lower factor of each component's precision; the exponential of its diagonal is used
        self.factor = nn.Parameter(torch.zeros(sizes.components, sizes.user, sizes.user))

    def prior_precision(self) -> Tensor:
        """[J, K, K]."""
        lower = self.factor.double().tril(-1) + torch.diag_embed(self.factor.double().diagonal(dim1=-2, dim2=-1).exp())
        return lower @ lower.transpose(-1, -2)

    def components(self, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weight [B, J], mean [B, J, K], covariance [B, J, K, K] of each component given `sums` [B, G], float64."""
        k = self.sizes.user
        packed, information = sums.double().split((k * (k + 1) // 2, k), -1)
        prior = self.prior_precision()
        mean = self.mean.double()
        pull = (prior @ mean.unsqueeze(-1)).squeeze(-1)  # [J, K]
        start = torch.log_softmax(self.log_weight.double(), -1) - 0.5 * (pull * mean).sum(-1)
        start = start + self.factor.double().diagonal(dim1=-2, dim2=-1).sum(-1)
        precision = prior + unpack(packed, k).unsqueeze(-3)
        covariance, logdet = inverse_and_logdet(precision)
        target = information.unsqueeze(-2) + pull
        posterior = (covariance @ target.unsqueeze(-1)).squeeze(-1)
        log_weight = start - 0.5 * logdet + 0.5 * (posterior * target).sum(-1)
        return torch.log_softmax(log_weight, -1), posterior, covariance

    def moments(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, K] and covariance [B, K, K] of the whole belief, float64."""
        log_weight, posterior, covariance = self.components(sums)
        weight = log_weight.exp()
        mean = (weight.unsqueeze(-2) @ posterior).squeeze(-2)
        apart = posterior - mean.unsqueeze(-2)
        k = self.sizes.user
        within = (weight.unsqueeze(-2) @ covariance.flatten(-2)).reshape(-1, k, k)
        between = (apart * weight.unsqueeze(-1)).transpose(-1, -2) @ apart
        return mean, within + between

    def forward(self, sums: Tensor) -> Tensor:
        mean, covariance = self.moments(sums)
        packed = covariance.flatten(-2).index_select(-1, packed_indices(self.sizes.user, sums.device))
        return torch.cat([mean, packed], -1).to(sums.dtype)


class Router(nn.Module):
    """All four graphs over shared weights; `llm`, `edge`, `user` and `score` are what is exported."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = QueryEncoder(sizes)
        self.llm_node = LlmNode(sizes)
        self.features = UserFeatures(sizes)
        self.user_node = UserNode(sizes)
        kinds = len(KINDS)
        # A reward r of a kind is read as w . phi = gain r + shift, with this precision.
        self.kind_log_precision = nn.Parameter(torch.full((kinds,), 1.0))
        self.kind_gain = nn.Parameter(torch.ones(kinds))
        self.kind_shift = nn.Parameter(torch.zeros(kinds))
        self.register_buffer("kind_user", torch.ones(kinds))
        self.register_buffer("kind_llm", torch.zeros(kinds))
        self.length_log_noise = nn.Parameter(torch.zeros(1))
        self.trade = nn.Parameter(torch.tensor([0.5, 0.5]))  # strength of quality and cost where a request gives the weight

    kind_user: Tensor
    kind_llm: Tensor

    def split_z(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quality weights, length weights, price, codes."""
        s = self.sizes
        quality, length, price, codes = z.split((s.quality, s.length, 2, s.provider_code + s.name_code), -1)
        return quality, length, price, codes

    def llm(
        self, card: Tensor, text: Tensor, provider_code: Tensor, name_code: Tensor, price: Tensor, evidence: Tensor
    ) -> Tensor:
        """z [M, Z]."""
        return self.llm_node(card, text, provider_code, name_code, price, evidence)

    def edge(
        self,
        query: Tensor,
        z: Tensor,
        reward: Tensor,
        kind: Tensor,
        weight: Tensor,
        prompt_tokens: Tensor,
        completion_tokens: Tensor,
        cost_usd: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Messages of N rewards: to the user [N, G], to the LLM [N, V]. Negative tokens or cost: not known."""
        of_quality, of_length, task = self.encoder(query)
        quality_weights, length_weights, price, codes = self.split_z(z)
        quality = self.features.quality((of_quality * quality_weights).sum(-1))
        expected_tokens = predicted_tokens((of_length * length_weights).sum(-1))
        known = completion_tokens >= 0
        tokens = torch.where(known, completion_tokens, expected_tokens)
        asked = prompt_tokens.clamp(min=0.0)
        cost = torch.where(cost_usd >= 0, cost_usd, (asked * price[..., 0] + tokens * price[..., 1]) * 1e-6)
        phi = self.features(*self.features.standardise(quality, cost, tokens), task, codes)

        weight = weight.clamp(min=0.0)
        tau = (weight * self.kind_log_precision.exp()[kind] * self.kind_user[kind]).unsqueeze(-1)
        target = (self.kind_gain[kind] * reward + self.kind_shift[kind]).unsqueeze(-1)
        user_message = torch.cat([tau * packed_outer(phi), tau * target * phi], -1)

        # Polya-Gamma at logit 0 (Polson et al. 2013): precision 1/4, information y - 1/2 with y = (r + 1) / 2.
        llm_weight = (weight * self.kind_llm[kind]).unsqueeze(-1)
        heard = known.to(weight.dtype).unsqueeze(-1) * llm_weight * (-self.length_log_noise).exp()
        log_tokens = torch.log(completion_tokens.clamp(min=1.0)).unsqueeze(-1)
        llm_message = torch.cat(
            [
                llm_weight * 0.25 * packed_outer(of_quality),
                llm_weight * 0.5 * reward.unsqueeze(-1) * of_quality,
                heard * packed_outer(of_length),
                heard * log_tokens * of_length,
            ],
            -1,
        )
        return user_message, llm_message

    def user(self, sums: Tensor) -> Tensor:
        """State [B, S]."""
        return self.user_node(sums)

    def predict(self, query: Tensor, prompt_tokens: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Not personal: quality [B, M], dollars [B, M], reply tokens [B, M], soft task [B, T]."""
        of_quality, of_length, task = self.encoder(query)
        quality_weights, length_weights, price, _ = self.split_z(z)
        quality = self.features.quality(of_quality @ quality_weights.T)
        tokens = predicted_tokens(of_length @ length_weights.T)
        cost = (prompt_tokens.clamp(min=0.0).unsqueeze(-1) * price[:, 0] + tokens * price[:, 1]) * 1e-6
        return quality, cost, tokens, task

    def score(
        self, query: Tensor, prompt_tokens: Tensor, state: Tensor, z: Tensor, cost_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Mean [B, M], std [B, M], parts [B, M, R], quality [B, M], completion tokens [B, M]."""
        s = self.sizes
        quality, dollars, tokens, task = self.predict(query, prompt_tokens, z)
        codes = self.split_z(z)[3]
        q, c, n = self.features.standardise(quality, dollars, tokens)
        k, t = s.user, 1 + s.tasks
        weights, packed = state.split((k, k * (k + 1) // 2), -1)
        by_task, non_linear, liking = weights.split((4 * t, NON_LINEAR, s.provider_code + s.name_code), -1)
        with_task = torch.cat([torch.ones_like(task[:, :1]), task], -1)
        now = (by_task.reshape(-1, 4, t) @ with_task.unsqueeze(-1)).unsqueeze(1)  # [B, 1, 4, 1]
        extra = non_linear.unsqueeze(1).unsqueeze(-1)  # [B, 1, 6, 1]
        bends = self.features.non_linear(q, c, n)
        base = now[:, :, 0].squeeze(-1).expand_as(q)
        of_quality = now[:, :, 1].squeeze(-1) * q + sum(extra[:, :, i].squeeze(-1) * bends[i] for i in (1, 5))
        of_cost = now[:, :, 2].squeeze(-1) * c + sum(extra[:, :, i].squeeze(-1) * bends[i] for i in (0, 2, 4))
        of_length = now[:, :, 3].squeeze(-1) * n + extra[:, :, 3].squeeze(-1) * bends[3]
        of_liking = liking @ codes.T
        learned = torch.stack([base, of_quality, of_cost, of_length, of_liking], -1)

        share = cost_weight.clamp(0.0, 1.0).unsqueeze(-1)
        nothing = torch.zeros_like(q)
        asked = torch.stack([base, (1 - share) * self.trade[0] * q, -share * self.trade[1] * c, nothing, nothing], -1)
        parts = torch.where((cost_weight < 0).reshape(-1, 1, 1), learned, asked)
        mean = parts.sum(-1)

        phi = self.features(q, c, n, task.unsqueeze(1).expand(-1, q.shape[1], -1), codes.unsqueeze(0).expand(q.shape[0], -1, -1))
        variance = ((phi @ unpack(packed, k)) * phi).sum(-1)
        return mean, variance.clamp(min=1e-10).sqrt(), parts, quality, tokens


def predicted_tokens(log_tokens: Tensor) -> Tensor:
    """Reply length from its logarithm, kept between 1 and 32,000 tokens."""
    return log_tokens.clamp(0.0, 10.37).exp()
