"""PersonalizedRouter (arXiv 2511.16883): a graph of users, tasks, queries and LLMs, and a dot product to choose by.

As its paper describes it: aligned features, edges with features, LLM family edges, two GeneralConv layers, a node per
user with an embedding of its own, which a new user gets by a few gradient steps. As its released code computes it,
the user's id never enters the prediction: then the choice is the same for all users.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import GeneralConv

from personabench.baselines.graph_data import Edges, Nodes, cut, edges_of
from personabench.bench.contestant import Kind, Known
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

HIDDEN, STEPS, USERS, TARGETS = 32, 400, 48, 16
NEW_USER_STEPS, NEW_USER_RATE = 30, 0.05


class PersonalizedRouterNetwork(nn.Module):
    """Expected reward by the dot product of (user, query, task) with LLM."""

    def __init__(self, nodes: Nodes, *, personal: bool) -> None:
        """`personal` false: there is no user node."""
        super().__init__()
        self.personal = personal
        self.align_query = nn.Linear(nodes.query.shape[1], HIDDEN)
        self.align_llm = nn.Linear(nodes.llm.shape[1], HIDDEN)
        self.align_user = nn.Linear(HIDDEN, HIDDEN)
        self.task = nn.Parameter(0.1 * torch.randn(nodes.task.shape[1], HIDDEN))
        self.layers = nn.ModuleList(GeneralConv(HIDDEN, HIDDEN, in_edge_channels=5, aggr="mean") for _ in range(2))
        self.decode = nn.Sequential(nn.Linear(3 * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
        self.level = nn.Parameter(torch.zeros(len(nodes.llm)))
        self.drop = nn.Dropout(0.2)

    def encode(self, nodes: Nodes, identity: Tensor, context: Edges) -> tuple[Tensor, Tensor, Tensor]:
        """States of users [U, H], tasks [T, H] and LLMs [M, H] given observed interactions."""
        users, tasks, n = len(identity), len(self.task), len(context.user)
        user = self.align_user(identity) if self.personal else torch.zeros_like(identity)
        query = self.align_query(self.drop(nodes.query[context.query]))
        x = torch.cat([user, self.task, self.align_llm(nodes.llm), query])
        asked, first_llm = users + tasks + len(nodes.llm) + torch.arange(n), users + tasks
        seen = context.features
        answered = seen.new_tensor([[1.0, 0.0]]).expand(n, 2)
        kin = seen.new_tensor([[0.0, 0, 0, 0, 1]]).expand(nodes.family.shape[1], 5)
        kinds = [
            (
                torch.stack([asked, first_llm + context.llm]),
                torch.cat([seen, answered], 1),
            ),
            (torch.stack([asked, users + nodes.task[context.query].argmax(1)]), seen.new_zeros(n, 5)),
            (first_llm + nodes.family, kin),
        ]
        if self.personal:
            kinds += [
                (torch.stack([asked, context.user]), torch.cat([seen, seen.new_zeros(n, 2)], 1)),
                (torch.stack([first_llm + context.llm, context.user]), torch.cat([seen, seen.new_ones(n, 2)], 1)),
            ]
        edges = torch.cat([index for index, _ in kinds], 1)
        attributes = torch.cat([attribute for _, attribute in kinds])
        edges, attributes = torch.cat([edges, edges.flip(0)], 1), torch.cat([attributes, attributes])
        for layer in self.layers:
            x = x + torch.relu(layer(x, edges, attributes))
        return x[:users], x[users:first_llm], x[first_llm : first_llm + len(nodes.llm)]

    def score(self, nodes: Nodes, states: tuple[Tensor, Tensor, Tensor], user: Tensor, query: Tensor) -> Tensor:
        """[n, M] for n pairs of user and query."""
        users, tasks, llms = states
        parts = [users[user], self.align_query(nodes.query[query]), nodes.task[query] @ tasks]
        made: Tensor = self.decode(torch.cat(parts, -1)) @ llms.T / HIDDEN**0.5 + self.level
        return made


class PersonalizedRouter:
    """Trained on the training users' log; a new user's embedding is fitted to the user's own history."""

    def __init__(self, *, personal: bool = True) -> None:
        """`personal` true: as in the paper; false: as released."""
        self.personal = personal
        self.kind: Kind = "personal" if personal else "non-personal"
        self.name = "PersonalizedRouter, as in the paper" if personal else "PersonalizedRouter, as released"

    def fit(self, known: Known) -> None:
        """Predict the reward of held-back interactions from the rest."""
        self.nodes, log = Nodes.of(known), known.log.train
        rng = np.random.default_rng(known.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(known.seed)
            self.network = PersonalizedRouterNetwork(self.nodes, personal=self.personal)
            self.identity = nn.Parameter(0.1 * torch.randn(len(log.users), HIDDEN))
            parameters = [*self.network.parameters(), self.identity]
            optimiser = torch.optim.AdamW(parameters, 4e-3, weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
            for _ in range(STEPS):
                chosen, context, targets = cut(log, USERS, TARGETS, rng)
                if len(targets.user) == 0:
                    continue
                states = self.network.encode(self.nodes, self.identity[torch.as_tensor(chosen)], context)
                optimiser.zero_grad()
                self._loss(states, targets).backward()
                optimiser.step()
                schedule.step()
        self.network.eval()

    def _loss(self, states: tuple[Tensor, Tensor, Tensor], targets: Edges) -> Tensor:
        predicted = self.network.score(self.nodes, states, targets.user, targets.query)
        chosen = predicted.gather(1, targets.llm.unsqueeze(1)).squeeze(1)
        return nn.functional.mse_loss(chosen, targets.reward)

    def scores(self, rows: Ints, history: History) -> Floats:
        """Predicted reward [U, R, M], the history being edges of the graph."""
        context = edges_of(history)
        identity = self.identity.detach().mean(0).expand(len(history.users), HIDDEN).clone()
        if self.personal and len(context.user):
            identity = self._new_users(identity, context)
        return self._predicted(rows, identity, context)

    def scores_of_trained(self, rows: Ints, who: Ints, history: History) -> Floats:
        """As `scores`, by the embeddings that training gave these users."""
        return self._predicted(rows, self.identity.detach()[torch.as_tensor(who)], edges_of(history))

    def _predicted(self, rows: Ints, identity: Tensor, context: Edges) -> Floats:
        with torch.no_grad():
            states = self.network.encode(self.nodes, identity, context)
            made = []
            for user in range(len(identity) if self.personal else 1):
                who = torch.full((len(rows),), user)
                made.append(self.network.score(self.nodes, states, who, torch.as_tensor(rows)))
        every = torch.stack(made).numpy()
        return np.broadcast_to(every, (len(identity), *every.shape[1:]))

    def _new_users(self, identity: Tensor, context: Edges) -> Tensor:
        """Gradient steps on the new users' embeddings alone, to explain their histories."""
        fitted = identity.requires_grad_()
        optimiser = torch.optim.Adam([fitted], NEW_USER_RATE)
        for _ in range(NEW_USER_STEPS):
            optimiser.zero_grad()
            self._loss(self.network.encode(self.nodes, fitted, context), context).backward()
            optimiser.step()
        return fitted.detach()
