"""A large archive from a small one, to measure at a size that would take hours to make request by request.

`python -m router_model.collect.made_archive /tmp/small /tmp/large --copies 100`

Each copy of the rows has users, answers and days of its own, in files of the same rows, compressed alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import track

DAY_MS = 86_400_000
OWN = ("id", "user", "conversation", "completion_id", "interaction")
"""Columns whose values are a row's or a user's own."""
TIMES = ("ts", "asked_at")


def main(
    small: Path,
    large: Annotated[Path, typer.Argument(help="a directory that is not there yet")],
    copies: Annotated[int, typer.Option(min=1, help="how many times as many rows")] = 100,
) -> None:
    """Write the small archive several times over, as so many users more, each time as many days earlier."""
    files = sorted(small.glob("tenant=*/day=*/*.parquet"))
    days = len({file.parent.name for file in files})
    rows = 0
    for file in track(files, "writing", transient=True, console=Console(stderr=True)):
        told = {key: value for key, value in pl.read_parquet_metadata(file).items() if key.startswith("persona-router")}
        frame = pl.read_parquet(file, hive_partitioning=False)
        for copy in range(copies):
            rows += _write(frame, large / file.parent.parent.name, file.name, copy, days, told)
    print(f"{rows:,} rows")


def _write(frame: pl.DataFrame, folder: Path, name: str, copy: int, days: int, told: dict[str, str]) -> int:
    own = [pl.col(column) + f"-{copy}" for column in OWN if frame.schema.get(column) == pl.String]
    times = [pl.col(column) - copy * days * DAY_MS for column in TIMES if column in frame.columns]
    made = frame.with_columns(own + times)
    day = pl.from_epoch(made["ts"], time_unit="ms").dt.strftime("%Y-%m-%d")[0]
    out = folder / f"day={day}" / name.replace(".parquet", f"-{copy}.parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    made.write_parquet(out, compression="zstd", compression_level=3, row_group_size=5_000, metadata=dict(told))
    return len(made)


if __name__ == "__main__":
    typer.run(main)
