"""Routers that don't know who asks: a quality predictor, and the tastes of an average user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personabench.baselines.preferences import Preferences
from personabench.bench.contestant import Kind, Known
from personabench.heads import HeadsConfig, network
from personabench.predictors import Fitter, Predictor, neighbours, ridge, unit
from router_model.data.cards import price_matrix
from router_model.data.pools import cost_of
from router_model.data.population import cost_units, length_units
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

RIDGE = 30.0


def average_taste(known: Known) -> tuple[Floats, Floats]:
    """Weights [4] of 1, quality, cost and length, and liking [M] of each LLM, of all training users together: a ridge
    regression of their rewards.
    """
    preferences, log = Preferences.of(known), known.log.train
    llms = np.eye(len(known.pool.cards))[log.llm[log.rated]]
    x = np.hstack([preferences.edges(log)[..., :4][log.rated].astype(np.float64), llms])
    y = log.reward[log.rated].astype(np.float64)
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y).astype(np.float32)
    return weights[:4], weights[4:]


class NonPersonal:
    """The same choice for all users: the average taste applied to what a quality predictor expects."""

    kind: Kind = "non-personal"

    def __init__(self, name: str, quality: Fitter | None = None) -> None:
        """`quality`: predictor to use instead of the shared heads."""
        self.name = name
        self.quality = quality

    def fit(self, known: Known) -> None:
        """Predict quality and length of every query, and weigh them as an average user does."""
        heads, pool, train = known.heads, known.pool, known.train
        self.predicted = heads.quality
        tokens = heads.completion_tokens
        if self.quality is not None:
            self.predicted = self.quality(known.embeddings[train], pool.quality[train])(known.embeddings)
            if np.isfinite(pool.completion_tokens[train]).all():
                logs = np.log(pool.completion_tokens[train])
                tokens = np.exp(ridge(HeadsConfig().ridge)(known.embeddings[train], logs)(known.embeddings))
        self.cost = cost_of(price_matrix(pool.cards), pool.prompt_tokens, tokens)
        taste, liking = average_taste(known)
        parts = (2 * self.predicted - 1, cost_units(self.cost), length_units(tokens))
        self.score = np.asarray(np.stack(parts, -1) @ taste[1:] + liking, dtype=np.float32)

    def scores(self, rows: Ints, history: History) -> Floats:
        """Utility to an average user, [U, R, M], alike for all users."""
        return np.broadcast_to(self.score[rows], (len(history.users), *self.score[rows].shape))


def cluster_fitter(clusters: int = 64, nearest: int = 4, sharpness: float = 10.0, seed: int = 0) -> Fitter:
    """Avengers-Pro (arXiv 2508.12631): mean outcome of each LLM in the clusters nearest to the query."""
    from sklearn.cluster import KMeans

    def fit(x: Floats, y: Floats) -> Predictor:
        means = KMeans(clusters, n_init=2, random_state=seed).fit(unit(x))
        outcome = np.stack([y[means.labels_ == c].mean(0) for c in range(clusters)])
        centres = unit(means.cluster_centers_.astype(np.float32))

        def predict(new: Floats) -> Floats:
            likeness = unit(new) @ centres.T
            best = np.argpartition(-likeness, nearest - 1, axis=1)[:, :nearest]
            weight = np.exp(sharpness * np.take_along_axis(likeness, best, 1))
            total = (weight[..., None] * outcome[best]).sum(1)
            return np.asarray(total / weight.sum(1, keepdims=True), dtype=np.float32)

        return predict

    return fit


def nearest_neighbours() -> Fitter:
    """k-nearest neighbours alone."""
    config = HeadsConfig()
    return neighbours(config.neighbours, config.sharpness, config.shrink)


def multi_layer() -> Fitter:
    """The multi-layer network alone."""
    return network(HeadsConfig(networks=1))
