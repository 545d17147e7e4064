"""Users who have got another id since rows were written (a secret of ids that was replaced): one person, not two."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from router_model.retrain.log import Document, Kind, LogSource, StoredLog
from router_model.retrain.log_view import LogView
from router_model.retrain.sample import Sample


class MovedLog(LogView):
    """Rows of a log by the present ids of their users."""

    def __init__(self, log: LogSource, places: Sequence[StoredLog]) -> None:
        """`places`: who knows of moves; of a store and its archives the store first, for it knows the latest."""
        super().__init__(log)
        self.places = places

    def read(
        self, kind: Kind, tenants: list[str], embedder: str | None = None, sample: Sample | None = None
    ) -> Iterator[list[Document]]:
        """All rows of some tenants in batches."""
        drawn = None if sample is None else _PresentSample(sample.share, self)
        for batch in self.log.read(kind, tenants, embedder, drawn):
            users: dict[str, set[str]] = {}
            for row in batch:
                users.setdefault(row["tenant"], set()).add(row["user"])
            now = {tenant: self.present_ids(tenant, some) for tenant, some in users.items()}
            for row in batch:
                row["user"] = now[row["tenant"]].get(row["user"], row["user"])
            yield batch

    def present_ids(self, tenant: str, users: Collection[str]) -> dict[str, str]:
        """Present ids by former ones, of those who have moved."""
        found: dict[str, str] = {}
        # What an archive knows is older than what the store knows.
        for place in reversed(self.places):
            before = {user: found.get(user, user) for user in users}
            now = place.present_ids(tenant, set(before.values()))
            found.update({user: now[known] for user, known in before.items() if known in now})
        return found


@dataclass(frozen=True)
class _PresentSample(Sample):
    """Draws users by their present ids, whatever their rows say."""

    log: MovedLog

    def of(self, tenant: str, users: Iterable[str]) -> list[str]:
        """Those whose present id is drawn."""
        asked = list(users)
        now = self.log.present_ids(tenant, asked)
        return [user for user in asked if self.has(tenant, now.get(user, user))]
