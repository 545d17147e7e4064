"""A log whose rows are shown otherwise than they lie."""

from __future__ import annotations

from router_model.retrain.log import Kind, LogSource


class LogView:
    """What is told of a log but for its rows: whoever shows them otherwise adds `read` (`LogSource`)."""

    def __init__(self, log: LogSource) -> None:
        """`log`: whose rows they are."""
        self.log = log

    def tenants(self) -> list[str]:
        """Tenants that have rows."""
        return self.log.tenants()

    def count(self, kind: Kind, tenants: list[str]) -> int:
        """About how many rows there are."""
        return self.log.count(kind, tenants)
