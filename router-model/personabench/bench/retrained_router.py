"""The graph router as it is after `retrain` on the tenant's own log: the same code, on a log made of arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personabench.bench.artifact_router import CAUTION, ArtifactRouter, ChangedArtifact
from personabench.bench.contestant import Known
from router_model.data.simulation import History
from router_model.export.artifact import Artifact
from router_model.kinds import KINDS
from router_model.retrain.fit import fit
from router_model.retrain.logbook import Answers, Decisions, Edges, Logbook
from router_model.retrain.options import Options
from router_model.retrain.queries import Queries, quantised
from router_model.retrain.refit import held_out
from router_model.retrain.runner import TorchRunner
from router_model.retrain.start import Prepared, base_of

Floats = NDArray[np.float32]
TENANT = "bench"


class RetrainedRouter(ArtifactRouter):
    """An artifact after `retrain` on what training users said of questions that training never saw.

    It learns from four fifths of these users, as `retrain` does; no gate is asked.
    """

    def __init__(self, folder: Path, name: str = "graph router, retrained", caution: float = CAUTION) -> None:
        """Loads the artifact that the retraining starts from."""
        super().__init__(folder, name, caution, heard=0)  # the retraining hears the log itself
        self.shipped: Artifact = self.artifact

    def fit(self, known: Known) -> None:
        """What the artifact knows of the candidates, then the retraining."""
        self.artifact, self.tenant = self.shipped, None
        super().fit(known)
        history, names = known.log.fresh, [card.name for card in known.pool.cards]
        log = logbook_of(history, names, known.pool.prompt_tokens, self.query)
        base = base_of(self.shipped)
        prepared = Prepared(list(known.pool.cards), self.inputs, names, self.evidence)
        judging = held_out(log.users, Options.held_out)
        fade = self.shipped.manifest.forget.per_reward
        self.fitted = fit(log, base, prepared, fade, judging, Options(seed=known.seed), lambda *_: None)
        self.artifact = ChangedArtifact(self.shipped, TorchRunner(self.fitted.router))  # type: ignore[assignment]
        self.set_evidence(self.fitted.evidence.astype(np.float32))


def logbook_of(history: History, llms: list[str], prompt_tokens: Floats, query: Floats) -> Logbook:
    """A log as `retrain` reads it, a second between requests; `prompt_tokens` [Q] and embeddings `query` [Q, E]."""
    user, step = np.nonzero(history.rated)
    rows, llm = history.query[user, step], history.llm[user, step]
    n, ts = len(user), 1000 * step.astype(np.int64)
    propensity = np.full((n, len(llms)), np.nan, np.float32)
    propensity[np.arange(n), llm] = history.propensity[user, step]
    cost = history.cost_usd[user, step].astype(np.float32)
    decisions = Decisions(
        user=user.astype(np.int32),
        ts=ts,
        tried=llm.astype(np.int16),
        reason=np.zeros(n, np.int8),
        policy=np.zeros(n, np.int16),
        propensity=propensity,
        cost_usd=cost,
    )
    answers = Answers(
        decision=np.arange(n),
        llm=llm.astype(np.int16),
        queries=Queries.of_vectors(quantised(query[rows])),
        prompt_tokens=prompt_tokens[rows].astype(np.float32),
        completion_tokens=np.nan_to_num(history.completion_tokens[user, step], nan=-1.0).astype(np.float32),
        cost_usd=cost,
        seen=np.ones(n, np.bool_),
    )
    edges = Edges(
        row=np.arange(n),
        user=user.astype(np.int64),
        ts=ts + 500,
        kind=np.full(n, KINDS.index(history.kind_name)),
        value=history.reward[user, step].astype(np.float32),
        weight=np.ones(n, np.float32),
    )
    users = [(TENANT, str(number)) for number in history.users.tolist()]
    price = np.full((len(llms), 2), np.nan, np.float32)
    return Logbook(users, llms, ["shipped"], decisions, answers, edges, price, {})
