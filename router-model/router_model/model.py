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
from router_model.features import UserFeatures
from router_model.graph import LlmNode, RewardReading, UserNode
from router_model.linalg import pack, packed_outer
from router_model.sizes import JUDGE, KINDS, NON_LINEAR, OUTCOME, PARTS, RATING, THUMB, Sizes

__all__ = ["JUDGE", "KINDS", "NON_LINEAR", "OUTCOME", "PARTS", "RATING", "THUMB", "Router", "Sizes"]


class Router(nn.Module):
    """All four graphs over shared weights; `llm`, `edge`, `user` and `score` are what is exported."""

    kind_user: Tensor
    kind_llm: Tensor
    part_of: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = QueryEncoder(sizes)
        self.llm_node = LlmNode(sizes)
        self.features = UserFeatures(sizes)
        self.user_node = UserNode(sizes)
        self.reading = RewardReading()
        kinds = len(KINDS)
        # How much of a message each kind sends: 1 from a rating to the user, from an outcome to the LLM.
        self.register_buffer("kind_user", torch.ones(kinds))
        self.register_buffer("kind_llm", torch.zeros(kinds))
        self.register_buffer("part_of", self.features.part_of(), persistent=False)
        self.length_log_noise = nn.Parameter(torch.tensor([-1.0]))
        self.popularity_log_noise = nn.Parameter(torch.tensor([-1.5]))
        self.trade = nn.Parameter(torch.tensor([0.8, 0.2]))  # strength of quality and cost where a request weighs them

    def split_z(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Quality weights, length weights, popularity, price, codes."""
        s = self.sizes
        parts = z.split((s.quality, s.length, 1, 2, s.provider_code + s.name_code), -1)
        quality, length, popularity, price, codes = parts
        return quality, length, popularity.squeeze(-1), price, codes

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
        quality_weights, length_weights, popularity, price, codes = self.split_z(z)
        quality = self.features.quality((of_quality * quality_weights).sum(-1))
        known = completion_tokens >= 0
        tokens = torch.where(known, completion_tokens, predicted_tokens((of_length * length_weights).sum(-1)))
        paid = (prompt_tokens.clamp(min=0.0) * price[:, 0] + tokens * price[:, 1]) * 1e-6
        _, cost, length = self.features.standardise(quality, torch.where(cost_usd >= 0, cost_usd, paid), tokens)
        one = torch.ones_like(cost)
        right = self.features(one, cost, length, task, codes).double()
        wrong = self.features(-one, cost, length, task, codes).double()
        weight = weight.clamp(min=0.0).double()
        user_message = self.to_user(right, wrong, quality, reward, kind, weight, popularity)
        llm_message = self.to_llm(
            of_quality, of_length, quality, right, wrong, reward, kind, weight, completion_tokens
        )
        return user_message.to(query.dtype), llm_message.to(query.dtype)

    def to_user(
        self,
        right: Tensor,
        wrong: Tensor,
        quality: Tensor,
        reward: Tensor,
        kind: Tensor,
        weight: Tensor,
        popularity: Tensor,
    ) -> Tensor:
        """Packed precision and information [N, G] about the weights, from features of a right and a wrong answer [N, K]."""
        plane = torch.stack([(right + wrong) / 2, (right - wrong) / 2], -2)  # [N, 2, K]: of u and of v
        shift = torch.stack([popularity, torch.zeros_like(popularity)], -1).double()  # everybody's liking is part of u
        mean = plane @ self.user_node.population_mean.double() + shift
        covariance = plane @ self.user_node.population_covariance.double() @ plane.transpose(-1, -2)
        covariance = covariance + 1e-6 * torch.eye(2, dtype=covariance.dtype, device=covariance.device)
        chance = quality.double().clamp(0.02, 0.98)
        precision, information = self.reading(mean, covariance, chance, reward.double(), kind)
        information = information - (precision @ shift.unsqueeze(-1)).squeeze(-1)
        k = self.sizes.user
        whole = plane.transpose(-1, -2) @ precision @ plane
        total = torch.cat([pack(whole, k), (information.unsqueeze(-2) @ plane).squeeze(-2)], -1)
        return total * (weight * self.kind_user[kind]).unsqueeze(-1)

    def to_llm(
        self,
        of_quality: Tensor,
        of_length: Tensor,
        quality: Tensor,
        right: Tensor,
        wrong: Tensor,
        reward: Tensor,
        kind: Tensor,
        weight: Tensor,
        completion_tokens: Tensor,
    ) -> Tensor:
        """Evidence [N, V] about what the LLM can do (from outcomes), how much it writes, and how it is liked."""
        # Polya-Gamma at logit 0 (Polson et al. 2013): precision 1/4, information y - 1/2 with y = (r + 1) / 2.
        judged = (weight * self.kind_llm[kind]).to(of_quality.dtype).unsqueeze(-1)
        known = (completion_tokens >= 0).to(of_quality.dtype)
        sent = (weight > 0).to(of_quality.dtype)
        heard = (known * sent).unsqueeze(-1) * torch.exp(-self.length_log_noise)
        log_tokens = torch.log(completion_tokens.clamp(min=1.0)).unsqueeze(-1)
        expected = wrong + quality.double().unsqueeze(-1) * (right - wrong)
        usual = (expected @ self.user_node.population_mean.double()).to(of_quality.dtype)
        heeded = (weight * self.kind_user[kind] * (1 - self.kind_llm[kind])).to(of_quality.dtype)
        liked = heeded.unsqueeze(-1) * torch.stack(self.liking(usual, reward, kind), -1)
        return torch.cat(
            [
                judged * 0.25 * packed_outer(of_quality),
                judged * 0.5 * reward.unsqueeze(-1) * of_quality,
                heard * packed_outer(of_length),
                heard * log_tokens * of_length,
                liked,
            ],
            -1,
        )

    def liking(self, usual: Tensor, reward: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Precision and information [N] about how much more everybody likes an LLM than what is `usual` for its answer.

        A single user's tastes are noise here. A thumb enters by one step of Fisher scoring (a sigmoid averaged over that
        noise is a flatter sigmoid: MacKay 1992).
        """
        noise = self.popularity_log_noise.exp()
        gain = self.reading.log_gain.exp()[kind]
        gain = gain / torch.sqrt(1 + math.pi / 8 * gain.square() * noise)
        chance = torch.sigmoid(gain * usual)
        dense = self.reading.dense[kind] > 0
        precision = torch.where(dense, 1 / noise, gain.square() * chance * (1 - chance))
        information = torch.where(dense, (reward - usual) / noise, gain * ((reward + 1) / 2 - chance))
        return precision, information

    def user(self, sums: Tensor) -> Tensor:
        """State [B, S]."""
        state: Tensor = self.user_node(sums)
        return state

    def predict(self, query: Tensor, prompt_tokens: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Not personal: quality [B, M], dollars [B, M], reply tokens [B, M], soft task group [B, T]."""
        of_quality, of_length, task = self.encoder(query)
        quality_weights, length_weights, _, price, _ = self.split_z(z)
        quality = self.features.quality(of_quality @ quality_weights.T)
        tokens = predicted_tokens(of_length @ length_weights.T)
        cost = (prompt_tokens.clamp(min=0.0).unsqueeze(-1) * price[:, 0] + tokens * price[:, 1]) * 1e-6
        return quality, cost, tokens, task

    def score(
        self, query: Tensor, prompt_tokens: Tensor, state: Tensor, z: Tensor, cost_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Mean [B, M], std [B, M], parts [B, M, R], quality [B, M], completion tokens [B, M]."""
        k = self.sizes.user
        quality, dollars, tokens, task = self.predict(query, prompt_tokens, z)
        _, _, popularity, _, codes = self.split_z(z)
        q, c, n = self.features.standardise(quality, dollars, tokens)
        phi = self.features(q, c, n, task.unsqueeze(1), codes.expand(q.shape[0], -1, -1))  # [B, M, K]
        weights, covariance = state.split((k, k * k), -1)
        variance = ((phi @ covariance.reshape(-1, k, k)) * phi).sum(-1)

        by_part = weights.unsqueeze(-1) * self.part_of  # [B, K, R]
        learned = phi @ by_part + popularity.unsqueeze(-1) * self.part_of[-1]  # [B, M, R]
        share = cost_weight.clamp(0.0, 1.0).reshape(-1, 1, 1)
        traded = torch.stack([(1 - share) * self.trade[0], -share * self.trade[1]], -1)  # [B, 1, 1, 2]
        both = (torch.stack([q, c], -1).unsqueeze(-2) * traded).squeeze(-2)  # [B, M, 2]
        asked = torch.cat([learned[..., :1], both, torch.zeros_like(both)], -1)
        parts = torch.where((cost_weight < 0).reshape(-1, 1, 1), learned, asked)
        return parts.sum(-1), variance.clamp(min=1e-10).sqrt(), parts, quality, tokens


def predicted_tokens(log_tokens: Tensor) -> Tensor:
    """Reply length from its logarithm, kept between 1 and 32,000 tokens."""
    return log_tokens.clamp(0.0, 10.37).exp()
