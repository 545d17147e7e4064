"""GMTRouter-style: a heterogeneous graph transformer over few interactions of a user.

Users have no id; what is known of one flows in from the nodes of the user's rated responses.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import HGTConv

from personabench.baselines.graph_data import Edges, Nodes, cut, edges_of
from personabench.bench.contestant import Kind, Known
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

HIDDEN, HEADS, STEPS, USERS, TARGETS = 32, 2, 250, 48, 16
TYPES = ["user", "query", "llm", "response"]
LINKS = [("user", "query"), ("query", "response"), ("llm", "response"), ("user", "response")]
METADATA = (TYPES, [edge for a, b in LINKS for edge in ((a, f"{a}_{b}", b), (b, f"{b}_{a}", a))])


class GmtRouterNetwork(nn.Module):
    """Two HGT layers and a decoder."""

    def __init__(self, nodes: Nodes) -> None:
        """Sizes from the nodes."""
        super().__init__()
        self.align_query = nn.Linear(nodes.query.shape[1], HIDDEN)
        self.align_llm = nn.Linear(nodes.llm.shape[1], HIDDEN)
        self.align_response = nn.Linear(3, HIDDEN)
        self.newcomer = nn.Parameter(0.1 * torch.randn(HIDDEN))
        self.layers = nn.ModuleList(HGTConv(HIDDEN, HIDDEN, METADATA, heads=HEADS) for _ in range(2))
        self.decode = nn.Sequential(nn.Linear(2 * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
        self.level = nn.Parameter(torch.zeros(len(nodes.llm)))
        self.drop = nn.Dropout(0.2)

    def encode(self, nodes: Nodes, users: int, context: Edges) -> tuple[Tensor, Tensor]:
        """States of users [U, H] and LLMs [M, H]."""
        n = len(context.user)
        x = {
            "user": self.newcomer.expand(users, HIDDEN),
            "query": self.align_query(self.drop(nodes.query[context.query])),
            "llm": self.align_llm(nodes.llm),
            "response": self.align_response(context.features),
        }
        own = torch.arange(n)
        end = {"user": context.user, "query": own, "llm": context.llm, "response": own}
        edges = {(a, name, b): torch.stack([end[a], end[b]]) for a, name, b in METADATA[1]}
        for layer in self.layers:
            out = layer(x, edges)
            x = {kind: x[kind] + torch.relu(out[kind]) if out.get(kind) is not None else x[kind] for kind in x}
        return x["user"], x["llm"]

    def score(self, nodes: Nodes, states: tuple[Tensor, Tensor], user: Tensor, query: Tensor) -> Tensor:
        """[n, M] for n pairs of user and query."""
        users, llms = states
        made = self.decode(torch.cat([users[user], self.align_query(nodes.query[query])], -1))
        score: Tensor = made @ llms.T / HIDDEN**0.5 + self.level
        return score


class GmtRouter:
    """Trained to predict held-back rewards of training users from a few others of theirs."""

    kind: Kind = "personal"
    name = "GMTRouter-style HGT"

    def fit(self, known: Known) -> None:
        """Learn from episodes of random length."""
        self.nodes = Nodes.of(known)
        rng = np.random.default_rng(known.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(known.seed)
            self.network = GmtRouterNetwork(self.nodes)
            optimiser = torch.optim.AdamW(self.network.parameters(), 4e-3, weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
            for _ in range(STEPS):
                chosen, context, targets = cut(known.log.train, USERS, TARGETS, rng)
                if len(targets.user) == 0:
                    continue
                states = self.network.encode(self.nodes, len(chosen), context)
                predicted = self.network.score(self.nodes, states, targets.user, targets.query)
                loss = nn.functional.mse_loss(predicted.gather(1, targets.llm.unsqueeze(1)).squeeze(1), targets.reward)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        self.network.eval()

    def scores(self, rows: Ints, history: History) -> Floats:
        """Predicted reward [U, R, M], the history being edges of the graph."""
        with torch.no_grad():
            states = self.network.encode(self.nodes, len(history.users), edges_of(history))
            query = torch.as_tensor(rows)
            made = [
                self.network.score(self.nodes, states, torch.full((len(rows),), user), query)
                for user in range(len(history.users))
            ]
        return np.asarray(torch.stack(made).numpy(), dtype=np.float32)
