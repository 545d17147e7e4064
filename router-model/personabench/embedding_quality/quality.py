"""How well queries can be routed from their embedding alone: the yardstick that embedders are chosen by.

From the vector, ridge regression, k-nearest neighbours and a small network predict every LLM's quality, apart from
any user's taste. Q queries, M LLMs, E embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from personabench.predictors import Fitter, Predictor, neighbours, ridge

Floats = NDArray[np.float64]

CLIP = 0.02
RIDGE = 10.0


class Score(NamedTuple):
    """Of predictions on queries that the predictor was not fitted on."""

    log_loss: float
    """Cross-entropy of the quality, nats."""
    auc: float
    """Area under the ROC curve of a good answer (>= 0.5), mean over LLMs."""
    gap: float
    """Gap closed by the best predicted LLM of each query: 0 = best single LLM of the training folds, 1 = oracle."""


def fit_network(x: Floats, y: Floats, hidden: int = 128, epochs: int = 25, seed: int = 0) -> Predictor:
    """One hidden layer with dropout, cross-entropy: plainer than that of the heads, which has a linear path, too."""
    torch.manual_seed(seed)
    scale = np.sqrt((x * x).mean()) + 1e-9
    layers = [torch.nn.Dropout(0.1), torch.nn.Linear(x.shape[1], hidden), torch.nn.GELU(), torch.nn.Dropout(0.5)]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(hidden, y.shape[1]))
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.2)
    inputs, targets = _tensor(x / scale), _tensor(y)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(64):
            optimiser.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(inputs[batch]), targets[batch])
            loss.backward()
            optimiser.step()
    network.eval()

    def predict(z: Floats) -> Floats:
        with torch.inference_mode():
            return np.asarray(torch.sigmoid(network(_tensor(z / scale))).numpy(), dtype=np.float64)

    return predict


PREDICTORS: dict[str, Fitter] = {"ridge": ridge(RIDGE), "neighbours": neighbours(40, 8.0), "network": fit_network}


def score(predicted: Floats, quality: Floats, best_single: int) -> Score:
    """Judge predictions [Q, M]; `best_single`: index of the LLM that routing has to beat."""
    p = np.clip(predicted, CLIP, 1 - CLIP)
    log_loss = -float((quality * np.log(p) + (1 - quality) * np.log(1 - p)).mean())
    chosen = quality[np.arange(len(quality)), predicted.argmax(axis=1)].sum()
    single, oracle = quality[:, best_single].sum(), quality.max(axis=1).sum()
    return Score(log_loss, _auc(predicted, quality >= 0.5), float((chosen - single) / (oracle - single)))


def held_out(
    fit: Fitter, x: Floats, quality: Floats, fold: NDArray[np.int64], train: Iterable[int], test: int
) -> Score:
    """Fit on the folds `train`, judge on the fold `test`."""
    rows, others = np.isin(fold, list(train)), fold == test
    return score(fit(x[rows], quality[rows])(x[others]), quality[others], int(quality[rows].mean(axis=0).argmax()))


def cross_validated(fit: Fitter, x: Floats, quality: Floats, fold: NDArray[np.int64], folds: Iterable[int]) -> Score:
    """Predict each fold from the others, then judge all of them together."""
    folds = list(folds)
    predicted = np.zeros_like(quality)
    for left_out in folds:
        rows = np.isin(fold, [f for f in folds if f != left_out])
        predicted[fold == left_out] = fit(x[rows], quality[rows])(x[fold == left_out])
    used = np.isin(fold, folds)
    return score(predicted[used], quality[used], int(quality[used].mean(axis=0).argmax()))


def _auc(predicted: Floats, good: NDArray[np.bool_]) -> float:
    areas = []
    for column in range(good.shape[1]):
        yes = good[:, column]
        n = int(yes.sum())
        if 0 < n < len(yes):
            ranks = rankdata(predicted[:, column])[yes].sum()
            areas.append((ranks - n * (n + 1) / 2) / (n * (len(yes) - n)))
    return float(np.mean(areas))


def _tensor(x: Floats) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float32)
