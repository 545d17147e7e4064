"""Results as a table on the terminal, as markdown and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from personabench.bench.results import Figure, Results, Row, contestants_of

MARKS = "+ / -: significantly above / below the regression (95 %, bootstrap paired over users and queries)"


def _cell(row: Row, precise: bool) -> str:
    value = f"{row.gap.value:.3f}"
    over = row.over_regression
    mark = "" if over is None else "+" if over.above_zero else "-" if over.below_zero else ""
    spread = f" [{row.gap.low:.2f}, {row.gap.high:.2f}]" if precise else ""
    return f"{value}{mark}{spread}"


def _grid(rows: Sequence[Row]) -> tuple[list[int], dict[str, dict[int, Row]]]:
    lengths = sorted({row.n for row in rows})
    named = {name: {row.n: row for row in rows if row.contestant == name} for name in contestants_of(rows)}
    return lengths, named


def _seeds(named: dict[str, dict[int, Row]]) -> str:
    least = min(row.seeds for cells in named.values() for row in cells.values())
    return {0: "", 1: ", one seed"}.get(least, f", {least} seeds")


def terminal_tables(results: Results, *, precise: bool = True) -> list[Table]:
    """One table for each pool, kind of feedback and shift: gap closed by length of history."""
    tables = []
    for pool, feedback, shift in results.parts():
        lengths, named = _grid(results.of(pool, feedback, shift))
        title = f"{pool}, {feedback}" + ("" if shift == "none" else f", {shift.replace('_', ' ')}") + _seeds(named)
        table = Table(title=title, caption=MARKS, title_justify="left")
        table.add_column("gap closed after n requests")
        for n in lengths:
            table.add_column(str(n), justify="right")
        table.add_column("worse off at 20", justify="right")
        for name, cells in named.items():
            worse = f"{100 * cells[20].worse_off:.0f} %" if 20 in cells else ""
            bound = next(iter(cells.values())).kind == "bound"
            shown = [_cell(cells[n], precise) if n in cells else "" for n in lengths]
            table.add_row(name, *shown, worse, style="dim" if bound else None)
        tables.append(table)
    if results.figures:
        tables.append(_figures(results))
    return tables


def _figures(results: Results) -> Table:
    table = Table(title="other figures", title_justify="left")
    for column in ("pool", "feedback", "contestant", "figure", "value"):
        table.add_column(column)
    for figure in sorted(results.figures, key=lambda f: (f.pool, f.feedback, f.name)):
        table.add_row(figure.pool, figure.feedback, figure.contestant, figure.name, _value(figure))
    return table


def _value(figure: Figure) -> str:
    spread = "" if figure.low is None else f" [{figure.low:.3g}, {figure.high:.3g}]"
    return f"{figure.value:.3g}{spread}"


def markdown(results: Results, *, precise: bool = False) -> str:
    """The same tables, for a README; `precise`: with intervals."""
    lines: list[str] = []
    for pool, feedback, shift in results.parts():
        lengths, named = _grid(results.of(pool, feedback, shift))
        lines += [f"**{pool}, {feedback}{'' if shift == 'none' else f', {shift}'}{_seeds(named)}**", ""]
        lines += ["| gap closed after n requests | " + " | ".join(map(str, lengths)) + " | worse off at 20 |"]
        lines += ["| --- |" + " ---: |" * (len(lengths) + 1)]
        for name, cells in named.items():
            worse = f"{100 * cells[20].worse_off:.0f} %" if 20 in cells else ""
            shown = " | ".join(_cell(cells[n], precise) if n in cells else "" for n in lengths)
            lines.append(f"| {name} | {shown} | {worse} |")
        lines.append("")
    lines += [f"{MARKS}.", ""]
    if results.figures:
        lines += ["| pool | feedback | contestant | figure | value |", "| --- | --- | --- | --- | ---: |"]
        for figure in sorted(results.figures, key=lambda f: (f.pool, f.feedback, f.name)):
            told = (figure.pool, figure.feedback, figure.contestant, figure.name, _value(figure))
            lines.append("| " + " | ".join(told) + " |")
        lines.append("")
    return "\n".join(lines)


def picture(results: Results, path: Path) -> None:
    """Learning curves: gap closed over the number of requests, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parts = results.parts()
    columns = min(3, len(parts))
    height = -(-len(parts) // columns)
    figure, axes = pyplot.subplots(height, columns, figsize=(5.5 * columns, 4 * height), squeeze=False)
    colours = pyplot.colormaps["tab20"]
    order = contestants_of(results.rows)
    for axis, part in zip(axes.flat, parts, strict=False):
        _, rows = _grid(results.of(*part))
        for name, cells in rows.items():
            lengths = sorted(cells)
            x = [1 + n for n in lengths]
            colour = colours(order.index(name) % 20)
            line = "--" if cells[lengths[0]].kind == "bound" else ":" if cells[lengths[0]].kind != "personal" else "-"
            axis.plot(x, [cells[n].gap.value for n in lengths], line, color=colour, label=name)
            if cells[lengths[0]].kind == "personal":
                low, high = ([getattr(cells[n].gap, end) for n in lengths] for end in ("low", "high"))
                axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.set(xscale="log", title=", ".join(p for p in part if p != "none"), ylim=(-0.3, 0.8))
        axis.set(xlabel="1 + requests of the user", ylabel="gap closed")
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(parts) :]:
        axis.set_axis_off()
    named: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        named |= zip(map(str, labels), handles, strict=True)
    figure.legend(list(named.values()), list(named), loc="lower center", ncols=3, fontsize="small")
    figure.tight_layout(rect=(0, 0.04 + 0.35 / (height * 4), 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
