"""Whose rows are read where a log is larger than retraining needs: the same users every time, each with all their rows.

By users, so that histories stay whole and what is estimated stays unbiased; by a hash of the name, so that two
retrainings see the same people, and a log that grows keeps most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from router_model.retrain.log import Document, Kind, LogSource

MOST = 1_000_000
"""Interactions, or rewards, that are read by default: some 2 GB (docs/learning.md)."""


@dataclass(frozen=True)
class Sample:
    """A share of the users of each tenant."""

    share: float

    def has(self, tenant: str, user: str) -> bool:
        """Whether this user is one of them."""
        # Salted: who is kept for judging, or speaks with one voice with others, is drawn by other hashes.
        digest = blake2b(f"sample\0{tenant}\0{user}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") < self.share * 2.0**64

    def of(self, tenant: str, users: Iterable[str]) -> list[str]:
        """Those of a tenant's users who are among them."""
        return [user for user in users if self.has(tenant, user)]


def sample_of(log: LogSource, tenants: list[str], most: int) -> Sample | None:
    """What to read of a log, so that there are about `most` rows of each kind; None = all of it."""
    rows = max(log.count("interaction", tenants), log.count("reward", tenants))
    return Sample(most / rows) if rows > most else None


class SampledLog:
    """A log of these users alone."""

    def __init__(self, log: LogSource, sample: Sample) -> None:
        """`log`: told of the sample, so that it may skip what is not in it."""
        self.log = log
        self.sample = sample

    def tenants(self) -> list[str]:
        """Every tenant that has rows."""
        return self.log.tenants()

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """About how many rows there are of these users."""
        return round(self.log.count(kind, tenants) * self.sample.share)

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """Rows of these users."""
        known: dict[tuple[str, str], bool] = {}
        for batch in self.log.read(kind, tenants, embedder, self.sample):
            kept = []
            for row in batch:
                whose = (row["tenant"], row["user"])
                if whose not in known:
                    known[whose] = self.sample.has(*whose)
                if known[whose]:
                    kept.append(row)
            if len(known) > KNOWN:
                known.clear()
            if kept:
                yield kept


KNOWN = 100_000
"""Users whose answer is kept in memory, at most."""
