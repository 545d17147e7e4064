"""`python -m router_model collect`: asks, scores, keeps to a budget, goes on where it was cut off."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from router_model.collect.ask import Asker, AskError, FatalAskError, GatewayAsker, judged
from router_model.collect.journal import Journal, Outcome
from router_model.collect.layout import write_pool
from router_model.collect.questions import METRICS, Question, QuestionError, read_questions
from router_model.collect.sandbox import isolated
from router_model.collect.score import SCORERS

OUT_OF_BUDGET = 4


@dataclass(frozen=True)
class Plan:
    """What is to be asked of whom, and for how much."""

    questions: Sequence[Question]
    llms: Sequence[str]
    judge: str | None = None
    budget_usd: float | None = None
    """Of all that the journal ever paid; asking stops when this and what is on its way could come to more."""
    at_once: int = 8
    keep_replies: bool = False


@dataclass(frozen=True)
class Result:
    """How far it got."""

    asked: int
    failed: int
    spent_usd: float
    out_of_budget: bool


async def gather(
    plan: Plan, asker: Asker, journal: Journal, progress: Callable[[Outcome, float], None] | None = None
) -> Result:
    """Asks what the journal lacks. Raises `FatalAskError` when nothing can be asked at all."""
    asking = _Asking(plan, asker, journal, progress)
    by_id = {question.id: question for question in plan.questions}
    pairs = iter([(by_id[q], llm) for q, llm in journal.missing(list(by_id), list(plan.llms))])
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.at_once):
                group.create_task(asking.work(pairs))
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    return Result(asking.asked, asking.failed, journal.spent, asking.stopped)


class _Asking:
    def __init__(
        self, plan: Plan, asker: Asker, journal: Journal, progress: Callable[[Outcome, float], None] | None
    ) -> None:
        self.plan, self.asker, self.journal, self.progress = plan, asker, journal, progress
        self.asked = self.failed = 0
        self.stopped = False
        self.on_its_way = 0.0
        self.dearest: dict[str, float] = defaultdict(float)
        for outcome in journal.outcomes.values():
            self._learn_price(outcome)

    async def work(self, pairs: Iterator[tuple[Question, str]]) -> None:
        for question, llm in pairs:
            # What an answer may cost is not known before the first: until then one at a time would be slow, and the
            # dearest so far of any LLM is a fair guess.
            reserve = self.dearest[llm] or max(self.dearest.values(), default=0.0)
            budget = self.plan.budget_usd
            if budget is not None and self.journal.spent + self.on_its_way + reserve >= budget:
                self.stopped = True
                return
            self.on_its_way += reserve
            try:
                outcome = await self._outcome(question, llm)
            finally:
                self.on_its_way -= reserve
            self.journal.add(outcome)
            self._learn_price(outcome)
            self.asked += 1
            self.failed += outcome.score is None
            if self.progress is not None:
                self.progress(outcome, self.journal.spent)

    def _learn_price(self, outcome: Outcome) -> None:
        self.dearest[outcome.llm] = max(self.dearest[outcome.llm], outcome.cost_usd)

    async def _outcome(self, question: Question, llm: str) -> Outcome:
        paid = 0.0
        try:
            answer = await self.asker.ask(llm, question.prompt)
            paid = self._paid(answer.cost_usd)
            if question.metric == "judge":
                if self.plan.judge is None:
                    raise FatalAskError(f"{question.id} has to be judged: name an LLM with --judge")
                score, verdict = await judged(self.asker, self.plan.judge, question.query, question.truth, answer.text)
                paid += self._paid(verdict.cost_usd)
            else:
                score = await asyncio.to_thread(SCORERS[question.metric], answer.text, question)
        except AskError as error:
            return Outcome(question.id, llm, None, cost_usd=paid, error=str(error))
        return Outcome(
            question.id,
            llm,
            score,
            answer.prompt_tokens,
            answer.completion_tokens,
            len(answer.text),
            paid,
            reply=answer.text if self.plan.keep_replies else None,
        )

    def _paid(self, cost_usd: float | None) -> float:
        if cost_usd is None and self.plan.budget_usd is not None:
            raise FatalAskError("an answer came without x-router-cost-usd, so no budget can be kept to")
        return cost_usd or 0.0


async def _collect(plan: Plan, url: str, key: str, out: Path, max_tokens: int | None, console: Console) -> Result:
    asker = GatewayAsker(url, key, max_tokens)
    journal = Journal(out / "journal.jsonl")
    try:
        models = await asker.models()
        unknown = sorted({*plan.llms, *([plan.judge] if plan.judge else [])} - {str(m["id"]) for m in models})
        if unknown:
            raise FatalAskError(f"the gateway has no {', '.join(unknown)}; it has {', '.join(m['id'] for m in models)}")
        total = len(plan.questions) * len(plan.llms)
        missing = sum(1 for _ in journal.missing([q.id for q in plan.questions], list(plan.llms)))
        columns = (
            TextColumn("asking"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("${task.fields[spent]:.4f}, {task.fields[failed]} failed"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("asking", total=total, completed=total - missing, spent=journal.spent, failed=0)
            failed = 0

            def progress(outcome: Outcome, spent: float) -> None:
                nonlocal failed
                failed += outcome.score is None
                bar.update(task, advance=int(outcome.score is not None), spent=spent, failed=failed)

            try:
                return await gather(plan, asker, journal, progress)
            finally:
                write_pool(out, plan.questions, plan.llms, journal.outcomes, models)
    finally:
        journal.close()
        await asker.close()


def command(
    queries: Annotated[Path, typer.Option(help="questions: .jsonl or .jsonl.gz")],
    models: Annotated[str, typer.Option(help="candidates of the gateway, comma-separated")],
    key: Annotated[str, typer.Option(envvar="PERSONA_ROUTER_KEY", help="a tenant key")],
    out: Annotated[Path, typer.Option(help="folder for queries.jsonl.gz, llms.json and the journal")] = Path(
        "collected"
    ),
    url: Annotated[str, typer.Option(help="the gateway")] = "http://127.0.0.1:8787/v1",
    judge: Annotated[
        str | None, typer.Option(help="candidate that scores questions without a checkable answer")
    ] = None,
    metric: Annotated[str | None, typer.Option(help=f"for lines that name none: {', '.join(METRICS)}")] = None,
    budget_usd: Annotated[float | None, typer.Option(help="stop at this spend, what was spent before included")] = None,
    at_once: Annotated[int, typer.Option(help="requests in flight", min=1, max=256)] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="longest answer")] = None,
    keep_replies: Annotated[bool, typer.Option(help="keep the answers' text in the journal")] = False,
) -> None:
    """Ask every candidate every question through the gateway, and score the answers (exit code 4: budget used up)."""
    console = Console(stderr=True)
    if metric is not None and metric not in METRICS:
        console.print(f"No such metric: {metric}. There are: {', '.join(METRICS)}.")
        raise typer.Exit(2)
    try:
        questions = read_questions(queries, metric)
        if any(question.metric == "judge" for question in questions) and judge is None:
            raise QuestionError("some questions have no checkable answer: name an LLM that judges them with --judge")
        if any(question.metric == "code" for question in questions) and not isolated():
            console.print("Code runs with limits, but with a network: this system lets nobody make network namespaces.")
        llms = list(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
        plan = Plan(questions, llms, judge, budget_usd, at_once, keep_replies)
        result = asyncio.run(_collect(plan, url, key, out, max_tokens, console))
    except (QuestionError, FatalAskError) as error:
        console.print(str(error), highlight=False, markup=False)
        raise typer.Exit(1) from error
    summary = f"{result.asked:,} answers, {result.failed:,} failed, ${result.spent_usd:.4f} spent in all. {out}"
    console.print(summary, highlight=False)
    if result.out_of_budget:
        console.print("Stopped at the budget; run again with a larger one to go on.")
        raise typer.Exit(OUT_OF_BUDGET)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
