from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from made_rows import EMBEDDER
from redis_servers import server

from router_model.collect.made_log import MadeLog
from router_model.data.pools import load_pool
from router_model.data.population import simulate
from router_model.embedding import StaticEmbedder


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
    with server(tmp_path_factory.mktemp("redis")) as port:
        yield f"redis://127.0.0.1:{port}/0"
