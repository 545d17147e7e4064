"""Second stage of training: what a card says of an LLM, learned from the LLMs whose outcomes are known.

Thirty LLMs can't determine forty card features. So a card speaks through one number, ability, whose slopes stay near
hand-set ones (`prior.ABILITY`); each skill is affine in ability; what is left over is the prior covariance over
skills, which tells how outcomes of one task inform about another; and kin (LLMs with alike descriptions) share what
is left over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.network import Belief

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass
class KnownLlms:
    """LLMs with outcomes: cards [M, F], texts [M, E], fitted weights [M, n] and how sure they are [M, n, n].

    `doubt` [M]: deviation of the ability that a card tells.
    """

    card: Doubles
    text: Doubles
    weights: Doubles
    precision: Doubles
    doubt: Doubles


@dataclass
class CardPrior:
    """Prior of an LLM's n weights: mean = offset + gain x (slopes . card) + own . card, covariance, and kin."""

    offset: Doubles  # [n]
    gain: Doubles  # [n]
    slopes: Doubles  # [F]
    covariance: Doubles  # [n, n]
    kin_text: Doubles  # [M, E]
    kin_weights: Doubles  # [M, n]
    own: Doubles  # [n, F]: what single tasks ask of a card beside ability
    kin_sharpness: float = 8.0

    def mean(self, card: Doubles, text: Doubles) -> Doubles:
        """Prior mean [M, n]."""
        ability = card @ self.slopes
        base: Doubles = self.offset + ability[:, None] * self.gain + card @ self.own.T
        if len(self.kin_text):
            base = base + np.exp(self.kin_sharpness * (text @ self.kin_text.T - 1)) @ self.kin_weights
        return base

    def write(self, belief: Belief, mask: Floats) -> None:
        """Copies the prior into a `Belief`; `mask` [E]: see `Belief.set_kin`."""
        with torch.no_grad():
            belief.card.weight.copy_(torch.as_tensor(np.outer(self.gain, self.slopes) + self.own))
            belief.card.bias.copy_(torch.as_tensor(self.offset))
            belief.gain.copy_(torch.as_tensor(self.gain))
            belief.factor.copy_(torch.as_tensor(np.linalg.cholesky(np.linalg.inv(self.covariance))))
            belief.set_kin(
                torch.as_tensor(self.kin_text, dtype=torch.float32),
                torch.as_tensor(self.kin_weights, dtype=torch.float32),
                self.kin_sharpness,
                torch.as_tensor(mask),
            )


def fit_card_prior(
    known: KnownLlms,
    slopes: Doubles,
    gain: Doubles,
    *,
    rounds: int = 20,
    slope_ridge: float = 30.0,
    gain_ridge: float = 8.0,
    spread: float = 0.35,
    strength: float = 8.0,
    kin: float = 0.25,
    kin_sharpness: float = 8.0,
    related: NDArray[np.bool_] | None = None,
) -> CardPrior:
    """Alternates between offsets and gains, slopes, and the covariance of what is left over.

    `slopes` [F] and `gain` [n] are what is believed beforehand; the ridges say how firmly. `spread` and `strength`
    shape the covariance's own prior; `kin`: share of the left-over variance that alike LLMs have in common, 0 = none.
    `related` [M]: those that others may be kin of; all by default.
    """
    llms, n = known.weights.shape
    covariance = np.eye(n) * spread**2
    learned = slopes.copy()
    offset, gain_now = np.zeros(n), gain
    for _ in range(rounds):
        # precision of the weights around their mean, of which an LLM whose ability is a guess tells less
        unsure = known.doubt[:, None, None] ** 2 * np.outer(gain_now, gain_now)
        total = np.asarray(
            np.linalg.inv(np.linalg.inv(known.precision + 1e-6 * np.eye(n)) + covariance + unsure), dtype=np.float64
        )
        ability = known.card @ learned
        offset, new_gain = _offset_and_gain(known.weights, total, ability, gain, gain_ridge)
        learned = _slopes(known, total, offset, new_gain, slopes, slope_ridge)
        mean = offset + (known.card @ learned)[:, None] * new_gain
        prior = np.linalg.inv(covariance)
        posterior = np.linalg.inv(known.precision + prior)
        left = np.einsum("mkl,ml->mk", posterior @ known.precision, known.weights - mean)
        scatter = (left[:, :, None] * left[:, None, :] + posterior).sum(0)
        covariance = (scatter + strength * spread**2 * np.eye(n)) / (llms + strength)
        gain_now = new_gain
    ability = known.card @ learned
    left = known.weights - offset - ability[:, None] * gain_now
    sure = np.einsum("mkl,ml->mk", np.linalg.inv(known.precision + np.linalg.inv(covariance)) @ known.precision, left)
    if related is not None:
        sure, texts = sure[related], known.text[related]
    else:
        texts = known.text
    likeness = np.exp(kin_sharpness * (texts @ texts.T - 1))
    solved = (
        kin * np.linalg.solve(kin * likeness + (1 - kin + 1e-6) * np.eye(len(texts)), sure) if kin > 0 else 0 * sure
    )
    own = np.zeros((n, len(slopes)))
    return CardPrior(offset, gain_now, learned, covariance, texts, solved, own, kin_sharpness)


def _offset_and_gain(
    weights: Doubles, total: Doubles, ability: Doubles, gain: Doubles, ridge: float
) -> tuple[Doubles, Doubles]:
    """Weighted least squares of weights on [1, ability], gain drawn towards what is believed."""
    n = weights.shape[1]
    design = np.zeros((2 * n, 2 * n))
    target = np.zeros(2 * n)
    for llm, matrix in enumerate(total):
        row = np.kron(np.array([1.0, ability[llm]]), np.eye(n)).reshape(n, 2 * n)
        design += row.T @ matrix @ row
        target += row.T @ matrix @ weights[llm]
    design[:n, :n] += 1e-3 * np.eye(n)
    design[n:, n:] += ridge * np.eye(n)
    target[n:] += ridge * gain
    solved = np.linalg.solve(design, target)
    return solved[:n], solved[n:]


def _slopes(
    known: KnownLlms, total: Doubles, offset: Doubles, gain: Doubles, believed: Doubles, ridge: float
) -> Doubles:
    """Slopes of ability in the card, drawn towards what is believed."""
    strength = np.einsum("k,mkl,l->m", gain, total, gain)
    pull = np.einsum("k,mkl,ml->m", gain, total, known.weights - offset)
    design = (known.card * strength[:, None]).T @ known.card + ridge * np.eye(len(believed))
    solved: Doubles = np.linalg.solve(design, known.card.T @ pull + ridge * believed)
    return solved
