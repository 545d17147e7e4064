"""`python -m personabench today`: how a cold start fares with today's LLMs, each known by its card alone.

The data are read from a folder that the command names; where a source states no terms, none of it is kept here.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from personabench.ceilings import (
    auc,
    best_figure,
    half_against_half,
    like_with_like,
    on_other_folds,
    spearman,
    true_order,
)
from personabench.measured_lengths import heard, length_evidence
from router_model.data.ability import thinks
from router_model.data.cards import Card, card_for, card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.data.pools import DataError, Pool, sparse_pool
from router_model.data.tools import tool_share
from router_model.embedding.static import StaticEmbedder
from router_model.export.artifact import Artifact, read_manifest, unpack_vector

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

POOLS = "mcpmark,zoonk,bfcl,mmlu_pro,can_ai_code"
DRAWS = 1000
ANSWERS = 20  # of an LLM, not rated, from which its lengths are learned
# Tools that a request of a task brings: as many as agents have, or as BFCL's kinds of calls choose from.
AGENTS_TOOLS = 20
TOOLS = {"tools_simple": 1, "tools_parallel": 1, "tools_multiple": 3, "tools_parallel_multiple": 3}
AGENTS_SETS = ("mcpmark",)
FEWEST = 20  # queries of an LLM, for what is said of it over queries
JUDGED = ("swe-bench", "swebench_pro")  # tasks of the sets without texts
# Instances without texts: questions of that kind stand in, so that only the order over LLMs can be judged.
STAND_INS = {"openhands_index": ("real_coding", "agentic"), "swebench_pro": ("real_coding", "agentic")}


@dataclass(frozen=True)
class Found:
    """Figures of one set; NaN where it can't tell."""

    data: str
    llms: int
    queries: int
    spearman: float
    low: float
    high: float
    half: float
    """Of the LLMs' real means on one half of the queries with those on the other: more than that nobody can be asked
    for on so few queries of such a kind."""
    truth: float
    """Of the true means, as far as they are known, with those on the questions that are judged."""
    elsewhere: float
    """Of the LLMs' real means on the questions that are judged with those on all other questions of the set."""
    figure: str
    """Public figure that alone orders these LLMs best, known of half of them at least."""
    by_figure: float
    by_price: float
    spread: float
    slope: float
    auc: float
    tokens_thinking: float
    tokens_plain: float
    dollars_within_2: float
    tokens_learned: float
    """Median ratio of tokens, and LLMs whose median is within a factor of two, after `ANSWERS` answers of each."""
    learned_within_2: float
    best: float
    by_quality: float
    random: float
    worst_weight: float
    """Least, over cost weights, of chosen minus random quality."""
    like_with_like: float = float("nan")
    """Rank correlation among LLMs that were run in the same way, where a set holds runs of several ways."""


class CardsOnly:
    """An artifact's predictions for LLMs of which nothing but cards is known, and a user who said nothing."""

    def __init__(self, folder: Path) -> None:
        """Loads and verifies the artifact. Raises `ArtifactError`."""
        self.artifact = Artifact(folder)
        self.embedder = StaticEmbedder.load(folder / "embedder")
        self.manifest = read_manifest(folder)
        dims = self.manifest.dims
        self.state = self.artifact.run("user", {"sums": np.zeros((1, dims.H), dtype=np.float32)})["state"]

    def figures(self, cards: Sequence[Card]) -> Floats:
        """All that is read of cards but their texts [M, F]."""
        m = self.manifest
        return card_matrix(cards, m.card_features, m.ability, m.verbosity)

    def states(self, cards: Sequence[Card], evidence: Floats | None = None) -> Floats:
        """z [M, Z]; `evidence` [M, V], none by default."""
        m = self.manifest
        inputs = {
            "card": self.figures(cards),
            "text": self.embedder.embed([card.text for card in cards]),
            "provider_code": code_matrix([card.vendor for card in cards], m.dims.P, m.codes),
            "name_code": code_matrix([card.name for card in cards], m.dims.C, m.codes),
            "price": price_matrix(cards),
            "evidence": np.zeros((len(cards), m.dims.V), dtype=np.float32) if evidence is None else evidence,
        }
        z: Floats = self.artifact.run("llm", inputs)["z"]
        return z

    def read(self, queries: Sequence[str], tools: Ints | None = None) -> Floats:
        """Embeddings [Q, E] of queries that bring so many tools [Q], none by default."""
        query: Floats = self.embedder.embed(list(queries))
        if tools is None or self.manifest.tools is None:
            return query
        return query + tool_share(tools)[:, None] * unpack_vector(self.manifest.tools)

    def predict(
        self,
        cards: Sequence[Card],
        query: Floats,
        prompt: Floats,
        weight: float,
        z: Floats | None = None,
    ) -> dict[str, Floats]:
        """Outputs of `score` [Q, M] for embedded queries at a cost weight."""
        z = self.states(cards) if z is None else z
        n = len(query)
        inputs = {
            "query": query,
            "prompt_tokens": prompt.astype(np.float32),
            "state": np.repeat(self.state, n, 0),
            "z": z,
            "cost_weight": np.full(n, weight, dtype=np.float32),
        }
        if any(i.name == "anchor" for i in self.artifact.sessions["score"].get_inputs()):
            inputs["anchor"] = z[:1]
        return self.artifact.run("score", inputs)


def spearman_interval(x: Floats, y: Floats, seed: int = 0) -> tuple[float, float]:
    """95 % by a bootstrap over LLMs."""
    rng = np.random.default_rng(seed)
    drawn = [spearman(x[i], y[i]) for i in rng.integers(0, len(x), (DRAWS, len(x)))]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def judge(router: CardsOnly, pool: Pool, raw: dict[str, Any], whole: Pool, models: Mapping[str, str]) -> Found:
    """One set with texts and outcomes; `whole`: with the questions that are not judged; `models` by name."""
    asked = np.isfinite(pool.quality)
    query = router.read(pool.queries, tools_of(pool))
    out = router.predict(pool.cards, query, pool.prompt_tokens, 0.0)
    quality, tokens = out["quality"], out["completion_tokens"]
    enough = asked.sum(0) >= min(FEWEST, len(pool.queries) // 2)
    # an LLM is compared with what is predicted on the queries that it was asked
    of = lambda x: np.array([x[asked[:, m], m].mean() for m in np.flatnonzero(enough)], dtype=np.float32)  # noqa: E731
    real, predicted = of(pool.quality), of(quality)
    if not asked.all():  # sparse: relative to those who answered the same queries
        mean = np.nanmean(np.where(asked, pool.quality, np.nan), 1, keepdims=True)
        expected = np.nanmean(np.where(asked, quality, np.nan), 1, keepdims=True)
        real, predicted = of(pool.quality - mean), of(quality - expected)
    low, high = spearman_interval(predicted, real)
    price = np.array([card.output_price or np.nan for card in pool.cards])[enough]
    priced = np.isfinite(price)
    within = [auc(quality[asked[:, m], m], pool.quality[asked[:, m], m] > 0.5) for m in np.flatnonzero(enough)]
    slope = float(np.polyfit(predicted, real, 1)[0]) if np.ptp(predicted) > 0 else float("nan")
    thinking = np.array([thinks(card) for card in pool.cards])
    lengths = real_tokens(pool, raw)
    ratio = tokens / lengths
    dollars = _dollars(pool, tokens) / _dollars(pool, lengths)
    per_llm = np.nanmedian(np.where(np.isfinite(dollars), dollars, np.nan), 0) if np.isfinite(dollars).any() else None
    names = [card.name for card, kept in zip(pool.cards, enough, strict=True) if kept]
    figure, by_figure = best_figure([models.get(name, name) for name in names], real)
    best, by_quality, random, worst = choices(router, pool, query, quality)
    return Found(
        data=pool.name,
        llms=int(enough.sum()),
        queries=len(pool.queries),
        spearman=spearman(predicted, real),
        low=low,
        high=high,
        half=half_against_half(pool.quality[:, enough]),
        truth=true_order(pool.quality[:, enough]),
        elsewhere=on_other_folds(whole.quality, np.isin(whole.ids, pool.ids), enough),
        figure=figure,
        by_figure=by_figure,
        by_price=spearman(price[priced], real[priced]),
        spread=float(predicted.std() / real.std()),
        slope=slope,
        auc=float(np.nanmean(within)) if np.isfinite(within).any() else float("nan"),
        tokens_thinking=_median(ratio[:, thinking]),
        tokens_plain=_median(ratio[:, ~thinking]),
        dollars_within_2=float(np.mean((per_llm > 0.5) & (per_llm < 2))) if per_llm is not None else float("nan"),
        **lengths_learned(router, pool, lengths),
        best=best,
        by_quality=by_quality,
        random=random,
        worst_weight=worst,
    )


def tools_of(pool: Pool) -> Ints:
    """How many tools each query of a set brings [Q]."""
    others = AGENTS_TOOLS if pool.name in AGENTS_SETS else 0
    return np.array([TOOLS.get(task, others) for task in pool.task.tolist()], dtype=np.int64)


def lengths_learned(router: CardsOnly, pool: Pool, lengths: Floats) -> dict[str, float]:
    """Of answers that nothing was learned from, after some that were not rated."""
    chosen = heard(lengths, ANSWERS)
    query, by_card = router.read(pool.queries, tools_of(pool)), router.states(pool.cards)
    evidence = np.stack(
        [
            length_evidence(router.artifact, query[of], z, lengths[of, m])
            if (of := chosen[:, m]).any()
            else np.zeros(router.manifest.dims.V, np.float32)
            for m, z in enumerate(by_card)
        ]
    )
    z = router.states(pool.cards, evidence)
    ratio = router.predict(pool.cards, query, pool.prompt_tokens, 0.0, z)["completion_tokens"] / lengths
    judged = np.where(np.isfinite(lengths) & ~chosen & chosen.any(0), ratio, np.nan)
    each = np.array([_median(column) for column in judged.T])
    each = each[np.isfinite(each)]
    return {
        "tokens_learned": _median(judged),
        "learned_within_2": float(np.mean((each > 0.5) & (each < 2))) if each.size else float("nan"),
    }


def real_tokens(pool: Pool, raw: dict[str, Any]) -> Floats:
    """Billed tokens of a reply [Q, M]; of one turn where a row tells how many turns there were."""
    tokens = pool.completion_tokens.copy()
    for q, key in enumerate(pool.ids):
        turns = raw.get(key, {}).get("turns", {})
        for m, card in enumerate(pool.cards):
            if turns.get(card.name):
                tokens[q, m] /= max(float(turns[card.name]), 1.0)
    return tokens


def _dollars(pool: Pool, tokens: Floats) -> Floats:
    price = price_matrix(pool.cards)
    return np.asarray(pool.prompt_tokens[:, None] * price[:, 0] + tokens * price[:, 1], dtype=np.float32)


def _median(values: Floats) -> float:
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if kept.size else float("nan")


def choices(router: CardsOnly, pool: Pool, query: Floats, quality: Floats) -> tuple[float, float, float, float]:
    """Quality of the best single LLM, of the choice by predicted quality and of a random one, and the least, over cost
    weights, of chosen minus random; on queries that every LLM answered, NaN where there are none.
    """
    full = np.isfinite(pool.quality).mean(0) > 0.95
    answered = np.isfinite(pool.quality[:, full])
    rows: NDArray[np.bool_] = answered.all(1) & full.any()
    if rows.sum() < 10:
        return (float("nan"),) * 4
    real = pool.quality[np.ix_(rows, full)]
    pick = lambda score: float(np.take_along_axis(real, score.argmax(1)[:, None], 1).mean())  # noqa: E731
    cards = [card for card, kept in zip(pool.cards, full, strict=True) if kept]
    random = float(real.mean())
    worst = min(
        pick(router.predict(cards, query[rows], pool.prompt_tokens[rows], weight)["mean"]) - random
        for weight in (0.0, 0.25, 0.5, 0.75)
    )
    return float(real.mean(0).max()), pick(quality[np.ix_(rows, full)]), random, worst


def order_only(router: CardsOnly, name: str, folder: Path, stand_ins: Sequence[str]) -> Found:
    """A set without texts: predictions on stand-ins against the LLMs' real means."""
    cards, real, names, models = [], [], [], []
    for row in entries_of(folder):
        score = row.get("benchmark_scores", {}).get("swe-bench", {}).get("score", row.get("mean_score"))
        if score is not None and (row.get("model") or "benchmark_scores" in row):
            cards.append(card_for(row))
            real.append(float(score) / (100.0 if score > 1 else 1.0))
            names.append(str(row["name"]))
            models.append(model_of(row))
    prompt = np.array([max(1.0, len(text) / 4) for text in stand_ins], dtype=np.float32)
    query = router.read(stand_ins, np.full(len(stand_ins), AGENTS_TOOLS))
    predicted = router.predict(cards, query, prompt, 0.0)["quality"].mean(0)
    truth = np.array(real, dtype=np.float32)
    low, high = spearman_interval(predicted, truth)
    price = np.array([card.output_price or np.nan for card in cards])
    known = np.isfinite(price)
    scores, ways = _scores(folder, names), [_way(each) for each in names]
    return Found(
        name, len(cards), 0, spearman(predicted, truth), low, high, half_against_half(scores), true_order(scores),
        float("nan"), *best_figure(models, truth), spearman(price[known], truth[known]),
        float(predicted.std() / truth.std()), float(np.polyfit(predicted, truth, 1)[0]),
        *(float("nan"),) * 6, float(truth.max()), float(truth[int(predicted.argmax())]), float(truth.mean()),
        float("nan"), like_with_like(predicted, truth, ways) if len(set(ways)) > 1 else float("nan"),
    )  # fmt: skip


def verbosity(router: CardsOnly, folder: Path, measured: bool) -> Found:
    """Reply lengths of many settings on the same prompts; without `measured`, as if no length of an LLM were known."""
    entries = [row for row in entries_of(folder) if row.get("model")]
    pool = sparse_pool(folder.name, folder.parent)
    rows = np.flatnonzero(np.isin(pool.fold, (8,)))
    cards = [card_for(row) for row in entries]
    if not measured:
        cards = [Card(**{**vars(card), "verbosity": {}}) for card in cards]
    real = np.array([row["mean_completion_tokens"] for row in entries], dtype=np.float32)
    out = router.predict(cards, router.read([pool.queries[i] for i in rows]), pool.prompt_tokens[rows], 0.0)
    tokens, quality = out["completion_tokens"].mean(0), out["quality"].mean(0)
    truth = np.array([row.get("pushback_rate") or np.nan for row in entries], dtype=np.float32)
    known = np.isfinite(truth)
    low, high = spearman_interval(quality[known], truth[known])
    thinking = np.array([thinks(card) for card in cards])
    ratio = tokens / real
    price = np.array([card.output_price or np.nan for card in cards])
    priced = np.isfinite(price)
    return Found(
        "bullshit_v2" + ("" if measured else ", lengths not known"), len(cards), len(rows),
        spearman(quality[known], truth[known]), low, high, float("nan"), float("nan"), float("nan"),
        *best_figure([str(row["model"]) for row, kept in zip(entries, known, strict=True) if kept], truth[known]),
        spearman(price[known & priced], truth[known & priced]),
        float(quality[known].std() / truth[known].std()), float(np.polyfit(quality[known], truth[known], 1)[0]),
        float("nan"), _median(ratio[thinking]), _median(ratio[~thinking]), float(np.mean((ratio > 0.5) & (ratio < 2))),
        *(float("nan"),) * 6,
    )  # fmt: skip


def today(
    artifact: Annotated[list[Path], typer.Option(help="artifact folder, may be repeated")],
    data: Annotated[Path, typer.Option(help="folder that holds the sets")],
    pools: Annotated[str, typer.Option(help="sets with texts and outcomes")] = POOLS,
    folds: Annotated[str, typer.Option(help="of sets that training uses, too, these folds alone")] = "8",
    out: Annotated[Path, typer.Option(help="JSON of all figures")] = Path("runs/today.json"),
) -> None:
    """Print what a cold start knows of today's LLMs by their cards: order, spread, lengths, dollars, choices."""
    console, made = Console(width=240), []
    try:
        for folder in artifact:
            router = CardsOnly(folder)
            taught = {source.name for source in read_manifest(folder).trained_on}
            found = [_judge_set(router, name, data, taught, folds) for name in pools.split(",") if name]
            stand_ins = [
                row
                for name in ("arena_hard_v2", "mcpmark")
                if (data / name / "llms.json").is_file()
                for row in _texts(data, name)
            ]
            found += [
                order_only(router, name, data / name, stand_ins)
                for name in STAND_INS
                if (data / name / "llms.json").is_file() and stand_ins
            ]
            if (data / "bullshit_v2" / "llms.json").is_file():
                found += [verbosity(router, data / "bullshit_v2", known) for known in (True, False)]
            made.append({"artifact": folder.name, "sets": [asdict(one) for one in found]})
            console.print(_table(folder.name, found))
    except (DataError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    write_figures(out, made)


def entries_of(folder: Path) -> list[dict[str, Any]]:
    """The LLMs of a set. Raises `OSError`."""
    entries: list[dict[str, Any]] = json.loads((folder / "llms.json").read_text(encoding="utf-8"))
    return entries


def model_of(entry: Mapping[str, Any]) -> str:
    """Of an LLM of a set, which may be one of several settings of its model."""
    return str(entry.get("model") or entry["name"])


def write_figures(out: Path, made: Sequence[Mapping[str, Any]]) -> None:
    """As JSON, for whoever compares them. Raises `OSError`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def _judge_set(router: CardsOnly, name: str, data: Path, taught: set[str], folds: str) -> Found:
    whole = sparse_pool(name, data)
    kept = whole.rows([int(fold) for fold in folds.split(",")])
    pool = whole.select_queries(kept) if name in taught else whole
    models = {str(row["name"]): model_of(row) for row in entries_of(data / name)}
    raw = {}
    if name == "mcpmark":
        with gzip.open(data / name / "queries.jsonl.gz", "rt", encoding="utf-8") as lines:
            raw = {row["id"]: row for row in map(json.loads, lines)}
    return judge(router, pool, raw, whole, models)


def _way(run: str) -> str:
    """How many turns an LLM had, as `swebench_pro` names its runs: a limit (`paper`) or 250."""
    return "paper" if run.endswith("-paper") else "all"


def _scores(folder: Path, names: Sequence[str]) -> Floats:
    """[Q, M] of a set without texts."""
    rows = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += [row["scores"] for row in map(json.loads, lines) if row["task"] in JUDGED]
    score = lambda row, name: float(np.mean(row[name])) if name in row else float("nan")  # noqa: E731
    return np.array([[score(row, name) for name in names] for row in rows if row], dtype=np.float32)


def _texts(data: Path, name: str) -> list[str]:
    pool = sparse_pool(name, data)
    wanted = np.array([task not in ("creative_writing",) for task in pool.task])
    return [pool.queries[i] for i in np.flatnonzero(wanted)[:150]]


def _table(title: str, found: Sequence[Found]) -> Table:
    table = Table(title=f"Today's LLMs by card alone: {title}")
    heads = ("set", "LLMs", "rho over LLMs", "half against half", "true order", "elsewhere", "best figure", "by price",
             "spread", "slope", "AUC", "tokens, thinking / plain", "dollars within 2 x", "tokens learned",
             "best / by quality / random", "worst weight")  # fmt: skip
    for head in heads:
        table.add_column(head)
    for one in found:
        table.add_row(
            one.data,
            str(one.llms),
            f"{one.spearman:.2f} [{one.low:.2f}, {one.high:.2f}]"
            + (f" ({one.like_with_like:.2f} like with like)" if np.isfinite(one.like_with_like) else ""),
            f"{one.half:.2f}",
            f"{one.truth:.2f}",
            f"{one.elsewhere:.2f}",
            f"{one.by_figure:.2f} {one.figure}",
            f"{one.by_price:.2f}",
            f"{one.spread:.2f}",
            f"{one.slope:.2f}",
            f"{one.auc:.2f}",
            f"{one.tokens_thinking:.2f} / {one.tokens_plain:.2f}",
            f"{one.dollars_within_2:.2f}",
            f"{one.tokens_learned:.2f} / {one.learned_within_2:.2f}",
            f"{one.best:.3f} / {one.by_quality:.3f} / {one.random:.3f}",
            f"{one.worst_weight:+.3f}",
        )
    judged = [one.spearman for one in found if "not known" not in one.data]
    table.caption = f"mean rho {np.nanmean(judged):.2f}, least {np.nanmin([one.spearman for one in found]):.2f}"
    return table
