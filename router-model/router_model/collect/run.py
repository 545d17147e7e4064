"""`python -m router_model collect`: asks, scores, keeps to a budget, goes on where it was cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from router_model.collect.budget import Budget, Result, ask_all, bar, conclude
from router_model.collect.client import ChatClient, ClientError, FatalClientError, GatewayClient, judged
from router_model.collect.journal import Journal, Outcome
from router_model.collect.layout import write_pool
from router_model.collect.questions import METRICS, Question, QuestionError, read_questions
from router_model.collect.sandbox import isolated
from router_model.collect.score import SCORERS

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Plan:
    """Questions, LLMs and budget of a run."""

    questions: Sequence[Question]
    llms: Sequence[str]
    judge: str | None = None
    budget: Budget = field(default_factory=Budget)
    keep_replies: bool = False


async def gather(
    plan: Plan, client: ChatClient, journal: Journal[Outcome], progress: Callable[[Outcome, float], None] | None = None
) -> Result:
    """Asks what the journal lacks. Raises `FatalClientError` when nothing can be asked at all."""
    questions = {question.id: question for question in plan.questions}

    async def ask(question: str, llm: str) -> Outcome:
        return await _outcome(plan, client, questions[question], llm)

    missing = journal.missing(list(questions), plan.llms)
    return await ask_all(missing, ask, journal, plan.budget, progress)


async def _outcome(plan: Plan, client: ChatClient, question: Question, llm: str) -> Outcome:
    paid = 0.0
    try:
        answer = await client.ask(llm, question.prompt)
        paid = plan.budget.paid(answer)
        if question.metric == "judge":
            if plan.judge is None:
                raise FatalClientError(f"{question.id} has to be judged: name an LLM with --judge")
            score, verdict = await judged(client, plan.judge, question.query, question.truth, answer.text)
            paid += plan.budget.paid(verdict)
        else:
            score = await asyncio.to_thread(SCORERS[question.metric], answer.text, question)
    except ClientError as error:
        return Outcome(question.id, llm, None, cost_usd=paid, error=str(error))
    return Outcome(
        question.id,
        llm,
        score,
        answer.prompt_tokens,
        answer.completion_tokens,
        len(answer.text),
        paid,
        reply=answer.text if plan.keep_replies else None,
    )


async def _collect(plan: Plan, url: str, key: str, out: Path, max_tokens: int | None, console: Console) -> Result:
    client = GatewayClient(url, key, max_tokens)
    journal = Journal(out / JOURNAL, Outcome)
    try:
        models = await client.models()
        unknown = sorted({*plan.llms, *([plan.judge] if plan.judge else [])} - {str(m["id"]) for m in models})
        if unknown:
            raise FatalClientError(
                f"the gateway has no {', '.join(unknown)}; it has {', '.join(m['id'] for m in models)}"
            )
        total = len(plan.questions) * len(plan.llms)
        missing = sum(1 for _ in journal.missing([q.id for q in plan.questions], plan.llms))
        with bar(console, journal, total, missing) as progress:
            try:
                return await gather(plan, client, journal, progress)
            finally:
                write_pool(out, plan.questions, plan.llms, journal.rows, models)
    finally:
        journal.close()
        await client.close()


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
            console.print("Code runs with limits, but with a network: this system allows no network namespaces.")
        llms = list(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
        plan = Plan(questions, llms, judge, Budget(budget_usd, at_once), keep_replies)
        result = asyncio.run(_collect(plan, url, key, out, max_tokens, console))
    except (QuestionError, FatalClientError) as error:
        console.print(str(error), highlight=False, markup=False)
        raise typer.Exit(1) from error
    conclude(console, result, "answers", out)
