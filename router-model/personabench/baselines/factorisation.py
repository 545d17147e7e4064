"""Matrix factorisation of RouteLLM (arXiv 2406.18665): an LLM's vector times a projection of the query's."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from personabench.predictors import Fitter, Predictor, unit

Floats = NDArray[np.float32]


class Factorisation(nn.Module):
    """sigmoid(w . (v_llm * (W q + b)))."""

    def __init__(self, inputs: int, llms: int, rank: int) -> None:
        """Rank of the factorisation."""
        super().__init__()
        self.llm = nn.Parameter(0.3 * torch.randn(llms, rank) + 1 / rank)
        self.query = nn.Linear(inputs, rank)
        self.out = nn.Parameter(torch.ones(rank))
        self.level = nn.Parameter(torch.zeros(llms))

    def forward(self, query: Tensor) -> Tensor:
        """Logits [n, M]."""
        logits: Tensor = (self.query(query) * self.out) @ self.llm.T + self.level
        return logits


def factorisation_fitter(rank: int = 16, epochs: int = 20, seed: int = 0) -> Fitter:
    """Fitted to outcomes by cross-entropy."""

    def fit(x: Floats, y: Floats) -> Predictor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Factorisation(x.shape[1], y.shape[1], rank)
            inputs, targets = torch.as_tensor(4 * unit(x)), torch.as_tensor(y)
            optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.3)
            loss_of = nn.BCEWithLogitsLoss()
            for _ in range(epochs):
                for rows in torch.randperm(len(x)).split(128):
                    optimiser.zero_grad()
                    noisy = nn.functional.dropout(inputs[rows], 0.2)
                    loss_of(model(noisy), targets[rows]).backward()
                    optimiser.step()

        def predict(new: Floats) -> Floats:
            with torch.no_grad():
                return np.asarray(torch.sigmoid(model(torch.as_tensor(4 * unit(new)))).numpy(), dtype=np.float32)

        return predict

    return fit
