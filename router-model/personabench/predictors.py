"""Predictors that heads, baselines and the yardstick of embedders share: ridge regression and nearest neighbours.

Each is fitted on embeddings [m, E] and targets [m, columns], and predicts [n, columns] on new embeddings [n, E].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Predictor = Callable[[Any], Any]
Fitter = Callable[[Any, Any], Predictor]


def ridge(strength: float) -> Fitter:
    """Ridge regression for each column, centred, with an intercept that is not shrunk."""

    def fit(x: Array, y: Array) -> Predictor:
        centre, mean = x.mean(0), y.mean(0)
        gram = (x - centre).T @ (x - centre) + strength * np.eye(x.shape[1], dtype=x.dtype)
        slope = np.linalg.solve(gram, (x - centre).T @ (y - mean))
        return lambda new: (new - centre) @ slope + mean

    return fit


def neighbours(k: int, sharpness: float, shrink: float = 0.0) -> Fitter:
    """Mean of the k nearest by cosine, nearer ones weighing more, shrunk towards the column's mean."""

    def fit(x: Array, y: Array) -> Predictor:
        known, mean, count = unit(x), y.mean(0), min(k, len(x))

        def predict(new: Array) -> Array:
            likeness = unit(new) @ known.T
            nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
            weight = np.exp(sharpness * (np.take_along_axis(likeness, nearest, 1) - 1))
            weight = weight / weight.max(1, keepdims=True)
            total = np.einsum("qk,qkm->qm", weight, y[nearest]) + shrink * mean
            return np.asarray(total / (weight.sum(1, keepdims=True) + shrink), dtype=x.dtype)

        return predict

    return fit


def unit(x: Array) -> Array:
    """Rows scaled to length 1; zero rows stay zero."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9), dtype=x.dtype)
