"""Simulated training users as evidence for the user node's prior, and histories to judge it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.data.cards import price_matrix
from router_model.data.codes import code_matrix
from router_model.data.pools import Pool
from router_model.data.simulation import RATING_NOISE, History
from router_model.network import Sizes, UserFeatures, predicted_tokens
from router_model.priors.user import Doubles

Floats = NDArray[np.float32]

# Variance of a rating around what is expected of the user: noise, and answers that turn out right or wrong.
RATING_VARIANCE, DOUBT_VARIANCE = RATING_NOISE**2, 0.3


@dataclass(frozen=True)
class Expected:
    """Predictions for every query and LLM of a pool, by an encoder that never saw the query."""

    quality: Floats  # [Q, M], 0..1
    tokens: Floats  # [Q, M]
    cost_usd: Floats  # [Q, M]
    task: Floats  # [Q, T]
    codes: Floats  # [M, P + C]

    @classmethod
    def of(cls, pool: Pool, logit: Floats, log_tokens: Floats, task: Floats, sizes: Sizes) -> Expected:
        """From predictions of `reading`."""
        tokens = predicted_tokens(torch.as_tensor(log_tokens)).numpy()
        price = price_matrix(pool.cards)
        cost = (pool.prompt_tokens[:, None] * price[:, 0] + tokens * price[:, 1]) * 1e-6
        codes = [
            code_matrix([card.vendor for card in pool.cards], sizes.provider_code, "frame"),
            code_matrix([card.name for card in pool.cards], sizes.name_code, "frame"),
        ]
        quality = (1 / (1 + np.exp(-logit))).astype(np.float32)
        return cls(quality, tokens, cost.astype(np.float32), task, np.concatenate(codes, 1))


def edge_features(features: UserFeatures, expected: Expected, history: History) -> tuple[Doubles, Doubles]:
    """phi [U, N, K] of answered requests with realised cost and length, and predicted quality [U, N]."""
    at = (history.query, history.llm)
    known = np.isfinite(history.completion_tokens)
    tokens = np.where(known, history.completion_tokens, expected.tokens[at]).astype(np.float32)
    quality = expected.quality[at]
    columns = (quality, history.cost_usd, tokens, expected.task[history.query], expected.codes[history.llm])
    q, cost, length, task, codes = (torch.as_tensor(np.ascontiguousarray(x)) for x in columns)
    with torch.no_grad():
        phi = features(*features.standardise(q, cost, length), task, codes)
    return phi.double().numpy(), quality.astype(np.float64)


def rating_evidence(features: UserFeatures, expected: Expected, history: History) -> tuple[Doubles, Doubles]:
    """Precision [U, K, K] and information [U, K] of long histories of ratings, read linearly.

    A long history needs no guess at which answers were right: the doubt about that is noise of a known size.
    """
    phi, quality = edge_features(features, expected, history)
    precision = history.rated / (RATING_VARIANCE + DOUBT_VARIANCE * quality * (1 - quality))
    weighted = phi * precision[..., None]
    return weighted.transpose(0, 2, 1) @ phi, (weighted * history.reward[..., None]).sum(1)
