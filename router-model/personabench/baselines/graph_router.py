"""GraphRouter (Feng et al. 2024, arXiv 2410.03834): task, query and LLM nodes, edge prediction; not personal."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import GeneralConv

from personabench.baselines.graph_data import Nodes
from personabench.baselines.population_taste import NonPersonal
from personabench.bench.contestant import Known
from personabench.predictors import Predictor

Floats = NDArray[np.float32]

CONTEXT, TARGETS, STEPS, HIDDEN = 192, 128, 400, 48


class GraphRouterNetwork(nn.Module):
    """Aligned node features, two graph convolutions over observed outcomes, a logit for each (query, LLM)."""

    def __init__(self, nodes: Nodes) -> None:
        """Sizes from the nodes."""
        super().__init__()
        self.align_query = nn.Linear(nodes.query.shape[1], HIDDEN)
        self.align_llm = nn.Linear(nodes.llm.shape[1], HIDDEN)
        self.task = nn.Parameter(0.1 * torch.randn(nodes.task.shape[1], HIDDEN))
        self.layers = nn.ModuleList(GeneralConv(HIDDEN, HIDDEN, in_edge_channels=3, aggr="mean") for _ in range(2))
        self.decode = nn.Sequential(
            nn.Linear(2 * HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, HIDDEN)
        )
        self.level = nn.Parameter(torch.zeros(len(nodes.llm)))
        self.drop = nn.Dropout(0.3)

    def forward(self, nodes: Nodes, known: Tensor, outcome: Tensor, asked: Tensor) -> Tensor:
        """Logits [asked, M] given outcomes [known, M] of other queries."""
        query = torch.cat([known, asked])
        n, tasks, llms = len(query), len(self.task), len(nodes.llm)
        x = torch.cat([self.align_query(self.drop(nodes.query[query])), self.task, self.align_llm(nodes.llm)])
        row, column = torch.meshgrid(torch.arange(len(known)), torch.arange(llms), indexing="ij")
        one = torch.ones(n)
        # a query and its likeliest task
        of_task = torch.stack([torch.arange(n), n + nodes.task[query].argmax(1)])
        of_llm = torch.stack([row.flatten(), n + tasks + column.flatten()])
        attributes = torch.cat(
            [
                torch.stack([2 * outcome.flatten() - 1, torch.ones(outcome.numel()), torch.zeros(outcome.numel())], 1),
                torch.stack([0 * one, 0 * one, one], 1),
            ]
        )
        forward = torch.cat([of_llm, of_task], 1)
        edges, attributes = torch.cat([forward, forward.flip(0)], 1), torch.cat([attributes, attributes])
        for layer in self.layers:
            x = x + torch.relu(layer(x, edges, attributes))
        of_query = self.decode(torch.cat([x[len(known) : n], nodes.task[asked] @ x[n : n + tasks]], -1))
        logits: Tensor = of_query @ x[n + tasks :].T / HIDDEN**0.5 + self.level
        return logits


class GraphRouter(NonPersonal):
    """Its predicted effect, and the average taste."""

    def __init__(self) -> None:
        """Set up like the other routers that don't know who asks."""
        super().__init__("GraphRouter", self._fit_network)

    def fit(self, known: Known) -> None:
        """Remember the nodes for the network."""
        self.known = known
        super().fit(known)

    def _fit_network(self, x: Floats, y: Floats) -> Predictor:
        known = self.known
        nodes = Nodes.of(known)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(known.seed)
            model = GraphRouterNetwork(nodes)
            with torch.no_grad():
                model.level.copy_(torch.logit(torch.as_tensor(y).mean(0).clamp(0.02, 0.98)))
            optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.1)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=STEPS)
            outcomes, train = torch.as_tensor(y), torch.as_tensor(known.train)
            for _ in range(STEPS):
                order = torch.randperm(len(train))
                context, targets = order[:CONTEXT], order[CONTEXT : CONTEXT + TARGETS]
                logits = model(nodes, train[context], outcomes[context], train[targets])
                optimiser.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(logits, outcomes[targets]).backward()
                optimiser.step()
                schedule.step()
            model.eval()
            context = torch.randperm(len(train))[: 4 * CONTEXT]
            with torch.no_grad():
                every = torch.arange(len(known.pool.queries))
                logits = model(nodes, train[context], outcomes[context], every)
        predicted = torch.sigmoid(logits).numpy()
        return lambda new: predicted
