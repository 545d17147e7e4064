"""Concurrent requests within a budget: stops before it is spent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from router_model.collect.client import Answer, FatalClientError
from router_model.collect.journal import Journal, T

OUT_OF_BUDGET = 4


@dataclass(frozen=True)
class Result:
    """How far it got."""

    asked: int
    failed: int
    spent_usd: float
    out_of_budget: bool


@dataclass(frozen=True)
class Budget:
    """How much, and how fast."""

    usd: float | None = None
    """Of all that the journal ever paid; asking stops when this and what is on its way could come to more."""
    at_once: int = 8

    def paid(self, answer: Answer) -> float:
        """Cost of an answer. Raises `FatalClientError` if it must be known and isn't."""
        if answer.cost_usd is None and self.usd is not None:
            raise FatalClientError(
                "an answer came without x-router-cost-usd, and no --price is given: no budget can be kept to"
            )
        return answer.cost_usd or 0.0


async def ask_all(
    keys: Iterable[tuple[str, str]],
    ask: Callable[[str, str], Awaitable[T]],
    journal: Journal[T],
    budget: Budget,
    progress: Callable[[T, float], None] | None = None,
) -> Result:
    """Asks for every key and notes the rows. Raises `FatalClientError` when nothing can be asked at all."""
    asking = _Asking(ask, journal, budget, progress)
    waiting = iter(list(keys))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(budget.at_once):
                group.create_task(asking.work(waiting))
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    return Result(asking.asked, asking.failed, journal.spent, asking.stopped)


class _Asking(Generic[T]):
    def __init__(
        self,
        ask: Callable[[str, str], Awaitable[T]],
        journal: Journal[T],
        budget: Budget,
        progress: Callable[[T, float], None] | None,
    ) -> None:
        self.ask, self.journal, self.budget, self.progress = ask, journal, budget, progress
        self.asked = self.failed = 0
        self.stopped = False
        self.on_its_way = 0.0
        self.dearest: dict[str, float] = defaultdict(float)
        for row in journal.rows.values():
            self._learn_price(row)

    async def work(self, keys: Iterator[tuple[str, str]]) -> None:
        for question, who in keys:
            # What an answer may cost is not known before the first: until then one at a time would be slow, and the
            # dearest so far of anybody is a fair guess.
            reserve = self.dearest[who] or max(self.dearest.values(), default=0.0)
            most = self.budget.usd
            if most is not None and self.journal.spent + self.on_its_way + reserve >= most:
                self.stopped = True
                return
            self.on_its_way += reserve
            try:
                row = await self.ask(question, who)
            finally:
                self.on_its_way -= reserve
            self.journal.add(row)
            self._learn_price(row)
            self.asked += 1
            self.failed += not row.done
            if self.progress is not None:
                self.progress(row, self.journal.spent)

    def _learn_price(self, row: T) -> None:
        _, who = row.key
        self.dearest[who] = max(self.dearest[who], row.cost_usd)


@contextmanager
def bar(console: Console, journal: Journal[T], total: int, missing: int) -> Iterator[Callable[[T, float], None]]:
    """Shows how many are done, what was spent, how many failed."""
    columns = (
        TextColumn("asking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("${task.fields[spent]:.4f}, {task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as shown:
        task = shown.add_task("asking", total=total, completed=total - missing, spent=journal.spent, failed=0)
        failed = 0

        def progress(row: T, spent: float) -> None:
            nonlocal failed
            failed += not row.done
            shown.update(task, advance=int(row.done), spent=spent, failed=failed)

        yield progress


def conclude(console: Console, result: Result, what: str, out: object) -> None:
    """The last line; exit code 4 where the budget was used up."""
    summary = f"{result.asked:,} {what}, {result.failed:,} failed, ${result.spent_usd:.4f} spent in all. {out}"
    console.print(summary, highlight=False)
    if result.out_of_budget:
        console.print("Stopped at the budget; run again with a larger one to go on.")
        raise typer.Exit(OUT_OF_BUDGET)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
