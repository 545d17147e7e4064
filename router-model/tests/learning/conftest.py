from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from made_rows import EMBEDDER

from router_model.data import load_pool
from router_model.embedding import StaticEmbedder
from router_model.learning.made_log import MadeLog
from router_model.population import simulate


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def embedder() -> StaticEmbedder:
    return StaticEmbedder.load(EMBEDDER)


@pytest.fixture(scope="session")
def make_log(embedder: StaticEmbedder) -> Callable[..., MadeLog]:
    """A made-up log of a few hundred questions; arguments as `MadeLog`."""
    whole = load_pool("llmrouter")
    pool = whole.select_queries(np.arange(0, len(whole.ids), 20))

    def make(users: int = 12, **more: Any) -> MadeLog:
        return MadeLog(pool, embedder, simulate(3, users), **({"requests": 8} | more))

    return make


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real redis-server of our own."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not on the PATH: npm run setup")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    arguments = ["--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
    process = subprocess.Popen([server, *arguments], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()
