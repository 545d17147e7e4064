"""The log as arrays: decisions, and edges (rewarded answers), joined and without duplicates.

A million interactions take some 400 MB: what is known of queries stays int8, and only that of rewarded answers is kept
at all (`queries.py`).
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_model.embedding import Embedder
from router_model.export.reader import reader_of
from router_model.kinds import JUDGE, KINDS, PREFERENCE, RATING, THUMB
from router_model.network import QueryEncoder, Router
from router_model.retrain.candidates import candidates
from router_model.retrain.log import Document, Kind, LogSource
from router_model.retrain.queries import NOTHING, Packed, Queries, place_of_reading
from router_model.retrain.record import REASONS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

UNKNOWN_REASON = len(REASONS)
EXPLICIT = REASONS.index("explicit")
UNROUTED = ("embeddings", "passthrough")
"""Endpoints whose requests name their model: nothing was chosen, and nobody answered a question."""

Progress = Callable[[str, int, int], None]
"""Called with what is read, how many rows are done, and how many there are (0 = not known)."""


@dataclass
class Names:
    """Numbers for names, in order of appearance."""

    index: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The name's number, a new one if need be."""
        return self.index.setdefault(name, len(self.index))

    @property
    def all(self) -> list[str]:
        """Names by number."""
        return list(self.index)


@dataclass(frozen=True)
class Edges:
    """Rewarded answers, E of them, by user and time. `row`: of `Answers`."""

    row: Ints
    user: Ints
    ts: Ints
    kind: Ints
    """Index into `KINDS`."""
    value: Floats
    weight: Floats

    def __len__(self) -> int:
        """E."""
        return len(self.row)

    def only(self, rows: Bools | Ints) -> Edges:
        """Some of them."""
        return Edges(
            self.row[rows], self.user[rows], self.ts[rows], self.kind[rows], self.value[rows], self.weight[rows]
        )


@dataclass(frozen=True)
class Answers:
    """Answers with a reward. A of them."""

    decision: Ints
    """[A] row of `Decisions`."""
    llm: NDArray[np.int16]
    """[A] who answered at last."""
    queries: Queries
    prompt_tokens: Floats
    completion_tokens: Floats
    cost_usd: Floats
    seen: Bools
    """[A] False: an answer that was only preferred, never given."""
    key: Ints | None = None
    """[A] number of the key it was asked with, for a user whom nobody vouches for; -1: a voice of their own."""


@dataclass(frozen=True)
class Decisions:
    """Every interaction. D of them, in order of time."""

    user: NDArray[np.int32]
    ts: Ints
    tried: NDArray[np.int16]
    """[D] the candidate drawn, -1 where it isn't among the candidates; a failure may have moved the answer on."""
    reason: NDArray[np.int8]
    policy: NDArray[np.int16]
    propensity: Floats
    """[D, M]; NaN for what was no candidate."""
    cost_usd: Floats

    def __len__(self) -> int:
        """D."""
        return len(self.user)


@dataclass(frozen=True)
class Logbook:
    """All that retraining sees."""

    users: list[tuple[str, str]]
    """(tenant, user) by number."""
    llms: list[str]
    policies: list[str]
    decisions: Decisions
    answers: Answers
    edges: Edges
    price: Floats
    """[M, 2] dollars per million input and output tokens, fitted to what answers cost; NaN where not known."""
    left_out: dict[str, int]
    """Rows that could not be used, by why."""

    def tenant(self) -> NDArray[np.str_]:
        """[U]."""
        return np.array([tenant for tenant, _ in self.users], dtype=np.str_)


def read_logbook(
    log: LogSource,
    tenants: list[str],
    embedder: Embedder,
    progress: Progress | None = None,
    router: Router | None = None,
) -> Logbook:
    """Reads rewards, then interactions, and joins them: the latest of (interaction, user, kind) counts.

    Of a query what the reader of `router` read in it counts, else a vector of `embedder`, else one made anew where the
    prompt's text was kept; of whom nothing of this is known, the answer teaches nothing.
    """
    reader = _Reader(embedder, router)
    for document in _watched(log, "reward", tenants, embedder.version, progress):
        reader.reward(document)
    reader.settle_rewards()
    for document in _watched(log, "interaction", tenants, embedder.version, progress):
        reader.interaction(document)
    return reader.logbook()


def with_queries(log: Logbook, answers: Ints, progress: Callable[[int, int], None] | None = None) -> Logbook:
    """The log with a query for each of some answers, see `Queries.with_queries`."""
    return replace(log, answers=replace(log.answers, queries=log.answers.queries.with_queries(answers, progress)))


def _watched(
    log: LogSource, kind: Kind, tenants: list[str], embedder: str, progress: Progress | None
) -> Iterator[Document]:
    total, done = log.count(kind, tenants), 0
    for batch in log.read(kind, tenants, embedder):
        yield from batch
        done += len(batch)
        if progress is not None:
            progress(f"{kind}s", done, total)


def key_of(*parts: str) -> int:
    """64 bits of a hash: among a million ids, two collide with a chance of 3e-8."""
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "little")


REWARD = np.dtype(
    [("id", "u8"), ("user", "u8"), ("kind", "i1"), ("value", "f4"), ("weight", "f4"), ("ts", "i8"), ("rather", "i2")]
)
NOBODY = -1
CHUNK = 65536


class _Reader:
    """Collects columns in chunks."""

    def __init__(self, embedder: Embedder, router: Router | None) -> None:
        self.embedder = embedder
        self.encoder: QueryEncoder | None = router.encoder if router else None
        self.reader = reader_of(router) if router else None
        self.vectors = _packed_rows(embedder.dim)
        self.readings = _packed_rows(self.encoder.sizes.reading if self.encoder else 0)
        self.names: dict[str, Names] = {"user": Names(), "llm": Names(), "policy": Names(), "key": Names()}
        self.left_out: dict[str, int] = {}
        self.raw_rewards = _Rows(REWARD)
        self.rewards = np.zeros(0, REWARD)
        self.rewarded: set[int] = set()
        self.seen: set[int] = set()
        self.decisions = _Rows(
            np.dtype(
                [("user", "i4"), ("ts", "i8"), ("tried", "i2"), ("reason", "i1"), ("policy", "i2"), ("cost", "f4")]
            )
        )
        self.chances = _Ragged()
        self.answers = _Rows(
            np.dtype(
                [("decision", "i8"), ("id", "u8"), ("user", "u8"), ("llm", "i2"), ("query", "i4"),
                 ("prompt", "f4"), ("completion", "f4"), ("cost", "f4"), ("key", "i4")]
            )
        )  # fmt: skip
        self.costs: dict[int, _PriceFit] = {}

    def leave_out(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1

    def reward(self, row: Document) -> None:
        kind = "thumb" if row["kind"] == "rating" and row.get("binary") else row["kind"]
        if kind not in KINDS:
            return self.leave_out(f"rewards of an unknown kind, {kind}")
        tenant = row["tenant"]
        value = min(max(float(row["value"]), -1.0), 1.0)
        rather = row.get("preferred_model")
        self.raw_rewards.add(
            (
                key_of(tenant, row["interaction"]),
                key_of(tenant, row["user"]),
                KINDS.index(kind),
                value,
                row["weight"],
                row["ts"],
                self.names["llm"].number(rather) if kind in ("preference", "judge") and rather else NOBODY,
            )
        )
        return None

    def settle_rewards(self) -> None:
        rows = self.raw_rewards.all()
        # A thumb and a number are both ratings: the later of the two counts.
        rating = np.where(rows["kind"] == THUMB, RATING, rows["kind"])
        order = np.lexsort((rows["ts"], rating, rows["user"], rows["id"]))
        rows, rating = rows[order], rating[order]
        last = np.ones(len(rows), bool)
        last[:-1] = (
            (rows["id"][1:] != rows["id"][:-1]) | (rows["user"][1:] != rows["user"][:-1]) | (rating[1:] != rating[:-1])
        )
        rows, rating = rows[last], rating[last]
        # The latest feedback counts as a whole: a rating without a preference takes back an earlier one.
        outdated = np.zeros(len(rows), bool)
        outdated[1:] = (
            (rating[1:] == PREFERENCE)
            & (rating[:-1] == RATING)
            & (rows["id"][1:] == rows["id"][:-1])
            & (rows["user"][1:] == rows["user"][:-1])
            & (rows["ts"][1:] < rows["ts"][:-1])
        )
        self.rewards = rows[~outdated]
        self.raw_rewards = _Rows(REWARD)
        self.rewarded = set(self.rewards["id"].tolist())

    def interaction(self, row: Document) -> None:
        tenant, key = row["tenant"], key_of(row["tenant"], row["id"])
        if key in self.seen:
            return self.leave_out("interactions logged twice")
        self.seen.add(key)
        if row.get("endpoint") in UNROUTED:
            return None
        llm = self.names["llm"].number
        chosen = llm(row["chosen"])
        attempts = row["attempts"]
        first = llm(attempts[0]["candidate"]) if attempts else chosen
        names, propensities = candidates(row["candidates"], "propensity")
        columns = [llm(name) for name in names]
        self.chances.add(columns, propensities)
        reason = REASONS.index(row["reason"]) if row["reason"] in REASONS else UNKNOWN_REASON
        user = self.names["user"].number(f"{tenant}\0{row['user']}")
        policy = self.names["policy"].number(row["policy"])
        number = self.decisions.add(
            (user, row["ts"], first if first in columns else -1, reason, policy, row["cost_usd"])
        )
        usage = row["usage"]
        prompt, completion, cost = usage["prompt_tokens"], usage["completion_tokens"], row["cost_usd"]
        if len(attempts) <= 1 and row["status"] == 200 and not (usage["cached_tokens"] or usage["cache_write_tokens"]):
            self.costs.setdefault(chosen, _PriceFit()).add(prompt, completion, cost)
        if key in self.rewarded:
            query = self._query(row)
            unknown = completion <= 0
            user_key = key_of(tenant, row["user"])
            tokens = -1.0 if unknown else completion
            # Before keys were logged, nobody knew who vouched for whom.
            by_key = row.get("key")
            own = row.get("vouched") or not by_key
            asked = NOBODY if own else self.names["key"].number(f"{tenant}\0{by_key}")
            usd = -1.0 if unknown else cost
            self.answers.add((number, key, user_key, chosen, query, prompt, tokens, usd, asked))
        return None

    def _query(self, row: Document) -> int:
        """Keeps what is known of a row's query; its place in `Queries`.

        What was read in it goes first: a vector and a text are of the words alone, without the tools of the request.
        """
        read = row.get("reading")
        if read is not None and self.encoder is not None and row.get("reader") == self.reader:
            numbers = np.frombuffer(base64.b64decode(read["int8"]), np.int8)
            if len(numbers) == self.encoder.sizes.reading:
                return place_of_reading(self.readings.add((numbers, float(read["scale"]))))
        kept = row["embedding"]
        if kept is not None and "int8" in kept and row["embedder"] == self.embedder.version:
            int8 = np.frombuffer(base64.b64decode(kept["int8"]), np.int8)
            if len(int8) == self.embedder.dim and kept["scale"] > 0:
                return self.vectors.add((int8, float(kept["scale"])))
        if row.get("text"):
            int8, scale = _quantised(self.embedder.embed([row["text"]])[0])
            return self.vectors.add((int8, scale)) if scale > 0 else NOTHING
        self.leave_out("answers whose reading and vector are another artifact's, without text to make them anew")
        return NOTHING

    def logbook(self) -> Logbook:
        decisions, answers = self.decisions.all(), self.answers.all()
        llms = self.names["llm"].all
        order = np.argsort(decisions["ts"], kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        edges, orphans, foreign = _join(self.rewards, answers)
        if orphans:
            self.left_out["rewards of interactions that are not in the log"] = orphans
        if foreign:
            self.left_out["rewards by another user than the one who asked"] = foreign
        seen = len(answers)
        edges, answers = _with_preferred(edges, answers)
        moved = decisions[order]
        row_user = decisions["user"][answers["decision"]]
        sequence = np.lexsort((edges["ts"], row_user[edges["row"]])) if len(edges["row"]) else np.zeros(0, np.int64)
        edges = {name: column[sequence] for name, column in edges.items()}
        users = [tuple(name.split("\0", 1)) for name in self.names["user"].all]
        return Logbook(
            users=[(tenant, user) for tenant, user in users],
            llms=llms,
            policies=self.names["policy"].all,
            decisions=Decisions(
                user=moved["user"],
                ts=moved["ts"],
                tried=moved["tried"],
                reason=moved["reason"],
                policy=moved["policy"],
                propensity=self.chances.table(len(llms))[order],
                cost_usd=moved["cost"],
            ),
            answers=Answers(
                decision=place[answers["decision"]],
                llm=answers["llm"],
                queries=Queries(
                    answers["query"].astype(np.int64), _packed(self.vectors), _packed(self.readings), self.encoder
                ),
                prompt_tokens=answers["prompt"],
                completion_tokens=answers["completion"],
                cost_usd=answers["cost"],
                seen=np.arange(len(answers)) < seen,
                key=answers["key"].astype(np.int64),
            ),
            edges=Edges(user=row_user[edges["row"]].astype(np.int64), **edges),
            price=np.array([self.costs[i].solve() if i in self.costs else (np.nan, np.nan) for i in range(len(llms))],
                           np.float32).reshape(-1, 2),
            left_out=self.left_out,
        )  # fmt: skip


def _quantised(vector: Floats) -> tuple[NDArray[np.int8], float]:
    scale = float(np.abs(vector).max()) / 127
    return np.rint(vector / scale if scale > 0 else vector).astype(np.int8), scale


def _join(rewards: Any, answers: Any) -> tuple[dict[str, Any], int, int]:
    """Columns of the edges whose interaction is in the log and of the same user; how many fail the one, the other."""
    order = np.argsort(answers["id"])
    place = np.searchsorted(answers["id"][order], rewards["id"])
    found = place < len(order)
    row = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(rewards), np.int64)
    if len(order):
        found &= answers["id"][row] == rewards["id"]
        same = found & (answers["user"][row] == rewards["user"])
    else:
        found = same = np.zeros(len(rewards), bool)
    known = np.flatnonzero(same)
    known = known[answers["query"][row[known]] != NOTHING] if len(known) else known
    columns = {name: rewards[name][known].copy() for name in ("ts", "value", "weight", "rather")}
    edges = {"row": row[known], "kind": rewards["kind"][known].astype(np.int64), **columns}
    return edges, int((~found).sum()), int((found & ~same).sum())


def _with_preferred(edges: dict[str, Any], answers: Any) -> tuple[dict[str, Any], Any]:
    """ "I would rather have had Y" is -1 for the one that answered and +1 for Y, each with half the weight.

    As in the gateway. Y never answered: length and cost are unknown.
    """
    rather = edges.pop("rather")
    # A judge that compared two answers has marked neither.
    edges["kind"][(rather != NOBODY) & (edges["kind"] == JUDGE)] = PREFERENCE
    two = np.flatnonzero((rather != NOBODY) & (rather != answers["llm"][edges["row"]]))
    unseen = answers[edges["row"][two]].copy()
    unseen["llm"], unseen["completion"], unseen["cost"] = rather[two], -1, -1
    edges["weight"][two] /= 2
    more = {name: column[two] for name, column in edges.items()}
    more["row"] = len(answers) + np.arange(len(two))
    more["value"] = np.ones(len(two), np.float32)
    return {name: np.concatenate([edges[name], more[name]]) for name in edges}, np.concatenate([answers, unseen])


class _Rows:
    """A growing structured array, in chunks."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.full: list[NDArray[Any]] = []
        self.chunk = np.zeros(CHUNK, dtype)
        self.used = 0

    def add(self, row: tuple[Any, ...]) -> int:
        """Appends; returns the row's number."""
        if self.used == CHUNK:
            self.full.append(self.chunk)
            self.chunk = np.zeros(CHUNK, self.dtype)
            self.used = 0
        self.chunk[self.used] = row
        self.used += 1
        return self.count - 1

    @property
    def count(self) -> int:
        """Rows so far."""
        return len(self.full) * CHUNK + self.used

    def all(self) -> NDArray[Any]:
        """Everything; the chunks are let go."""
        made = np.empty(self.count, self.dtype)
        for number, chunk in enumerate(self.full):
            made[number * CHUNK : (number + 1) * CHUNK] = chunk
        made[len(self.full) * CHUNK :] = self.chunk[: self.used]
        self.full, self.chunk = [], np.zeros(0, self.dtype)
        return made


def _packed_rows(width: int) -> _Rows:
    return _Rows(np.dtype([("int8", "i1", (width,)), ("scale", "f4")]))


def _packed(rows: _Rows) -> Packed:
    found = rows.all()
    return Packed(np.ascontiguousarray(found["int8"]), np.ascontiguousarray(found["scale"]))


class _Ragged:
    """Rows of (column, value) pairs of any number."""

    def __init__(self) -> None:
        self.lengths, self.columns, self.values = array("i"), array("h"), array("f")

    def add(self, columns: list[int], values: list[float]) -> None:
        """Appends a row."""
        self.lengths.append(len(columns))
        self.columns.extend(columns)
        self.values.extend(values)

    def table(self, width: int) -> Floats:
        """[rows, width], NaN where nothing was added."""
        made = np.full((len(self.lengths), width), np.nan, np.float32)
        row = np.repeat(np.arange(len(self.lengths)), np.frombuffer(self.lengths, np.int32))
        made[row, np.frombuffer(self.columns, np.int16)] = np.frombuffer(self.values, np.float32)
        return made


@dataclass
class _PriceFit:
    """Least squares of dollars a token on the prompt's share of the tokens: an answer's size doesn't weigh."""

    rows: int = 0
    square_in: float = 0.0
    product: float = 0.0
    square_out: float = 0.0
    cost_in: float = 0.0
    cost_out: float = 0.0

    def add(self, prompt: float, completion: float, cost: float) -> None:
        """One answer."""
        total = prompt + completion
        if total <= 0:
            return
        a, b, each = prompt / total, completion / total, cost / total
        self.rows += 1
        self.square_in += a * a
        self.product += a * b
        self.square_out += b * b
        self.cost_in += a * each
        self.cost_out += b * each

    def solve(self) -> tuple[float, float]:
        """Dollars per million tokens, in and out."""
        design = np.array([[self.square_in, self.product], [self.product, self.square_out]])
        if self.rows < 3 or np.linalg.cond(design) > 1e8:
            return np.nan, np.nan
        prices = np.linalg.solve(design, [self.cost_in, self.cost_out]) * 1e6
        return max(float(prices[0]), 0.0), max(float(prices[1]), 0.0)
