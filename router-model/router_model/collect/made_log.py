"""A made-up log in the gateway's format, of simulated users on recorded outcomes: for tests, and to measure retraining.

`python -m router_model.collect.made_log out.jsonl --interactions 1000000`
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal, cast

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from router_model.data.pools import Pool, load_pool
from router_model.data.population import Population, Shift, simulate
from router_model.data.simulation import RATING_NOISE, THUMB_SHARPNESS, UNIFORM_SHARE
from router_model.embedding import Embedder, StaticEmbedder
from router_model.export.artifact import Artifact
from router_model.export.reader import reader_of
from router_model.network import Router
from router_model.retrain.start import base_of

Document = dict[str, Any]

START_MS = 1_790_000_000_000
STEP_MS = 60_000  # between two requests of a user
BLOCK = 500  # users at once


@dataclass(frozen=True)
class MadeLog:
    """Users ask a pool's questions; a policy that knows mean outcomes explores; some answers are rated."""

    pool: Pool
    embedder: Embedder
    population: Population
    """Its utilities are NaN where nothing is known: such answers are not rated."""
    tenant: str = "acme"
    requests: int = 50
    """Of each user."""
    kind: Literal["rating", "preference"] = "rating"
    """A preference says no more than whether the answer was the one that the user would have had."""
    noise: float = RATING_NOISE
    """Standard deviation of ratings around the utility."""
    rated: float = 1.0
    """Share of answers that get a rating."""
    thumbs: float = 0.3
    """Share of the ratings that are thumbs."""
    judged: float = 0.1
    """Share of answers that a judge looks at, too."""
    temperature: float = 0.25
    uniform: float = UNIFORM_SHARE
    """Share of the policy that is uniform."""
    seed: int = 0
    router: Router | None = None
    """Whose reading of each query is logged, too, as a gateway does."""

    def documents(self, users: int | None = None) -> Iterator[list[Document]]:
        """Of each user in turn, interactions and rewards as `persona-router export` writes them, in order of time."""
        pool, rng = self.pool, np.random.default_rng(self.seed)
        price = np.array([[card.input_price or 0.0, card.output_price or 0.0] for card in pool.cards])
        vectors = [_packed(vector) for vector in self.embedder.embed(list(pool.queries))]
        readings = self._readings()
        cost, tokens = pool.cost_usd(), _reply_tokens(pool, rng)
        everybody = np.arange(min(len(self.population.split), 40))
        usual = np.nanmean(self.population.utility(everybody, pool, np.arange(len(pool.ids))), (0, 1))
        weight = np.exp((usual - usual.max()) / self.temperature)
        chance = (1 - self.uniform) * weight / weight.sum() + self.uniform / len(weight)
        total = users if users is not None else len(self.population.split)
        for start in range(0, total, BLOCK):
            block = np.arange(start, min(start + BLOCK, total))
            rows = rng.integers(len(pool.ids), size=(len(block), self.requests))
            llms = rng.choice(len(chance), size=rows.shape, p=chance)
            utility = self.population.utility_at(block, pool, rows, llms, np.arange(self.requests))
            for i, user in enumerate(block.tolist()):
                made: list[Document] = []
                for n, (row, llm) in enumerate(zip(rows[i].tolist(), llms[i].tolist(), strict=True)):
                    asked, replied = float(pool.prompt_tokens[row]), float(tokens[row, llm])
                    name, ts = f"{self.tenant}-{user}-{n}", START_MS + n * STEP_MS + user
                    answer = self._interaction(name, ts, f"user-{user}", llm, chance, usual, cost[row])
                    answer["embedding"] = vectors[row]
                    if readings:
                        answer |= readings[row]
                    answer["usage"] |= {"prompt_tokens": round(asked), "completion_tokens": round(replied)}
                    answer["cost_usd"] = float(asked * price[llm, 0] + replied * price[llm, 1]) * 1e-6
                    made.append(answer)
                    made += self._rewards(answer, float(utility[i, n]), float(pool.quality[row, llm]), rng)
                yield made

    def _readings(self) -> list[Document]:
        if self.router is None:
            return []
        queries = torch.from_numpy(self.embedder.embed(list(self.pool.queries)))
        with torch.no_grad():
            readings = self.router.eval().encoder.reading(queries).numpy()
        reader = reader_of(self.router)
        return [{"reading": _packed(reading), "reader": reader} for reading in readings]

    def _interaction(self, name: str, ts: int, user: str, llm: int, chance: Any, usual: Any, cost: Any) -> Document:
        names = self.pool.names
        candidates = [
            {"name": n, "mean": float(u), "std": 0.1, "predicted_cost_usd": float(c), "propensity": float(p)}
            for n, u, c, p in zip(names, usual, cost, chance, strict=True)
        ]
        return {
            "type": "interaction",
            "id": name,
            "ts": ts,
            "tenant": self.tenant,
            "user": user,
            "conversation": None,
            "embedding": None,
            "embedder": self.embedder.version,
            "text": None,
            "candidates": candidates,
            "policy": "made-up",
            "chosen": names[llm],
            "reason": "personal" if llm == int(np.argmax(usual)) else "explore",
            "attempts": [{"candidate": names[llm], "provider": "made-up", "status": 200, "error": None, "ms": 100}],
            "usage": {"cached_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0},
            "usage_estimated": False,
            "cost_usd": 0.0,
            "ttft_ms": 50,
            "total_ms": 100,
            "overhead_us": 100,
            "finish_reason": "stop",
            "status": 200,
            "stream": False,
            "tools": False,
            "modalities": ["text"],
            "completion_id": f"chatcmpl-{name}",
        }

    def _rewards(self, answer: Document, liked: float, quality: float, rng: np.random.Generator) -> Iterator[Document]:
        if rng.random() < self.rated and not np.isnan(liked):
            if self.kind == "preference":
                yield _reward(answer, "preference", 1.0 if liked > 0 else -1.0, binary=True)
            elif rng.random() < self.thumbs:
                up = rng.random() < 1 / (1 + np.exp(-THUMB_SHARPNESS * liked))
                yield _reward(answer, "rating", 1.0 if up else -1.0, binary=True)
            else:
                yield _reward(answer, "rating", float(np.clip(liked + self.noise * rng.standard_normal(), -1, 1)))
        if rng.random() < self.judged:
            yield _reward(answer, "judge", 2 * quality - 1)


def _reward(answer: Document, kind: str, value: float, binary: bool = False) -> Document:
    return {
        "type": "reward",
        "interaction": answer["id"],
        "tenant": answer["tenant"],
        "user": answer["user"],
        "kind": kind,
        "value": value,
        "weight": 1.0,
        "binary": binary,
        "ts": answer["ts"] + 5_000,
        "preferred_model": None,
        "comment": None,
    }


def _packed(vector: NDArray[np.float32]) -> Document:
    scale = max(float(np.abs(vector).max()) / 127, 1e-12)
    int8 = np.rint(vector / scale).astype(np.int8)
    return {"int8": base64.b64encode(int8.tobytes()).decode(), "scale": scale}


def _reply_tokens(pool: Pool, rng: np.random.Generator) -> NDArray[np.float64]:
    """Lengths [Q, M]: the recorded ones, else made up, some LLMs being wordier than others."""
    talk = np.exp(rng.normal(5.0, 0.3, len(pool.names)) + 0.4 * rng.standard_normal((len(pool.ids), 1)))
    return np.where(np.isnan(pool.completion_tokens), talk, pool.completion_tokens).clip(min=1.0)


def write_jsonl(path: Path, log: MadeLog, users: int | None = None) -> int:
    """Writes a log, compressed where the name ends in .gz; returns the number of rows."""
    rows = 0
    total = users if users is not None else len(log.population.split)
    console = Console(stderr=True)
    with _written(path) as file:
        for made in track(log.documents(users), "writing", total=total, transient=True, console=console):
            file.write("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in made).encode())
            rows += len(made)
    return rows


def _written(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "wb", compresslevel=6))
    return path.open("wb")


def main(
    out: Path,
    embedder: Annotated[Path, typer.Option(help="folder of the embedder")],
    interactions: int = 1_000_000,
    requests: int = 50,
    pool: str = "llmrouter",
    tenant: str = "acme",
    shift: Annotated[str, typer.Option(help="a shifted population, e.g. anti_correlated")] = "none",
    seed: int = 0,
    artifact: Annotated[Path | None, typer.Option(help="also log what this artifact reads in each query")] = None,
) -> None:
    """Write a log of simulated users."""
    population = simulate(seed, interactions // requests, cast("Shift", shift))
    router = base_of(Artifact(artifact)).router if artifact else None
    pool_, words = load_pool(pool), StaticEmbedder.load(embedder)
    log = MadeLog(pool_, words, population, tenant, requests, seed=seed, router=router)
    print(f"{write_jsonl(out, log):,} rows")


if __name__ == "__main__":
    typer.run(main)
