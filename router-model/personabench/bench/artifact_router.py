"""The graph router as the gateway runs it: an artifact's four graphs in ONNX Runtime, nothing else (ARTIFACT.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personabench.bench.contestant import Kind, Known
from personabench.bench.live import drawn
from personabench.bench.safe_caution import safe_caution
from personabench.bench.scores_of_states import Scores, probe
from router_model.data.cards import card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.data.pools import cost_of
from router_model.data.simulation import History
from router_model.embedding.static import StaticEmbedder
from router_model.evidence import Memory
from router_model.export.artifact import Artifact
from router_model.export.onnx import dims_of
from router_model.priors.people import popular_among
from router_model.retrain.runner import TorchRunner

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BATCH = 4096
CAUTION = 0.15  # as the gateway's `router.caution`
HEARD, HEARD_RATINGS = 200, 20  # users at most who tell of which kind a tenant's people are, and ratings of each
PROBE_FROM = 64  # users from which on scores are computed from the features that the graph tells
USUAL = 200  # questions of the train folds on which everybody's favourite is decided
USUAL_OF_A_USER = 40  # of them, on which it is decided how cautious to be with a user


class ArtifactRouter:
    """Messages summed over a user's history, the belief made of them, and the score of every candidate.

    Candidates that `population.json` doesn't hold get the outcomes of the train folds, as a gateway would gather them.
    """

    kind: Kind = "personal"

    def __init__(
        self,
        folder: Path,
        name: str = "graph router",
        caution: float = CAUTION,
        risk: float | None = None,
        baseline: bool = False,
        heard: int | None = None,
    ) -> None:
        """Loads and verifies the artifact; older ones know no caution. `risk`: as the gateway's `router.risk`;
        `baseline`: the best single LLM is the gateway's `router.baseline`, from which doubts are counted. `heard`: so
        many of the training users make the tenant's log, 0: it has none, None: all of them; by what some of them say
        of fold 7, they also tell of which kind the tenant's people are.

        Raises `ArtifactError`.
        """
        self.artifact = self._shipped = Artifact(folder)
        self._path = folder
        self.caution = caution
        self.heard = heard
        self.tenant: Floats | None = None
        self.risk = risk
        self.baseline = baseline
        self.anchored = any(entry.name == "anchor" for entry in self.artifact.sessions["score"].get_inputs())
        self.name = name
        self.embedder = StaticEmbedder.load(folder / "embedder")

    @property
    def artifact(self) -> Artifact:
        """Whose graphs are run."""
        return self._artifact

    @artifact.setter
    def artifact(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._forget()

    def _forget(self) -> None:
        """What follows from the graphs and the candidates' states."""
        self._asked: dict[bytes, Scores | None] = {}
        self._heard: tuple[Memory, History, Floats, Ints] | None = None

    def fit(self, known: Known) -> None:
        """No training: states of the candidates from their cards, and from outcomes where there are any."""
        manifest, cards = self.artifact.manifest, known.pool.cards
        self.known = known
        self.query = self.embedder.embed(known.pool.queries)
        self.inputs = {
            "card": card_matrix(cards, manifest.card_features, manifest.ability, manifest.verbosity),
            "text": self.embedder.embed([card.text for card in cards]),
            "provider_code": code_matrix([card.vendor for card in cards], manifest.dims.P, manifest.codes),
            "name_code": code_matrix([card.name for card in cards], manifest.dims.C, manifest.codes),
            "price": price_matrix(cards),
        }
        evidence = np.zeros((len(cards), manifest.dims.V), dtype=np.float32)
        aliases = {alias.lower(): name for name, many in manifest.aliases.items() for alias in (name, *many)}
        population = {name.lower(): vector for name, vector in self.artifact.population.items()}
        missing = []
        for column, card in enumerate(cards):
            name = aliases.get(card.name.lower(), card.name).lower()
            if name in population and column not in known.newcomers:
                evidence[column] = population[name]
            else:
                missing.append(column)
        self.set_evidence(evidence)
        for column in missing:
            evidence[column] = self.outcome_evidence(column, np.flatnonzero(np.isfinite(known.pool.quality[:, column])))
        self.set_evidence(evidence)
        log, told = self._of_heard(known.log.train), self._of_heard(known.log.fresh)
        if log is not None and told is not None:
            said = self.log_evidence(log)
            self.set_evidence(evidence + said)
            self.tenant = self.tenant_sums(told)
            evidence = evidence + popular_among(self.people(), said)
        self.set_evidence(evidence)

    def join(self, known: Known) -> None:
        """Fit again, which takes cards and messages alone."""
        self.fit(known)

    def set_evidence(self, evidence: Floats) -> None:
        """z of every candidate, given sums of messages [M, V]."""
        self.evidence = evidence
        self._forget()
        self.z = self.artifact.run("llm", {**self.inputs, "evidence": evidence})["z"]
        self.anchor, self.favourite = self.z[:1], 0
        if self.anchored:
            usual = self._usual()
            new = self.believe(self.nothing(1))
            mean = self._run_score(usual, np.broadcast_to(new, (len(usual), new.shape[1])))["mean"]
            self.favourite = self.known.best_single if self.baseline else int(mean.mean(0).argmax())
            self.anchor = self.z[self.favourite : self.favourite + 1]

    def _usual(self) -> Ints:
        return self.known.train[:: max(1, len(self.known.train) // USUAL)]

    def outcome_evidence(self, column: int, rows: Ints) -> Floats:
        """Sum [V] of the messages of an LLM's outcomes on some queries."""
        pool = self.known.pool
        if not len(rows):
            return np.zeros(self.artifact.manifest.dims.V, dtype=np.float32)
        llm = np.full(len(rows), column)
        reward, tokens = 2 * pool.quality[rows, column] - 1, pool.completion_tokens[rows, column]
        _, message = self.messages(rows, llm, reward, "outcome", tokens, np.full(len(rows), np.nan, dtype=np.float32))
        return np.asarray(message.sum(0), dtype=np.float32)

    def _of_heard(self, log: History) -> History | None:
        if self.heard is None:
            return log
        return log.of(_some(len(log.users), self.heard)) if self.heard else None

    def log_evidence(self, log: History) -> Floats:
        """Sums [M, V] of what training users' rewards say of each candidate, as a gateway adds them up.

        What a user says of an LLM again and again is a taste: the n-th counts 1/n.
        """
        users, at = np.nonzero(log.rated)
        llm = log.llm[users, at]
        before = np.zeros((len(log.users), len(self.evidence)), dtype=np.int64)
        share = np.zeros((len(llm), 1), dtype=np.float32)
        for number, (user, which) in enumerate(zip(users.tolist(), llm.tolist(), strict=True)):  # by time
            before[user, which] += 1
            share[number] = 1 / before[user, which]
        spoken = np.unique(llm)
        # The same log may be heard by several routers of this artifact, and again after LLMs have joined.
        key = (self._path, self.heard, log.kind_name, self.z[spoken].tobytes())
        total = np.zeros(self.evidence.shape, dtype=np.float64)
        known = self.known.memory.get(key) if self.artifact is self._shipped else None
        if isinstance(known, np.ndarray):
            total[spoken] = known
        else:
            _, message = self.messages(
                log.query[users, at],
                llm,
                log.reward[users, at],
                log.kind_name,
                log.completion_tokens[users, at],
                log.cost_usd[users, at],
            )
            np.add.at(total, llm, message * share)
            self.known.memory[key] = total[spoken]
        return total.astype(np.float32)

    def messages(
        self,
        rows: Ints,
        llm: Ints,
        reward: Floats,
        kind: str,
        tokens: Floats,
        cost: Floats,
    ) -> tuple[Floats, Floats]:
        """Messages of N rewards to their users [N, G] and LLMs [N, V]. NaN tokens or cost = not known."""
        users, llms = [], []
        n = len(rows)
        for part in np.array_split(np.arange(n), max(1, -(-n // BATCH))):
            inputs = {
                "query": self.query[rows[part]],
                "z": self.z[llm[part]],
                "reward": reward[part].astype(np.float32),
                "kind": np.full(len(part), self.artifact.manifest.kinds.index(kind), dtype=np.int64),
                "weight": np.ones(len(part), dtype=np.float32),
                "prompt_tokens": self.known.pool.prompt_tokens[rows[part]],
                "completion_tokens": np.nan_to_num(tokens[part], nan=-1.0).astype(np.float32),
                "cost_usd": np.nan_to_num(cost[part], nan=-1.0).astype(np.float32),
            }
            out = self.artifact.run("edge", inputs)
            users.append(out["user_message"])
            llms.append(out["llm_message"])
        return np.concatenate(users), np.concatenate(llms)

    def tenant_sums(self, log: History) -> Floats | None:
        """What some users of the log tell of their tenant, [Y]; None where the artifact knows one kind of people."""
        if not self.artifact.manifest.dims.Y:
            return None
        sums = self.user_sums(log.of(_some(len(log.users), HEARD)).first(HEARD_RATINGS))
        told = self.artifact.run("user", {"sums": sums.reshape(len(sums), -1)})["tenant_message"]
        return np.asarray(told.sum(0), dtype=np.float32)

    def people(self) -> Floats:
        """[J]: how frequent each kind of people is among the tenant's new users; empty where there is but one."""
        people: Floats = self._believed(self.nothing(1)).get("people", np.ones((1, 0), dtype=np.float32))[0]
        return people

    def states(self, history: History) -> Floats:
        """[U, S]."""
        return self.believe(self.user_sums(history))

    def user_sums(self, history: History) -> Floats:
        """[U, W, G]."""
        users, n = history.query.shape
        sums, before, start = self.nothing(users), np.zeros(users, dtype=np.int64), 0
        if self._heard is not None and self._heard[0] == self.memory and _begins(history, self._heard[1]):
            _, known, sums, before = self._heard
            sums, before, start = sums.copy(), before.copy(), known.query.shape[1]
        for step in range(start, n):
            rated = history.rated[:, step]
            if not rated.any():
                continue
            who = np.flatnonzero(rated)
            message, _ = self.messages(
                history.query[who, step],
                history.llm[who, step],
                history.reward[who, step],
                history.kind_name,
                history.completion_tokens[who, step],
                history.cost_usd[who, step],
            )
            sums[who] = self.memory.add(sums[who], message, before[who])
            before[who] += 1
        self._heard = (self.memory, history, sums.copy(), before)
        return sums

    @property
    def memory(self) -> Memory:
        """How messages are kept."""
        return Memory.of(self.artifact.manifest)

    def nothing(self, users: int) -> Floats:
        """Sums [U, W, G] of users who said nothing."""
        return self.memory.empty(users, self.artifact.manifest.dims.G, np.float32)

    def believe(self, sums: Floats) -> Floats:
        """States [U, S] from sums [U, W, G]."""
        state: Floats = self._believed(sums)["state"]
        return state

    def _believed(self, sums: Floats) -> dict[str, Floats]:
        inputs = {"sums": sums.reshape(len(sums), -1)}
        if self.tenant is not None:
            inputs["tenant"] = np.tile(self.tenant, (len(sums), 1))
        believed: dict[str, Floats] = self.artifact.run("user", inputs)
        return believed

    def begin(self, users: int) -> ArtifactSession:
        """New users, whose sums are zero."""
        return ArtifactSession(self, users)

    def score(self, rows: Ints, state: Floats) -> tuple[Floats, Floats]:
        """Mean, less caution, and deviation [n, M] for n queries, each with a state [n, S] of its user."""
        out = self._run_score(rows, state)
        doubt = self.cautions(state, self.risk)[:, None] * out["apart"] if "apart" in out else 0.0
        return np.asarray(out["mean"] - doubt, dtype=np.float32), out["std"]

    def doubts(self, rows: Ints, states: Floats) -> tuple[Floats, Floats]:
        """Means, and deviations from the baseline or favourite, [U, n, M] for users in states [U, S]."""
        scores = self._scores(rows, states)
        if scores is not None:
            return scores.means(states), scores.aparts(states)
        every = [self._run_score(rows, _for_all(rows, state)) for state in states]
        return np.stack([out["mean"] for out in every]), np.stack([out["apart"] for out in every])

    def cautions(self, state: Floats, risk: float | None) -> Floats:
        """[n], of users in states [n, S]."""
        cautions = np.full(len(state), self.caution, dtype=np.float32)
        if risk is None:
            return cautions
        usual = self._usual()
        usual = usual[:: max(1, len(usual) // USUAL_OF_A_USER)]
        states, which = np.unique(state[:, : math.isqrt(state.shape[1])], axis=0, return_index=True)
        for own, mean, apart in zip(states, *self.doubts(usual, state[which]), strict=True):
            found = safe_caution(mean, apart, self.favourite, self.caution, risk)
            cautions[(state[:, : len(own)] == own).all(1)] = found
        return cautions

    def _scores(self, rows: Ints, states: Floats) -> Scores | None:
        """Of the artifact's graph, for any state; None where running it for each of `states` [U, S] is as good."""
        key = rows.tobytes()
        if key not in self._asked:
            if len(states) < PROBE_FROM:
                return None
            self._asked[key] = probe(
                lambda state: self._run_score(rows, _for_all(rows, state)), states.shape[1], self.favourite, states[-1]
            )
        return self._asked[key]

    def _run_score(self, rows: Ints, state: Floats) -> dict[str, Floats]:
        inputs = {
            "query": self.query[rows],
            "prompt_tokens": self.known.pool.prompt_tokens[rows],
            "state": state,
            "z": self.z,
            "cost_weight": np.full(len(rows), -1.0, dtype=np.float32),
        }
        if self.anchored:
            inputs["anchor"] = self.anchor
        return self.artifact.run("score", inputs)

    def scores(self, rows: Ints, history: History) -> Floats:
        """`mean` of score.onnx less caution, [U, R, M], in the state of each user's history."""
        states = self.states(history)
        scores = self._scores(rows, states)
        if scores is None:
            return np.stack([self.score(rows, _for_all(rows, state))[0] for state in states])
        if not self.anchored:
            return scores.means(states)
        return scores.means(states) - self.cautions(states, self.risk)[:, None, None] * scores.aparts(states)

    def deviations(self, rows: Ints, history: History) -> Floats:
        """`std` of score.onnx, [U, R, M], in the state of each user's history."""
        states = self.states(history)
        scores = self._scores(rows, states)
        if scores is not None:
            return scores.deviations(states)
        return np.stack([self.score(rows, _for_all(rows, state))[1] for state in states])

    def outcomes(self, rows: Ints) -> tuple[Floats, Floats, Floats]:
        """Predicted quality, reply tokens and dollars [R, M], the same for every user."""
        new = self.believe(self.nothing(1))
        out = self._run_score(rows, np.broadcast_to(new, (len(rows), new.shape[1])))
        tokens = out["completion_tokens"]
        prompt = self.known.pool.prompt_tokens[rows]
        return out["quality"], tokens, cost_of(self.inputs["price"], prompt, tokens)


def _for_all(rows: Ints, state: Floats) -> Floats:
    """The same state [S] for each row."""
    return np.broadcast_to(state, (len(rows), len(state)))


def _some(users: int, most: int) -> Ints:
    """Positions of at most so many of the users, evenly."""
    return np.unique(np.linspace(0, users - 1, min(most, users)).astype(np.int64))


def _begins(history: History, known: History) -> bool:
    """Whether a history goes on from a known one."""
    n = known.query.shape[1]
    parts = ("users", "query", "llm", "reward", "rated", "kind")
    first = history.first(n)
    return n <= history.query.shape[1] and all(np.array_equal(getattr(first, p), getattr(known, p)) for p in parts)


class ChangedArtifact:
    """An artifact whose graphs are run by another network."""

    def __init__(self, artifact: Artifact, runner: TorchRunner) -> None:
        """Keeps the manifest and the evidence of known LLMs."""
        dims = dims_of(runner.router.sizes)  # an older artifact's messages may be shorter
        forget = artifact.manifest.forget.model_copy(update={"block": runner.router.sizes.block_rewards})
        self.manifest = artifact.manifest.model_copy(update={"dims": dims, "forget": forget})
        self.population, self._runner = artifact.population, runner

    def run(self, graph: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One of the four graphs, by the changed network."""
        return self._runner.run(graph, inputs)


class ArtifactSession:
    """Sums of messages and states of U users, as the gateway keeps them."""

    def __init__(self, router: ArtifactRouter, users: int) -> None:
        """New users."""
        self.router = router
        self.sums = router.nothing(users)
        self.before = np.zeros(users, dtype=np.int64)
        self.state = router.believe(self.sums)

    def expect(self, rows: Ints) -> tuple[Floats, Floats]:
        """`mean` and `std` of score.onnx, [U, M], in each user's present state."""
        return self.router.score(rows, self.state)

    def draw(self, rows: Ints, width: float, rng: np.random.Generator) -> Floats:
        """Mean [U, M] under drawn weights; the one place that knows how a state is laid out (`Sizes.state`)."""
        k = math.isqrt(self.state.shape[1])
        mean, covariance = self.state[:, :k].astype(np.float64), self.state[:, k:].reshape(-1, k, k).astype(np.float64)
        state = np.concatenate([drawn(mean, covariance, width, rng).astype(np.float32), self.state[:, k:]], 1)
        return self.router.score(rows, state)[0]

    def observe(self, rows: Ints, llm: Ints, reward: Floats, rated: Bools, cost_usd: Floats, tokens: Floats) -> None:
        """Messages, sums and states of those who rated."""
        who = np.flatnonzero(rated)
        if not len(who):
            return
        kind = self.router.known.log.train.kind_name
        message, _ = self.router.messages(rows[who], llm[who], reward[who], kind, tokens[who], cost_usd[who])
        self.sums[who] = self.router.memory.add(self.sums[who], message, self.before[who])
        self.before[who] += 1
        self.state[who] = self.router.believe(self.sums[who])
