"""Real redis-servers of our own: alone, three as a Cluster, one behind a Sentinel."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from ports import free_port

__all__ = ["behind_sentinel", "cluster", "free_port", "server"]

SLOTS = 16384
WITHIN_S = 60


@contextmanager
def server(folder: Path, *arguments: str, port: int | None = None, config: Path | None = None) -> Iterator[int]:
    """Runs one on a port, which it yields once it is open."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on the PATH: npm run setup")
    port = port or free_port()
    usual = ["--dir", str(folder), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
    listen = [] if "--tls-port" in arguments else ["--port", str(port)]
    command = [program, *([str(config), "--sentinel"] if config else [*listen, *usual]), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _open(port) or process.poll() is not None)
        assert process.poll() is None, f"redis-server ended with {process.poll()}"
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[list[int]]:
    """Three masters that share the slots."""
    with _nodes(folder, 3) as ports:
        nodes = [redis.Redis(port=port) for port in ports]
        for number, node in enumerate(nodes):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
        until(lambda: all(_is_whole(node) for node in nodes))
        yield ports


@contextmanager
def _nodes(folder: Path, count: int) -> Iterator[list[int]]:
    if count == 0:
        yield []
        return
    own = folder / f"node-{count}"
    own.mkdir()
    with server(own, "--cluster-enabled", "yes") as port, _nodes(folder, count - 1) as others:
        yield [port, *others]


def _is_whole(node: Any) -> bool:
    info = node.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3"


@contextmanager
def behind_sentinel(folder: Path, password: str, sentinel_password: str) -> Iterator[tuple[int, int]]:
    """Ports of a Sentinel and of the master that it calls main."""
    with server(folder, "--requirepass", password) as master:
        port = free_port()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass {sentinel_password}\n"
            f"sentinel monitor main 127.0.0.1 {master} 1\nsentinel auth-pass main {password}\n"
        )
        with server(folder, port=port, config=config):
            yield port, master


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, "still not so"
        time.sleep(0.02)


def _open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
