"""`python -m router_model judge-personas`: an LLM, playing persons, says whose gathered answer they prefer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from router_model.collect.budget import Budget, Result, ask_all, bar, conclude
from router_model.collect.client import ChatClient, ClientError, FatalClientError, GatewayClient
from router_model.collect.journal import Journal, Outcome, read_rows
from router_model.collect.made_log import MadeLog
from router_model.collect.run import JOURNAL
from router_model.collect.strategies import (
    Answer,
    JudgePersona,
    PersonaPopulation,
    judge_personas,
    judge_prompt,
    preferred,
    read_personas,
    shown_order,
)
from router_model.collect.users import LOG, Collected, ForArtifact, Requests, Tenant, embedder_of, pool_of, write_users
from router_model.data.pools import DataError, Pool
from router_model.places import NoArtifactError

VERDICTS = "verdicts.jsonl"
TENANT = "personas"


@dataclass(frozen=True)
class Verdict:
    """The LLM whose answer to a question a persona prefers; none if the judge named none."""

    question: str
    persona: str
    among: list[str]
    """LLMs whose answers were shown."""
    preferred: str | None
    cost_usd: float = 0.0
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Question and persona."""
        return self.question, self.persona

    @property
    def done(self) -> bool:
        """Whether there is a preference."""
        return self.preferred is not None


@dataclass(frozen=True)
class Plan:
    """The judge, the questions and the personas that it plays."""

    pool: Pool
    answers: Mapping[str, Sequence[Answer]]
    """By id of the question, in the order of the pool's LLMs."""
    personas: Sequence[JudgePersona]
    judge: str
    budget: Budget
    seed: int = 0


def replies_of(collected: Path, pool: Pool, max_chars: int) -> dict[str, list[Answer]]:
    """The answers' texts of `collect --keep-replies`, cut to a length. Raises `DataError` where there are none."""
    path = collected / JOURNAL
    if not path.is_file():
        raise DataError(f"{path}: no such file; gather answers with collect --keep-replies")
    rows, _ = read_rows(path, Outcome)
    found = {outcome.key: outcome for outcome in rows}
    answers = {}
    for question in pool.ids:
        row = [found.get((question, llm)) for llm in pool.names]
        kept = [o for o in row if o is not None and o.reply is not None]
        if len(kept) == len(row):
            answers[question] = [Answer(o.llm, (o.reply or "")[:max_chars], o.cost_usd) for o in kept]
    if not answers:
        raise DataError(f"{path}: holds no answers' texts; gather them with collect --keep-replies")
    return answers


async def judge_all(plan: Plan, client: ChatClient, journal: Journal[Verdict], console: Console) -> Result:
    """Asks what the journal lacks. Raises `FatalClientError` when nothing can be asked at all."""
    personas = {persona.name: persona for persona in plan.personas}
    queries = dict(zip(plan.pool.ids, plan.pool.queries, strict=True))

    async def ask(question: str, name: str) -> Verdict:
        answers = plan.answers[question]
        order = shown_order(personas[name], queries[question], len(answers), plan.seed)
        among = [answer.llm for answer in answers]
        paid = 0.0
        try:
            prompt = judge_prompt(personas[name], queries[question], [answers[i] for i in order])
            reply = await client.ask(plan.judge, prompt)
            paid = plan.budget.paid(reply)
            choice = preferred(reply.text, len(answers))
            if choice is None:
                raise ClientError(f"the judge named no answer: {reply.text[:80]!r}")
        except ClientError as error:
            return Verdict(question, name, among, None, paid, str(error))
        return Verdict(question, name, among, among[order[choice]], paid)

    missing = list(journal.missing(list(plan.answers), list(personas)))
    with bar(console, journal, len(plan.answers) * len(personas), len(missing)) as progress:
        return await ask_all(missing, ask, journal, plan.budget, progress)


def favourites(plan: Plan, journal: Journal[Verdict]) -> np.ndarray:
    """[P, Q] for `PersonaPopulation`."""
    made = np.full((len(plan.personas), len(plan.pool.ids)), -1)
    for p, persona in enumerate(plan.personas):
        for q, question in enumerate(plan.pool.ids):
            verdict = journal.rows.get((question, persona.name))
            if verdict is not None and verdict.preferred is not None:
                made[p, q] = plan.pool.names.index(verdict.preferred)
    return made


def command(
    collected: Collected,
    judge: Annotated[str, typer.Option(help="the LLM that plays the personas")],
    key: Annotated[str, typer.Option(envvar="PERSONA_ROUTER_KEY", help="a tenant key, or that of another endpoint")],
    out: Annotated[Path, typer.Option(help=f"folder for {VERDICTS}, {LOG} and users.json")] = Path("personas"),
    url: Annotated[str, typer.Option(help="the gateway, or another endpoint")] = "http://127.0.0.1:8787/v1",
    price: Annotated[
        str | None,
        typer.Option(
            help="of the judge: dollars per million tokens, in and out, as 0.15,0.6; for others than the gateway"
        ),
    ] = None,
    budget_usd: Annotated[float | None, typer.Option(help="stop at this spend, what was spent before included")] = None,
    at_once: Annotated[int, typer.Option(help="requests in flight", min=1, max=256)] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="longest reply; a judge that reasons needs many")] = None,
    max_chars: Annotated[int, typer.Option(min=1, help="of each answer, what the judge sees")] = 4000,
    personas: Annotated[Path | None, typer.Option(help="other personas: JSON, a list of name and description")] = None,
    users: Annotated[int, typer.Option(min=1, help="of the log: each is one of the personas")] = 180,
    requests: Requests = 50,
    tenant: Tenant = TENANT,
    artifact: ForArtifact = "current",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Let an LLM, as each persona, say which answer it prefers; make a log for `retrain` (exit code 4: budget)."""
    console = Console(stderr=True)
    try:
        pool, embedder = pool_of(collected), embedder_of(artifact)
        played = read_personas(personas) if personas else judge_personas()
        plan = Plan(pool, replies_of(collected, pool, max_chars), played, judge, Budget(budget_usd, at_once), seed)
        client = GatewayClient(url, key, max_tokens, _prices(price))
        shown = {question: [answer.llm for answer in answers] for question, answers in plan.answers.items()}
        # What was said of other answers than those that there are now says nothing.
        journal = Journal(out / VERDICTS, Verdict, lambda verdict: verdict.among == shown.get(verdict.question))
        try:
            result = asyncio.run(_judge(plan, client, journal, console))
        finally:
            journal.close()
        favourite = favourites(plan, journal)
        people = PersonaPopulation.of(favourite, users, seed)
        if (favourite >= 0).any():
            log = MadeLog(pool, embedder, people, tenant, requests, kind="preference", judged=0, seed=seed)
            rows = write_users(out, log, [{"persona": played[user % len(played)].name} for user in range(users)])
            console.print(_table(plan, favourite))
            console.print(f"{users:,} users, {rows:,} rows: {out / LOG}", highlight=False)
    except (DataError, FatalClientError, NoArtifactError, OSError, ValueError) as error:
        console.print(str(error), highlight=False, markup=False)
        raise typer.Exit(1) from error
    conclude(console, result, "verdicts", out)


async def _judge(plan: Plan, client: GatewayClient, journal: Journal[Verdict], console: Console) -> Result:
    try:
        return await judge_all(plan, client, journal, console)
    finally:
        await client.close()


def _prices(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        into, out = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--price {text}: two numbers, dollars per million tokens in and out, as 0.15,0.6") from None
    return into, out


def _table(plan: Plan, favourite: np.ndarray) -> Table:
    """Whom each persona prefers how often."""
    made = Table("persona", "verdicts", "prefers")
    for persona, row in zip(plan.personas, favourite, strict=True):
        counts = Counter(plan.pool.names[llm] for llm in row if llm >= 0)
        total = sum(counts.values())
        shares = ", ".join(f"{llm} {count / total:.0%}" for llm, count in counts.most_common(3))
        made.add_row(persona.name, str(total), shares)
    return made
