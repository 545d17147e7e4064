"""Estimators of a policy's value from logged propensities; each gives terms whose ratio of sums is the value.

Horvitz & Thompson 1952 (IPS); Swaminathan & Joachims 2015, "The self-normalized estimator for counterfactual learning"
(SNIPS); Dudik, Langford & Li 2011, arXiv 1103.4601 (doubly robust). Terms by row, not values alone, because intervals
need sums by user; tests hold the values against Open Bandit Pipeline's. `policy` [n, M]: probability of each candidate
under the policy in question. `predicted` [n, M]: any prediction of the reward that was not fitted on the row itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router_model.retrain.ope.sample import Doubles, Sample


@dataclass(frozen=True)
class Terms:
    """Value = sum of `numerator` [n] / sum of `denominator` [n]."""

    numerator: Doubles
    denominator: Doubles

    @property
    def value(self) -> float:
        """The point estimate."""
        return float(self.numerator.sum() / self.denominator.sum())


def importance(sample: Sample, policy: Doubles) -> Doubles:
    """Importance weights [n]: how much likelier the policy was to do what was done."""
    return sample.taken(policy) / sample.taken(sample.propensity)


def on_policy(sample: Sample) -> Terms:
    """Value of the logging policy itself."""
    return Terms(sample.reward, np.ones(len(sample)))


def ips(sample: Sample, policy: Doubles) -> Terms:
    """Inverse propensity scores: unbiased, and as noisy as the weights."""
    return Terms(importance(sample, policy) * sample.reward, np.ones(len(sample)))


def snips(sample: Sample, policy: Doubles) -> Terms:
    """Self-normalised: the weights' own noise cancels, for a bias of order 1/n."""
    weight = importance(sample, policy)
    return Terms(weight * sample.reward, weight)


def dr(sample: Sample, policy: Doubles, predicted: Doubles) -> Terms:
    """Doubly robust: the prediction, corrected by weighted residuals; right if either of the two is."""
    residual = sample.reward - sample.taken(predicted)
    return Terms(_expected(policy, predicted) + importance(sample, policy) * residual, np.ones(len(sample)))


def _expected(policy: Doubles, predicted: Doubles) -> Doubles:
    # A candidate that the policy can't choose may lack a prediction.
    expected: Doubles = np.where(policy > 0, policy * predicted, 0.0).sum(1)
    return expected
