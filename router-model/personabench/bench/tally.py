"""What seeds gave, and how a run that is cut off keeps it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from personabench.bench.contestant import Kind
from personabench.metrics import Gain
from router_model.data.population import Shift

SCHEMA = "persona-router/bench-seed/1"
HEAD = f'{{"schema": "{SCHEMA}"'  # what `save` writes first


@dataclass
class Tally:
    """Sums over the seeds of one pool and feedback."""

    gains: dict[tuple[Shift, str, int], list[Gain]] = field(default_factory=lambda: defaultdict(list))
    worse: dict[tuple[Shift, str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    other: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    kinds: dict[str, Kind] = field(default_factory=dict)

    def add(self, seed: Tally) -> None:
        """Another seed's."""
        for key, gains in seed.gains.items():
            self.gains[key] += gains
        for key, shares in seed.worse.items():
            self.worse[key] += shares
        for what, values in seed.other.items():
            self.other[what] += values
        self.kinds |= seed.kinds


@dataclass(frozen=True)
class Kept:
    """Seeds that are done, a file each, so that a run of hours goes on where it was cut off."""

    folder: Path
    of: Mapping[str, str]
    """What the figures hang on beside pool, feedback and seed: who takes part, users, options. Another run's seeds
    aren't taken for this one's.
    """

    def load(self, pool: str, feedback: str, seed: int) -> Tally | None:
        """None where it isn't there, or of a run with other settings."""
        path = self._path(pool, feedback, seed)
        if not path.is_file():
            return None
        made = json.loads(path.read_text(encoding="utf-8"))
        if made.get("schema") != SCHEMA or made["of"] != dict(self.of):
            return None
        tally = Tally(kinds=made["kinds"])
        for shift, name, n, gained, possible, worse in made["gains"]:
            tally.gains[shift, name, n].append(Gain(np.array(gained), np.array(possible)))
            tally.worse[shift, name, n].append(worse)
        for name, what, value in made["other"]:
            tally.other[name, what].append(value)
        return tally

    def save(self, pool: str, feedback: str, seed: int, tally: Tally) -> None:
        """`tally`: of this seed alone."""
        gains = [
            [*key, gain.gained.tolist(), gain.possible.tolist(), worse]
            for key, (gain,) in tally.gains.items()
            for worse in tally.worse[key]
        ]
        other = [[*key, value] for key, (value,) in tally.other.items()]
        made = {"schema": SCHEMA, "of": dict(self.of), "kinds": tally.kinds, "gains": gains, "other": other}
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(pool, feedback, seed)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(made), encoding="utf-8")
        part.replace(path)

    def clear(self) -> None:
        """Forgets what earlier runs have left; files that aren't of this benchmark stay."""
        for pattern in ("*.json", "*.part"):
            for path in self.folder.glob(pattern):
                if path.is_file() and _begins(path, HEAD):
                    path.unlink()

    def _path(self, pool: str, feedback: str, seed: int) -> Path:
        return self.folder / f"{pool}-{feedback}-{seed}.json"


def _begins(path: Path, text: str) -> bool:
    """Half a file, too, is of whom its beginning says."""
    with path.open("rb") as file:
        return file.read(len(text)) == text.encode()
