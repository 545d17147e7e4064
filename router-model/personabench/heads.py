"""Predictions from a query and its LLMs that need no user: probability of a good answer, reply length, task.

Quality is a small multi-layer network blended with k-nearest neighbours, length a ridge regression, task a softmax.
Queries of the train folds get the prediction of a model that never saw their fold, so that what is learned from
predictions on logged queries holds on new ones. Letters: Q queries, E embedding, M LLMs, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from personabench.predictors import Fitter, Predictor, neighbours, ridge
from router_model.data.cards import price_matrix
from router_model.data.pools import Pool, cost_of

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PARTS = 5
CLIP = 1e-3


@dataclass(frozen=True)
class HeadsConfig:
    """Chosen on validation folds: log loss of quality, squared error of log length."""

    hidden: int = 128
    epochs: int = 30
    batch: int = 64
    gain: float = 2.0
    dropout: tuple[float, float] = (0.1, 0.5)
    learning_rate: float = 3e-3
    weight_decay: float = 0.2
    networks: int = 3
    neighbours: int = 60
    sharpness: float = 8.0
    shrink: float = 1.0
    ridge: float = 3.0
    task_ridge: float = 1e-4
    seed: int = 0


@dataclass(frozen=True)
class Heads:
    """Predictions for every query of a pool; cross-fitted on its train folds."""

    quality: Floats
    """[Q, M]: probability of a good answer."""
    completion_tokens: Floats
    """[Q, M]; NaN where no length was ever seen."""
    cost_usd: Floats
    """[Q, M]"""
    task: Floats
    """[Q, T]: soft task of the query, rows sum to 1."""
    tasks: tuple[str, ...]
    """[T]"""


def fit_heads(pool: Pool, embeddings: Floats, train: Ints, config: HeadsConfig | None = None) -> Heads:
    """Heads from the outcomes of the queries `train`; `embeddings` [Q, E] of all queries of the pool."""
    config = config or HeadsConfig()
    quality = cross_fitted(quality_fitter(config), embeddings, pool.quality, train, pool.fold)
    tokens = np.full(pool.quality.shape, np.nan, dtype=np.float32)
    if np.isfinite(pool.completion_tokens[train]).all():
        target = np.log(np.where(np.isnan(pool.completion_tokens), 1.0, pool.completion_tokens)).astype(np.float32)
        tokens = np.exp(cross_fitted(ridge(config.ridge), embeddings, target, train, pool.fold)).astype(np.float32)
    tasks = tuple(sorted(set(pool.task[train].tolist())))
    one_hot = np.stack([pool.task == task for task in tasks], -1).astype(np.float32)
    task = cross_fitted(task_fitter(config), embeddings, one_hot, train, pool.fold)
    cost = cost_of(price_matrix(pool.cards), pool.prompt_tokens, tokens)
    return Heads(quality, tokens, cost, task, tasks)


def cross_fitted(fit: Fitter, embeddings: Floats, target: Floats, train: Ints, fold: Ints) -> Floats:
    """Predictions [Q, columns]; that for a train query is by a model that never saw its fold."""
    made: Floats = fit(embeddings[train], target[train])(embeddings)
    folds = np.unique(fold[train])
    for part in np.array_split(folds, min(PARTS, len(folds))):
        held = np.isin(fold[train], part)
        if not held.all():
            made[train[held]] = fit(embeddings[train[~held]], target[train[~held]])(embeddings[train[held]])
    return made


def quality_fitter(config: HeadsConfig) -> Fitter:
    """Blend of networks and neighbours; the weight is the one with the least log loss on held-out train queries."""

    def fit(x: Floats, y: Floats) -> Predictor:
        inner = np.arange(len(x)) % 4 == 0
        parts = [network(config), neighbours(config.neighbours, config.sharpness, config.shrink)]
        trial = [part(x[~inner], y[~inner])(x[inner]) for part in parts]
        weights = np.linspace(0, 1, 11)
        losses = [log_loss(blend(trial, w), y[inner]) for w in weights]
        best = float(weights[int(np.argmin(losses))])
        whole = [part(x, y) for part in parts]
        return lambda new: blend([predict(new) for predict in whole], best)

    return fit


def blend(parts: Sequence[Floats], weight: float) -> Floats:
    """Weighted mean of two predictions' log-odds, as a probability."""
    return from_logit(weight * logit(parts[0]) + (1 - weight) * logit(parts[1]))


def logit(p: Floats) -> Floats:
    """Log-odds, kept finite."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float32)


def from_logit(x: Floats) -> Floats:
    """Inverse of `logit`."""
    return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float32)


def log_loss(p: Floats, y: Floats) -> float:
    """Mean cross-entropy; y may lie between 0 and 1."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return float(-(y * np.log(clipped) + (1 - y) * np.log(1 - clipped)).mean())


def network(config: HeadsConfig) -> Fitter:
    """A linear and a hidden path from embedding to a logit per LLM, averaged over a few seeds."""

    def fit(x: Floats, y: Floats) -> Predictor:
        centre = x.mean(0)
        models = [
            _train_network(config, (x - centre) * config.gain, y, config.seed + i) for i in range(config.networks)
        ]

        def predict(new: Floats) -> Floats:
            inputs = torch.as_tensor((new - centre) * config.gain)
            with torch.no_grad():
                logits = torch.stack([model(inputs) for model in models]).mean(0)
            return np.asarray(torch.sigmoid(logits).numpy(), dtype=np.float32)

        return predict

    return fit


class QualityNetwork(nn.Module):
    """Logits [n, M] from scaled embeddings [n, E]."""

    def __init__(self, inputs: int, llms: int, config: HeadsConfig) -> None:
        """Sizes of the embedding and of the output."""
        super().__init__()
        self.hidden = nn.Linear(inputs, config.hidden)
        self.drop_input, self.drop_hidden = (nn.Dropout(rate) for rate in config.dropout)
        self.out = nn.Linear(config.hidden + inputs, llms)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        kept = self.drop_input(x)
        hidden = self.drop_hidden(torch.relu(self.hidden(kept)))
        logits: Tensor = self.out(torch.cat([hidden, kept], -1))
        return logits


def _train_network(config: HeadsConfig, x: Floats, y: Floats, seed: int) -> QualityNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = QualityNetwork(x.shape[1], y.shape[1], config)
        inputs, targets = torch.as_tensor(x), torch.as_tensor(y)
        mean = targets.mean(0).clamp(0.01, 0.99)
        with torch.no_grad():
            model.out.weight.mul_(0.3)
            model.out.bias.copy_(torch.logit(mean))
        optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        steps = config.epochs * -(-len(x) // config.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps)
        loss_of = nn.BCEWithLogitsLoss()
        for _ in range(config.epochs):
            for rows in torch.randperm(len(x)).split(config.batch):
                optimiser.zero_grad()
                loss_of(model(inputs[rows]), targets[rows]).backward()
                optimiser.step()
                schedule.step()
    return model.eval()


def task_fitter(config: HeadsConfig) -> Fitter:
    """Multinomial logistic regression on the embedding."""

    def fit(x: Floats, y: Floats) -> Predictor:
        weight = torch.zeros(x.shape[1] + 1, y.shape[1], requires_grad=True)
        inputs = torch.as_tensor(np.hstack([x, np.ones((len(x), 1), dtype=np.float32)]))
        target = torch.as_tensor(y)
        optimiser = torch.optim.LBFGS([weight], max_iter=60, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(inputs @ weight, target) + config.task_ridge * weight.square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        fitted = weight.detach().numpy()

        def predict(new: Floats) -> Floats:
            logits = np.hstack([new, np.ones((len(new), 1), dtype=np.float32)]) @ fitted
            exponential = np.exp(logits - logits.max(1, keepdims=True))
            return np.asarray(exponential / exponential.sum(1, keepdims=True), dtype=np.float32)

        return predict

    return fit
