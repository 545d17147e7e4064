"""Ports of servers that tests start."""

from __future__ import annotations

import secrets
import socket

PORTS = range(12_000, 20_000)
"""Below those that the kernel takes for connections: until one is used, none of them takes it. The bus of a Redis
node, 10,000 above it, is none that is drawn, either."""


def free_port() -> int:
    """One that was free a moment ago."""
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
