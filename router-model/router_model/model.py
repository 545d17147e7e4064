"""The network of the router: a query encoder, an LLM node, a message per edge, a user node and a scorer.

A user is not a vector that gradient steps must find but a belief over preference weights w; a reward is evidence, a
message (tau phi phi^T, tau phi r), and the aggregate of messages is their sum. The LLM node works the same way on the
outcomes of all users (a Bayesian last layer: Harrison et al. 2018, arXiv 1807.08912), starting from the LLM's card.
Letters: B requests, M candidates, N edges, T tasks, D quality features, L length features, K user features,
J components of the prior; the rest as in ARTIFACT.md.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from router_model.encoder import QueryEncoder
from router_model.export.fold import Scorer
from router_model.features import UserFeatures
from router_model.graph import LlmNode, RewardReading, UserNode
from router_model.leniency import Leniency
from router_model.linalg import pack, packed_outer
from router_model.sizes import JUDGE, KINDS, MOST_LOG_TOKENS, NON_LINEAR, OUTCOME, PARTS, RATING, THUMB, Sizes

__all__ = ["JUDGE", "KINDS", "NON_LINEAR", "OUTCOME", "PARTS", "RATING", "THUMB", "Router", "Sizes"]

# Strength of quality (at cost weight 0) and of cost (at 1), in units of reward.
REQUESTED_QUALITY, REQUESTED_COST = 0.8, 0.2
FURTHEST_LOGIT = 3.0  # of a card, for reading outcomes: beyond it one outcome would say too much


Scores = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class Router(nn.Module):
    """All four graphs over shared weights; `llm`, `edge`, `user` and `score` are what is exported."""

    kind_user: Tensor
    kind_llm: Tensor
    part_of: Tensor
    not_base: Tensor
    quality_only: Tensor
    cost_for_quality: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `prior`."""
        super().__init__()
        self.sizes = sizes
        self.encoder = QueryEncoder(sizes)
        self.llm_node = LlmNode(sizes)
        self.features = UserFeatures(sizes)
        self.user_node = UserNode(sizes)
        self.reading = RewardReading()
        self.leniency = Leniency(sizes)
        kinds = len(KINDS)
        # How much of a message each kind sends: 1 from a rating to the user, from an outcome to the LLM.
        self.register_buffer("kind_user", torch.ones(kinds))
        self.register_buffer("kind_llm", torch.zeros(kinds))
        self.register_buffer("part_of", self.features.part_of(), persistent=False)
        self.length_log_noise = nn.Parameter(torch.tensor([-1.0]))
        by_request = requested_weights(sizes)
        for name, values in by_request.items():
            self.register_buffer(name, values, persistent=False)

    def split_z(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Quality weights, length weights, popularity, price, codes, quality weights by the card alone."""
        s = self.sizes
        parts = z.split((s.quality, s.length, 1, 2, s.provider_code + s.name_code, s.quality), -1)
        quality, length, popularity, price, codes, by_card = parts
        return quality, length, popularity.squeeze(-1), price, codes, by_card

    def llm(
        self, card: Tensor, text: Tensor, provider_code: Tensor, name_code: Tensor, price: Tensor, evidence: Tensor
    ) -> Tensor:
        """z [M, Z]."""
        z: Tensor = self.llm_node(card, text, provider_code, name_code, price, evidence)
        return z

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
        quality_weights, length_weights, popularity, price, codes, by_card = self.split_z(z)
        quality = self.features.quality((of_quality * quality_weights).sum(-1))
        known = completion_tokens >= 0
        tokens = torch.where(known, completion_tokens, predicted_tokens((of_length * length_weights).sum(-1)))
        paid = (prompt_tokens.clamp(min=0.0) * price[:, 0] + tokens * price[:, 1]) * 1e-6
        _, cost, length = self.features.standardise(quality, torch.where(cost_usd >= 0, cost_usd, paid), tokens)
        one = torch.ones_like(cost)
        right = self.features(one, cost, length, task, codes).double()
        wrong = self.features(-one, cost, length, task, codes).double()
        weight = weight.clamp(min=0.0).double()
        plane = torch.stack([(right + wrong) / 2, (right - wrong) / 2], -2)  # [N, 2, K]: of u and of v
        usual = plane @ self.user_node.population_mean.double()
        covariance = plane @ self.user_node.population_covariance.double() @ plane.transpose(-1, -2)
        covariance = covariance + 1e-6 * torch.eye(2, dtype=covariance.dtype, device=covariance.device)
        chance = quality.double().clamp(0.02, 0.98)
        heeded = (weight * self.kind_user[kind]).unsqueeze(-1)
        popularity, offsets = popularity.double(), self.leniency.offsets(kind)
        readings = self.to_user(plane, usual, covariance, chance, reward.double(), kind, popularity + offsets)
        more, told = self.liking(usual, covariance, chance, reward.double(), kind)
        lenient = self.leniency.evidence(more, told, popularity, kind)
        message = heeded * torch.cat([readings[0], readings[1], lenient], -1)
        liked = heeded * (1 - self.kind_llm[kind]).unsqueeze(-1) * torch.stack([more, told], -1)

        judged = (weight * self.kind_llm[kind]).to(query.dtype).unsqueeze(-1)
        curvature, pull = outcome_terms((of_quality * by_card).sum(-1, keepdim=True), reward.unsqueeze(-1))
        heard = (known & (weight > 0)).to(query.dtype).unsqueeze(-1) * torch.exp(-self.length_log_noise)
        log_tokens = torch.log(completion_tokens.clamp(min=1.0)).unsqueeze(-1)
        to_llm = [
            judged * curvature * packed_outer(of_quality),
            judged * pull * of_quality,
            heard * packed_outer(of_length),
            heard * log_tokens * of_length,
            liked.to(query.dtype),
        ]
        return message.to(query.dtype), torch.cat(to_llm, -1)

    def to_user(
        self,
        plane: Tensor,
        usual: Tensor,
        covariance: Tensor,
        chance: Tensor,
        reward: Tensor,
        kind: Tensor,
        besides: Tensor,
    ) -> Tensor:
        """Packed precision and information [.., N, belief] about the weights, from what u and v are by the features
        `plane` [N, 2, K] and usually are, `usual` [N, 2] and `covariance` [N, 2, 2]. `besides` [.., N]: what else is in
        u, everybody's liking and a rater's leniency.
        """
        shift = torch.stack([besides, torch.zeros_like(besides)], -1)
        precision, information = self.reading(usual + shift, covariance, chance, reward, kind)
        information = information - (precision @ shift.unsqueeze(-1)).squeeze(-1)
        whole = plane.transpose(-1, -2) @ precision @ plane
        return torch.cat([pack(whole, self.sizes.user), (information.unsqueeze(-2) @ plane).squeeze(-2)], -1)

    def liking(
        self, usual: Tensor, covariance: Tensor, chance: Tensor, reward: Tensor, kind: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Precision and information [N] about how much more everybody likes an LLM than what is usual for its answer.

        A single user's tastes are noise here. One step of Fisher scoring from zero; a sigmoid averaged over that
        noise is a flatter sigmoid (MacKay 1992).
        """
        noise, gain = self.reading.log_noise.double().exp()[kind], self.reading.log_gain.double().exp()[kind]
        mean = second = slope = up = torch.zeros_like(chance)
        for sign, share in ((1.0, chance), (-1.0, 1 - chance)):
            utility = usual[:, 0] + sign * usual[:, 1]
            variance = covariance[:, 0, 0] + 2 * sign * covariance[:, 0, 1] + covariance[:, 1, 1]
            flat = gain / torch.sqrt(1 + math.pi / 8 * gain.square() * variance)
            p = torch.sigmoid(flat * utility)
            up, slope = up + share * p, slope + share * flat * p * (1 - p)
            mean, second = mean + share * utility, second + share * (utility.square() + variance + noise)
        dense = self.reading.dense[kind] > 0
        spread = second - mean * mean
        information = torch.where(dense, (reward - mean) / spread, slope * ((reward + 1) / 2 - up) / (up * (1 - up)))
        precision = torch.where(dense, 1 / spread, slope.square() / (up * (1 - up)))
        return precision, information

    def user(self, sums: Tensor) -> Tensor:
        """State [B, S]."""
        blocks = sums.unflatten(-1, (self.sizes.blocks, self.sizes.user_message))
        state: Tensor = self.user_node(self.leniency(blocks))
        return state

    def predict(self, query: Tensor, prompt_tokens: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Not personal: quality [B, M], dollars [B, M], log of reply tokens [B, M], soft task group [B, T]."""
        of_quality, of_length, task = self.encoder(query)
        quality_weights, length_weights, _, price, _, _ = self.split_z(z)
        quality = self.features.quality(of_quality @ quality_weights.T)
        log_tokens = (of_length @ length_weights.T).clamp(0.0, MOST_LOG_TOKENS)
        rates = price.T * 1e-6
        cost = prompt_tokens.clamp(min=0.0).unsqueeze(-1) * rates[0] + log_tokens.exp() * rates[1]
        return quality, cost, log_tokens, task

    def score(
        self,
        query: Tensor,
        prompt_tokens: Tensor,
        state: Tensor,
        z: Tensor,
        cost_weight: Tensor,
        anchor: Tensor | None = None,
    ) -> Scores:
        """Mean [B, M], std [B, M], parts [B, M, R], quality [B, M], completion tokens [B, M], and the deviation [B, M]
        of the difference to the LLM whose z is `anchor` [1, Z], the first by default.
        """
        scores: Scores = Scorer(self)(
            query, prompt_tokens, state, z, cost_weight, z[:1] if anchor is None else anchor
        )
        return scores


def requested_weights(sizes: Sizes) -> dict[str, Tensor]:
    """Where a request gives its own cost weight: weights [K] at 0, their change to 1, and which of the learned go."""
    width = 1 + sizes.tasks
    quality_only, cost_for_quality, not_base = torch.zeros(sizes.user), torch.zeros(sizes.user), torch.ones(sizes.user)
    quality_only[0] = REQUESTED_QUALITY
    cost_for_quality[0], cost_for_quality[width] = -REQUESTED_QUALITY, -REQUESTED_COST
    not_base[3 * width] = 0.0
    return {"quality_only": quality_only, "cost_for_quality": cost_for_quality, "not_base": not_base}


def outcome_terms(logit: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and information about a logit that one outcome gives, linearised at the card's own `logit`.

    p (1 - p) and p (1 - p) logit + y - p with y = (reward + 1) / 2: one step of Newton from the card, so a strong LLM
    rises to its truth. The card's logit, unlike the believed one, never changes: messages can be taken back.
    """
    at = logit.clamp(-FURTHEST_LOGIT, FURTHEST_LOGIT)
    p = torch.sigmoid(at)
    curvature = p * (1 - p)
    return curvature, curvature * at + (reward + 1) / 2 - p


def predicted_tokens(log_tokens: Tensor) -> Tensor:
    """Reply length from its logarithm, kept between 1 and 32,000 tokens."""
    return log_tokens.clamp(0.0, MOST_LOG_TOKENS).exp()
