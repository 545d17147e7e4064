"""What a card says of how long an LLM writes, learned from LLMs whose reply lengths are known.

Each task's log length is affine in the card's verbosity and in whether it thinks; tasks that only LLMs of one kind have
answered take their slopes from all tasks together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.network import Belief
from router_model.priors.llm import Doubles, KnownLlms

Floats = NDArray[np.float32]


@dataclass
class TalkPrior:
    """Prior of an LLM's n length weights: offset + features of the card @ slopes, and a covariance."""

    offset: Doubles  # [n]
    slopes: Doubles  # [columns, n]
    columns: tuple[int, ...]
    covariance: Doubles  # [n, n]

    def write(self, belief: Belief) -> None:
        """Copies the prior into a `Belief`; kin say nothing of lengths."""
        with torch.no_grad():
            belief.card.weight.zero_()
            belief.card.weight[:, list(self.columns)] = torch.as_tensor(self.slopes.T, dtype=torch.float32)
            belief.card.bias.copy_(torch.as_tensor(self.offset))
            belief.factor.copy_(torch.as_tensor(np.linalg.cholesky(np.linalg.inv(self.covariance))))
            belief.kin_weights.zero_()


def fit_talk_prior(
    known: KnownLlms,
    columns: tuple[int, ...],
    believed: tuple[float, ...],
    tasks: int,
    level: float,
    *,
    rounds: int = 10,
    common_ridge: float = 30.0,
    own_ridge: float = 8.0,
    level_ridge: float = 0.5,
    offset_ridge: float = 0.25,
    latent_ridge: float = 30.0,
    spread: float = 0.35,
    strength: float = 8.0,
) -> TalkPrior:
    """`columns` of the card and the slopes `believed` of them; the first `tasks` weights are of tasks, whose log
    lengths lie around a common level, which is about `level`; the rest are latents, which start from 0.

    Least squares over lengths, each LLM counting alike, rather than over weights: what a latent means differs from one
    set of data to the next, and a mean of weights predicts no mean of lengths.
    """
    llms, n = known.weights.shape
    width = len(columns)
    covariance = np.eye(n) * spread**2
    x = known.card[:, list(columns)]
    task = np.zeros(n)
    task[:tasks] = 1.0
    # parameters: a level of all tasks, offsets from it [n], common slopes [width] (of tasks), own slopes [width, n]
    start = np.concatenate([[level], np.zeros(n), np.array(believed), np.zeros(width * n)])
    firm = [np.where(task > 0, of_task, latent_ridge) for of_task in (offset_ridge, *[own_ridge] * width)]
    ridge = np.concatenate([[level_ridge], firm[0], np.full(width, common_ridge), *firm[1:]])
    design, target = np.diag(ridge), ridge * start
    for m in range(llms):
        rows = np.concatenate([task[:, None], np.eye(n), np.outer(task, x[m]), *(v * np.eye(n) for v in x[m])], 1)
        # the mean over an LLM's queries: a query's task probabilities add up to 1, so these add up to their number
        weight = known.precision[m] / known.precision[m][:tasks, :tasks].sum() / spread**2
        design += rows.T @ weight @ rows
        target += rows.T @ weight @ known.weights[m]
    solved = np.linalg.solve(design, target)
    offset = solved[0] * task + solved[1 : 1 + n]
    common, own = solved[1 + n : 1 + n + width], solved[1 + n + width :].reshape(width, n)
    slopes = common[:, None] * task + own
    for _ in range(rounds):
        posterior = np.linalg.inv(known.precision + np.linalg.inv(covariance))
        left = np.einsum("mkl,ml->mk", posterior @ known.precision, known.weights - offset - x @ slopes)
        scatter = (left[:, :, None] * left[:, None, :] + posterior).sum(0)
        covariance = (scatter + strength * spread**2 * np.eye(n)) / (llms + strength)
    return TalkPrior(offset, slopes, columns, covariance)
