"""Can the logged propensities be true? Everything else here believes them, so they are tested first.

Given the past, each choice is an independent draw from its row's propensities, whatever the users are like; so the
variances below are exact and need no clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from router_model.retrain.ope.sample import Doubles, Sample

BINS = 10


@dataclass(frozen=True)
class PropensityCheck:
    """Probabilities of so large a deviation by chance, and what to look at when one is tiny."""

    candidates: float  # chi-square: how often each candidate was chosen
    bins: float  # chi-square: chosen as often as said, at every level of propensity
    weights: float  # mean of 1 / propensity against the number of candidates
    mean_weight: float  # 1 where the propensities are true
    effective: float  # effective sample size of a uniform policy, Kish: (sum w)^2 / sum w^2
    excess: Doubles  # [M], chosen minus expected, in standard deviations

    @property
    def p_value(self) -> float:
        """Of the three together (Bonferroni)."""
        return min(1.0, 3 * min(self.candidates, self.bins, self.weights))


def check_propensities(sample: Sample) -> PropensityCheck:
    """Three tests of whether actions were drawn with the propensities that were written down."""
    n, candidates = sample.propensity.shape
    chosen = np.zeros((n, candidates))
    chosen[np.arange(n), sample.action] = 1.0
    open_to = sample.propensity > 0
    surplus, covariance = _totals(
        chosen, sample.propensity, np.arange(candidates)[None, :] * np.ones((n, 1), int), candidates
    )
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    level = np.minimum((sample.propensity * BINS).astype(int), BINS - 1)
    binned, binned_covariance = _totals(chosen, sample.propensity, level, BINS)

    arms = open_to.sum(1)
    weight = 1 / (sample.taken(sample.propensity) * arms)
    # E[1/p] = arms, E[1/p^2] = sum of 1/p over the arms
    second = np.where(open_to, 1 / np.where(open_to, sample.propensity, 1), 0).sum(1) / arms**2
    z = (weight.sum() - n) / max(np.sqrt(float((second - 1).sum())), 1e-12)
    return PropensityCheck(
        candidates=_chi_square(surplus, covariance),
        bins=_chi_square(binned, binned_covariance),
        weights=float(2 * stats.norm.sf(abs(z))),
        mean_weight=float(weight.mean()),
        effective=float(weight.sum() ** 2 / (weight @ weight)),
        excess=surplus / spread,
    )


def _totals(chosen: Doubles, propensity: Doubles, group: np.ndarray, groups: int) -> tuple[Doubles, Doubles]:
    """Sums over rows of chosen - propensity by group [g], and their covariance [g, g] under the propensities."""
    n = len(chosen)
    expected = np.zeros((n, groups))
    seen = np.zeros((n, groups))
    rows = np.arange(n)[:, None]
    np.add.at(expected, (rows, group), propensity)
    np.add.at(seen, (rows, group), chosen)
    covariance = np.diag(expected.sum(0)) - expected.T @ expected
    return (seen - expected).sum(0), covariance


def _chi_square(surplus: Doubles, covariance: Doubles) -> float:
    """P-value of surplus^T covariance^+ surplus; groups that nothing falls into don't count."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-9 * max(float(values.max()), 1e-9)
    if not kept.any():
        return 1.0
    projected = vectors.T[kept] @ surplus
    return float(stats.chi2.sf(float((projected**2 / values[kept]).sum()), int(kept.sum())))
