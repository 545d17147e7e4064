"""Features of a pool's queries that all contestants share, kept on disk because fitting them takes a while."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from personabench.heads import Heads, HeadsConfig, fit_heads
from router_model.data.pools import Pool
from router_model.embedding.static import StaticEmbedder
from router_model.places import EMBEDDERS, HOME

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CACHE = HOME / ".cache"
TOPICS = 8


@lru_cache(maxsize=1)
def embedder() -> StaticEmbedder:
    """The newest static embedder of the package."""
    return StaticEmbedder.load(max(EMBEDDERS.glob("static-*"), key=lambda path: int(path.name.split("-")[1])))


@lru_cache(maxsize=8)
def _embedded(queries: tuple[str, ...]) -> Floats:
    return embedder().embed(queries)


def embed_queries(pool: Pool) -> Floats:
    """[Q, E]."""
    return _embedded(pool.queries)


def topics(embeddings: Floats, train: Ints) -> Floats:
    """[Q, D]: 1 and the first principal components, scaled to unit spread; what the logging policy reads."""
    centre = embeddings[train].mean(0)
    _, spread, axes = np.linalg.svd(embeddings[train] - centre, full_matrices=False)
    component = (embeddings - centre) @ axes[:TOPICS].T / (spread[:TOPICS] / np.sqrt(len(train)))
    return np.hstack([np.ones((len(embeddings), 1)), component]).astype(np.float32)


def pool_heads(pool: Pool, embeddings: Floats, train: Ints, config: HeadsConfig | None = None) -> Heads:
    """`fit_heads`, remembered for the same outcomes, embeddings and settings."""
    config = config or HeadsConfig()
    digest = hashlib.sha256(repr(sorted(asdict(config).items())).encode())
    prices = repr([(card.name, card.input_price, card.output_price) for card in pool.cards]).encode()
    known = (pool.quality[train], pool.completion_tokens[train], pool.prompt_tokens)
    for array in (embeddings, train, pool.fold, *known):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(prices)
    path = CACHE / f"heads-{pool.name}-{digest.hexdigest()[:16]}.npz"
    if path.is_file():
        stored = np.load(path, allow_pickle=False)
        arrays = {field.name: stored[field.name] for field in fields(Heads)}
        return Heads(**{**arrays, "tasks": tuple(arrays["tasks"].tolist())})
    heads = fit_heads(pool, embeddings, train, config)
    CACHE.mkdir(exist_ok=True)
    arrays = {name: np.asarray(value) for name, value in asdict(heads).items()}
    np.savez(path, allow_pickle=False, **arrays)
    return heads
