"""Tables of the seed's test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from personabench.metrics import Interval
from personabench.seed.judge import RIVALS, Case, Row

SCHEMA = "persona-router/seed/1"
SINGLE, PAPER, RELEASED, REGRESSION = RIVALS


def save(rows: Sequence[Row], settings: dict[str, object], path: Path) -> None:
    """As JSON."""
    made = {"schema": SCHEMA, "settings": settings, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def markdown(rows: Sequence[Row]) -> str:
    """Two tables for each case: new users by their number of ratings, and users met before."""
    lines: list[str] = []
    for case in dict.fromkeys(row.case for row in rows):
        lines += _new(case, [row for row in rows if row.case == case and row.protocol == "new"])
        lines += _met(case, [row for row in rows if row.case == case and row.protocol == "met before"])
    return "\n".join(lines)


def _new(case: Case, rows: Sequence[Row]) -> list[str]:
    lengths = sorted({row.n for row in rows})
    lines = [f"**{_named(case)}, new users, {_seeds(rows)}**: reward over the best single LLM's after n ratings", ""]
    lines += ["| n | " + " | ".join(map(str, lengths)) + " | share at 50 | worse off at 20 |"]
    lines += ["| --- |" + " ---: |" * (len(lengths) + 2)]
    for name in dict.fromkeys(row.contestant for row in rows):
        by = {row.n: row for row in rows if row.contestant == name}
        cells = [_over(by[n]) for n in lengths]
        share = f"{by[50].share[SINGLE]:+.1%}" if 50 in by and SINGLE in by[50].share else ""
        worse = f"{by[20].worse_off:.0%}" if 20 in by else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {share} | {worse} |")
    return [*lines, ""]


def _over(row: Row) -> str:
    return spread(row.over[SINGLE]) if SINGLE in row.over else f"{row.reward.value:.4f}"


def _met(case: Case, rows: Sequence[Row]) -> list[str]:
    rivals = [rival for rival in (SINGLE, PAPER, RELEASED, REGRESSION) if any(rival in row.over for row in rows)]
    lines = [f"**{_named(case)}, users met before, {_seeds(rows)}** (their ratings are in the log)", ""]
    lines += [f"| | performance | cost | reward | {' | '.join(f'over {rival}' for rival in rivals)} | worse off |"]
    lines += ["| --- |" + " ---: |" * (4 + len(rivals))]
    for row in rows:
        over = [f"{spread(row.over[r])} ({row.share[r]:+.1%})" if r in row.over else "" for r in rivals]
        figures = f"{row.performance:.3f} | {row.cost:.3f} | {row.reward.value:.4f}"
        lines.append(f"| {row.contestant} | {figures} | {' | '.join(over)} | {row.worse_off:.0%} |")
    return [*lines, ""]


def _seeds(rows: Sequence[Row]) -> str:
    count = min(row.seeds for row in rows)
    return "one seed" if count == 1 else f"{count} seeds"


def _named(case: Case) -> str:
    if case.group == "judged":
        return f"{case.pool}, nine personas, a favourite of each question"
    users = "nine trade-offs" if case.group == "nine" else "trade-offs spread evenly"
    scale = "cost by percentile" if case.scale == "percentile" else "cost min-max per task"
    return f"{case.pool}, {users}, {scale}"


def spread(found: Interval) -> str:
    """A difference with its interval."""
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def paired(rows: Sequence[Row], n: int = 50) -> str:
    """Differences to rivals after n ratings, for routers that learn."""
    lines = []
    for row in rows:
        if row.protocol == "new" and row.n == n:
            parts = [f"{rival} {spread(found)} ({row.share[rival]:+.1%})" for rival, found in row.over.items()]
            lines.append(f"- {_named(row.case)}, {row.contestant}: " + "; ".join(parts))
    return "\n".join([f"New users, n = {n}, over each rival, paired:", "", *lines, ""])
