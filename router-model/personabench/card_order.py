"""`python -m personabench order`: how cards alone order today's LLMs, set by set, as a reader would first compute it.

`today` judges what training never saw, and compares LLMs on the questions that both were asked. Here each set counts
whole (but for what `--folds` leaves out) and a mean is a mean, so that figures can be held against others' of the
same sets. Beside it stands the order by a table of abilities that never saw a figure of the judged benchmark's kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from personabench.ceilings import auc, spearman, told_figures, told_others, told_questions, true_order
from personabench.today import (
    AGENTS_TOOLS,
    CardsOnly,
    entries_of,
    model_of,
    spearman_interval,
    tools_of,
    write_figures,
)
from router_model.abilities.command import dates_before, fit, read_settings, table_of
from router_model.abilities.figures import FITTED, SHIPPED, read_figures
from router_model.data.cards import ABILITIES_FILE, Abilities, Card, able, by_plain_name, card_for
from router_model.data.pools import DataError, Pool, read_rows, sparse_pool

Floats = NDArray[np.float32]

LONG = 200.0  # tokens that the replies to a task have in the median, where it counts as one of long replies
# Where figures of the judged benchmark, or of another with its tasks or voters, are public: patterns of their names.
OF_ITS_KIND = {
    "mcpmark": "^mcpmark",
    "mmlu_pro": "^mmlu",
    "can_ai_code": "^humaneval",
    "arena_hard_v2": "^arena",
    "openhands_index": "^openhands|swe_bench",
    "swebench_pro": "swe_bench",
}
EFFORT = re.compile(r"-(?:minimal|low|medium|high|xhigh)$")
EFFORTS = ("", "-minimal", "-low", "-medium", "-high", "-xhigh")


@dataclass(frozen=True)
class Order:
    """One row; NaN where a set can't tell. `quality`, `real`: means over all questions and LLMs."""

    data: str
    llms: int
    queries: int
    spearman: float
    low: float
    high: float
    texts_alone: float
    """Of predictions to which nobody told that there are tools."""
    without_its_kind: float
    """By abilities fitted without figures of the judged benchmark's kind."""
    truth: float
    """What the true means would reach on so many questions."""
    others_told: float
    """What the cards' figures would tell to who knows the means of all other LLMs: see `told_others`."""
    figures_told: float
    """So with all public figures that may be passed on: see `told_figures`."""
    kendall: float
    by_price: float
    pairs: float
    """Share of pairs of LLMs, question by question, of which the better one is predicted to be better."""
    auc: float
    questions_told: float
    """AUC that a text tells to who knows the outcomes of all other questions: see `told_questions`."""
    quality: float
    real: float
    spread: float
    slope: float
    best: float
    chosen: float
    random: float


class Tables:
    """Tables of abilities, fitted anew without some figures."""

    def __init__(self, data: Path) -> None:
        """`data`: folder with `abilities.json` and `bullshit_v2`. Raises `OSError`, `ValueError`."""
        self.models, self.figures = read_figures(data / "abilities.json")
        self.settings = read_settings(data / "bullshit_v2" / "llms.json")
        self.dates = dates_before(ABILITIES_FILE)
        self.made: dict[str, Abilities] = {}

    def without(self, pattern: str) -> Abilities:
        """As `python -m router_model abilities` fits them, but for figures with such names."""
        if pattern not in self.made:
            left = [f for f in self.figures if not re.search(pattern, f.field)]
            used = [f for f in left if f.repository in SHIPPED or f.repository in FITTED]
            fitted, _ = fit(self.models, used, self.settings, self.dates)
            table = table_of(self.models, left, fitted, self.settings, self.dates)
            self.made[pattern] = by_plain_name(table["models"])
        return self.made[pattern]


def judged(
    name: str, router: CardsOnly, pool: Pool, models: Mapping[str, str], tables: Tables, kind: str | None
) -> Order:
    """A set with texts and outcomes."""
    asked = np.isfinite(pool.quality)
    tools = tools_of(pool)
    query = router.read(pool.queries, tools)
    out = router.predict(pool.cards, query, pool.prompt_tokens, 0.0)["quality"]
    plain = out
    if tools.any():
        plain = router.predict(pool.cards, router.read(pool.queries), pool.prompt_tokens, 0.0)["quality"]
    cards = _without(pool.cards, models, tables, kind)
    blind = router.predict(cards, query, pool.prompt_tokens, 0.0)["quality"] if kind else out
    mean = lambda x: np.nanmean(np.where(asked, x, np.nan), 0).astype(np.float32)  # noqa: E731
    within = [auc(out[asked[:, m], m], pool.quality[asked[:, m], m] > 0.5) for m in range(asked.shape[1])]
    complete = asked.all(1)
    kept = pool.quality[complete]
    chosen = float(np.take_along_axis(kept, out[complete].argmax(1)[:, None], 1).mean()) if len(kept) >= 6 else np.nan
    return _row(
        name, router, pool.cards, [models.get(card.name, card.name) for card in pool.cards],
        mean(pool.quality), mean(out), mean(plain), mean(blind),
        queries=len(pool.queries), truth=true_order(pool.quality), pairs=_pairs(out, pool.quality),
        auc=float(np.nanmean(within)) if np.isfinite(within).any() else float("nan"),
        questions_told=told_questions(query, pool.quality),
        best=float(kept.mean(0).max()) if len(kept) >= 6 else float("nan"), chosen=chosen,
        random=float(kept.mean()) if len(kept) >= 6 else float("nan"),
    )  # fmt: skip


def of_means(
    name: str,
    router: CardsOnly,
    rows: Sequence[Mapping[str, Any]],
    real: Sequence[float],
    asked: tuple[Sequence[str], int],
    tables: Tables,
    kind: str | None,
) -> Order:
    """A set of which the LLMs' means alone are known. `asked`: texts, and how many tools each brings."""
    texts, tools = asked
    cards = [card_for(row) for row in rows]
    truth = np.array(real, dtype=np.float32)
    prompt = np.array([max(1.0, len(text) / 4) for text in texts], dtype=np.float32)

    def predicted(of: Sequence[Card], many: int) -> Floats:
        query = router.read(texts, np.full(len(texts), many))
        means: Floats = router.predict(of, query, prompt, 0.0)["quality"].mean(0)
        return means

    out = predicted(cards, tools)
    models = {str(row["name"]): model_of(row) for row in rows}
    blind = predicted(_without(cards, models, tables, kind, rows), tools) if kind else out
    chosen = int(out.argmax())
    return _row(
        name, router, cards, [model_of(row) for row in rows], truth, out, predicted(cards, 0) if tools else out, blind,
        queries=len(texts), truth=float("nan"),
        pairs=float("nan"), auc=float("nan"), questions_told=float("nan"),
        best=float(truth.max()), chosen=float(truth[chosen]),
        random=float(truth.mean()),
    )  # fmt: skip


def _row(
    name: str,
    router: CardsOnly,
    cards: Sequence[Card],
    models: Sequence[str],
    real: Floats,
    out: Floats,
    plain: Floats,
    blind: Floats,
    **rest: float,
) -> Order:
    low, high = spearman_interval(out, real)
    price = np.array([card.output_price or np.nan for card in cards], dtype=np.float32)
    known = np.isfinite(price)
    return Order(
        data=name,
        llms=len(real),
        queries=int(rest.pop("queries")),
        spearman=spearman(out, real),
        low=low,
        high=high,
        texts_alone=spearman(plain, real),
        without_its_kind=spearman(blind, real),
        others_told=told_others(router.figures(cards), real),
        figures_told=told_figures(router.figures(cards), models, real),
        kendall=float(kendalltau(out, real).statistic),
        by_price=spearman(price[known], real[known]),
        quality=float(out.mean()),
        real=float(real.mean()),
        spread=float(out.std() / real.std()),
        slope=float(np.polyfit(out, real, 1)[0]) if np.ptp(out) > 0 else float("nan"),
        **rest,
    )


def _without(
    cards: Sequence[Card],
    models: Mapping[str, str],
    tables: Tables,
    kind: str | None,
    rows: Sequence[Mapping[str, Any]] | None = None,
) -> list[Card]:
    """The same cards by a table that never saw figures of a kind; `rows` where names stand for several arms."""
    if kind is None:
        return list(cards)
    table = tables.without(kind)
    of = [model_of(row) for row in rows] if rows else [models.get(c.name, c.name) for c in cards]
    return [able(card, model, table) for card, model in zip(cards, of, strict=True)]


def _pairs(predicted: Floats, real: Floats) -> float:
    right = pairs = 0
    for p, r in zip(predicted, real, strict=True):
        at = np.flatnonzero(np.isfinite(r))
        more = r[at][:, None] > r[at][None]
        right += int((more & (p[at][:, None] > p[at][None])).sum())
        pairs += int(more.sum())
    return right / pairs if pairs else float("nan")


def one_effort_each(names: Sequence[str]) -> list[int]:
    """Of settings that differ in their effort alone, those with the highest."""
    best: dict[str, int] = {}
    rank = lambda name: EFFORTS.index(found[0]) if (found := EFFORT.search(name)) else 0  # noqa: E731
    for i, name in enumerate(names):
        key = EFFORT.sub("", name)
        if key not in best or rank(name) > rank(names[best[key]]):
            best[key] = i
    return sorted(best.values())


def long_replies(pool: Pool) -> NDArray[np.int64]:
    """Questions of tasks whose replies are long."""
    long = {task for task in set(pool.task.tolist()) if np.nanmedian(pool.completion_tokens[pool.task == task]) > LONG}
    return np.flatnonzero([task in long for task in pool.task.tolist()])


def rows_of(router: CardsOnly, data: Path, folds: Sequence[int]) -> list[Order]:
    """Every row for which the data is there."""
    tables, made = Tables(data), []

    def pool_of(name: str) -> tuple[Pool, dict[str, str]]:
        whole = sparse_pool(name, data)
        models = {str(row["name"]): model_of(row) for row in entries_of(data / name)}
        return (whole.select_queries(whole.rows(folds)) if folds else whole), models

    def add(name: str, label: str, choose: Any = None) -> None:
        if not (data / name / "llms.json").is_file():
            return
        pool, models = pool_of(name)
        pool = choose(pool) if choose else pool
        heard = np.flatnonzero(np.isfinite(pool.quality).any(0))
        made.append(judged(label, router, pool.select_llms(heard), models, tables, OF_ITS_KIND.get(name)))

    add("mcpmark", "mcpmark")
    add("mcpmark", "mcpmark, one effort each", lambda p: p.select_llms(one_effort_each(p.names)))
    add("zoonk", "zoonk, long replies", lambda p: p.select_queries(long_replies(p)))
    add("zoonk", "zoonk, long replies, LLMs of ten or more", _often)
    add("mmlu_pro", "mmlu_pro")
    add("bfcl", "bfcl")
    add("can_ai_code", "can_ai_code, senior", lambda p: p.select_queries(np.flatnonzero(p.task == "code_senior")))
    made.extend(_without_texts(router, data, tables))
    return made


def _often(pool: Pool) -> Pool:
    long = pool.select_queries(long_replies(pool))
    return long.select_llms(np.flatnonzero(np.isfinite(long.quality).sum(0) >= 10))


def _without_texts(router: CardsOnly, data: Path, tables: Tables) -> list[Order]:
    made: list[Order] = []
    texts = sparse_pool("arena_hard_v2", data)
    hard = [q for q, task in zip(texts.queries, texts.task.tolist(), strict=True) if task == "hard_prompt"]
    creative = [q for q, task in zip(texts.queries, texts.task.tolist(), strict=True) if task == "creative_writing"]
    coding = _coding(data)
    for field, prompts, label in (("win_hard", hard, "hard"), ("win_creative", creative, "creative")):
        rows = [row for row in entries_of(data / "arena_hard_v2") if row.get(field) is not None]
        if rows:
            real = [float(row[field]) for row in rows]
            kind = OF_ITS_KIND["arena_hard_v2"]
            made.append(of_means(f"arena_hard_v2, {label}", router, rows, real, (prompts, 0), tables, kind))
    if (data / "openhands_index" / "llms.json").is_file():
        for label, parts in (("SWE and SWT", ("swe-bench", "swt-bench")), ("GAIA", ("gaia",))):
            rows = [
                row for row in entries_of(data / "openhands_index") if all(p in row["benchmark_scores"] for p in parts)
            ]
            real = [float(np.mean([row["benchmark_scores"][p]["score"] for p in parts])) / 100 for row in rows]
            kind = OF_ITS_KIND["openhands_index"]
            made.append(of_means(f"openhands_index, {label}", router, rows, real, (coding, AGENTS_TOOLS), tables, kind))
    if (data / "swebench_pro" / "llms.json").is_file():
        rows = entries_of(data / "swebench_pro")
        real = [float(row["mean_score"]) for row in rows]
        kind = OF_ITS_KIND["swebench_pro"]
        made.append(of_means("swebench_pro", router, rows, real, (coding, AGENTS_TOOLS), tables, kind))
    rows = [
        row for row in entries_of(data / "bullshit_v2") if row.get("model") and row.get("pushback_rate") is not None
    ]
    real = [float(row["pushback_rate"]) for row in rows]
    asked = (sparse_pool("bullshit_v2", data).queries, 0)
    made.append(of_means("bullshit_v2, pushback", router, rows, real, asked, tables, None))
    return made


def _coding(data: Path) -> list[str]:
    """Real coding prompts, which stand in for tasks whose texts are not there."""
    pool = sparse_pool("arena_hard_v2", data)
    kinds = {
        str(row.get("id")): row.get("subtask")
        for path in sorted((data / "arena_hard_v2").glob("*.jsonl.gz"))
        for row in read_rows(path)
    }
    return [query for key, query in zip(pool.ids, pool.queries, strict=True) if kinds.get(key) == "coding"]


def order(
    artifact: Annotated[list[Path], typer.Option(help="artifact folder, may be repeated")],
    data: Annotated[Path, typer.Option(help="folder that holds the sets and abilities.json")],
    folds: Annotated[str, typer.Option(help="of sets with outcomes, these folds alone; all by default")] = "",
    out: Annotated[Path, typer.Option(help="JSON of all figures")] = Path("runs/order.json"),
) -> None:
    """Print how cards alone order today's LLMs, each set whole, as others who judge these sets would."""
    console, made = Console(width=240), []
    try:
        for folder in artifact:
            found = rows_of(CardsOnly(folder), data, [int(fold) for fold in folds.split(",") if fold])
            made.append({"artifact": folder.name, "folds": folds, "sets": [asdict(one) for one in found]})
            console.print(_table(folder.name, found))
    except (DataError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    write_figures(out, made)


def _table(title: str, found: Sequence[Order]) -> Table:
    table = Table(title=f"Order of LLMs by card alone, sets whole: {title}")
    for head in ("set", "LLMs", "questions", "rho", "texts alone", "without its kind", "true order", "others told",
                 "figures told", "tau", "by price", "pairs", "AUC", "questions told", "mean predicted / real",
                 "spread", "slope", "best / by quality / random"):  # fmt: skip
        table.add_column(head)
    for one in found:
        table.add_row(
            one.data,
            str(one.llms),
            str(one.queries),
            f"{one.spearman:.2f} [{one.low:.2f}, {one.high:.2f}]",
            *(f"{x:.2f}" for x in (one.texts_alone, one.without_its_kind, one.truth)),
            *(f"{x:.2f}" for x in (one.others_told, one.figures_told, one.kendall)),
            *(f"{x:.2f}" for x in (one.by_price, one.pairs, one.auc, one.questions_told)),
            f"{one.quality:.2f} / {one.real:.2f}",
            f"{one.spread:.2f}",
            f"{one.slope:.2f}",
            f"{one.best:.3f} / {one.chosen:.3f} / {one.random:.3f}",
        )
    mean = lambda name: float(np.nanmean([getattr(one, name) for one in found]))  # noqa: E731
    best = float(np.mean([np.nanmax([one.spearman, one.others_told, one.figures_told]) for one in found]))
    table.caption = (
        f"mean rho {mean('spearman'):.2f}, texts alone {mean('texts_alone'):.2f}, without its kind "
        f"{mean('without_its_kind'):.2f}, others told {mean('others_told'):.2f}, figures told "
        f"{mean('figures_told'):.2f}, the best of cards and both {best:.2f}; least "
        f"{min(one.spearman for one in found):.2f}; mean AUC {mean('auc'):.3f}, questions told "
        f"{mean('questions_told'):.3f}"
    )
    return table
