"""PersonalizedRouter as it is served: the networks of its artifact, trained on the tenant's own log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from personabench.bench.contestant import Kind, Known
from router_model.data.simulation import History
from router_model.embedding.static import StaticEmbedder
from router_model.kinds import KINDS
from router_model.personalized.learn import LearnConfig, evidence_of_outcomes, learn, world_of
from router_model.personalized.network import NetworkSizes, PersonalizedRouter
from router_model.train.weights import WEIGHTS_FILE, load_weights

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class ServedNetworks:
    """Its four graphs in PyTorch, which ONNX Runtime computes alike."""

    kind: Kind = "personal"
    name = "PersonalizedRouter, as an artifact"

    def __init__(self, reader: Path, learning: LearnConfig | None = None, sizes: NetworkSizes | None = None) -> None:
        """`reader`: the artifact whose encoder reads queries."""
        self.encoder = load_weights(reader / WEIGHTS_FILE).encoder
        self.embedder = StaticEmbedder.load(reader / "embedder")
        self.learning, self.sizes = learning or LearnConfig(), sizes

    def fit(self, known: Known) -> None:
        """Train, then gather what outcomes and training users say of each LLM."""
        torch.manual_seed(known.seed)
        self.router = PersonalizedRouter(self.encoder, self.sizes)
        self.query = torch.as_tensor(self.embedder.embed(known.pool.queries))
        query, log = self.query.numpy(), known.log.train
        self.world = world_of(self.router, known.pool, query, self.embedder.embed, known.train, [log])
        learn(self.router, [self.world], self.learning, known.seed)
        evidence = evidence_of_outcomes(self.router, self.world, known.train)
        with torch.no_grad():
            self.z = self.router.llm(**self.world.cards, evidence=evidence)
            users, at = np.nonzero(log.rated)
            _, told = self._messages(log, users, at)
            evidence.index_add_(0, torch.as_tensor(log.llm[users, at]), told)
            self.z = self.router.llm(**self.world.cards, evidence=evidence)

    def scores(self, rows: Ints, history: History) -> Floats:
        """`mean` [U, R, M] in the state of each user's history."""
        asked, n = torch.as_tensor(rows), len(rows)
        users, at = np.nonzero(history.rated)
        with torch.no_grad():
            sums = torch.zeros(len(history.users), self.router.message)
            if len(users):
                sums.index_add_(0, torch.as_tensor(users), self._messages(history, users, at)[0])
            learned = torch.full((n,), -1.0)
            inputs = (self.query[asked], self.world.prompt_tokens[asked])
            made = [
                self.router.score(*inputs, state.expand(n, -1), self.z, learned, self.z[:1])[0]
                for state in self.router.user(sums)
            ]
        return torch.stack(made).numpy()

    def _messages(self, history: History, users: Ints, at: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """To the users [n, G] and to the LLMs [n, V], of interactions that were rated."""
        query, llm = history.query[users, at], history.llm[users, at]
        n = len(query)
        return self.router.edge(
            reading=self.world.reading[query],
            z=self.z[llm],
            reward=torch.as_tensor(history.reward[users, at]),
            kind=torch.full((n,), KINDS.index(history.kind_name)),
            weight=torch.ones(n),
            prompt_tokens=self.world.prompt_tokens[query],
            completion_tokens=torch.nan_to_num(torch.as_tensor(history.completion_tokens[users, at]), nan=-1.0),
            cost_usd=torch.as_tensor(history.cost_usd[users, at]),
        )
