"""How questions of the validation fold are read where they bring tools: `python -m router_model tools`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.data.cards import card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.data.pools import Folds, Pool
from router_model.data.tools import tool_share
from router_model.embedding import Embedder
from router_model.export.artifact import Artifact, unpack_vector
from router_model.network import Router
from router_model.train.tools import SHORT

Floats = NDArray[np.float32]

MANY = (0, 1, 4, 10)
"""Tools that each question is read with."""
LEAST = 1e-6
"""Of a probability, in a log loss."""


@dataclass(frozen=True)
class ReadWith:
    """How questions are read where each brings so many tools."""

    tools: int
    agents: float
    """Mean probability of agents' work, of their tasks: whole, and their first characters alone."""
    others: float
    """The same of all other questions."""
    task: float
    """Log loss of these questions' tasks."""
    quality: Mapping[str, float]
    """By pool, log loss of the outcomes of LLMs that the artifact knows, over all of the pool's questions."""


def tools_table(
    artifact: Artifact, router: Router, pools: Mapping[str, Pool], embedder: Embedder, tasks: list[str],
    agents: Sequence[str], folds: Sequence[int] = Folds().validation,
) -> list[ReadWith]:  # fmt: skip
    """Of an artifact whose manifest has `tools`; `router`: its weights, `tasks`: of its reading, in order, of which
    `agents` are agents' work, the first is what they are read as. Raises `ValueError`.
    """
    if artifact.manifest.tools is None:
        raise ValueError(f"{artifact.manifest.version} says nothing of tools")
    vector = unpack_vector(artifact.manifest.tools)
    asked = [(pool.queries[i], str(pool.task[i])) for pool in pools.values() for i in pool.rows(folds)]
    work = [text for text, task in asked if task in agents]
    other = [(text, tasks.index(task)) for text, task in asked if task not in agents]
    of_work = embedder.embed([*work, *(text[:SHORT] for text in work)])
    of_other, label = embedder.embed([text for text, _ in other]), np.array([task for _, task in other])
    grids = {name: grid for name, pool in pools.items() if (grid := _grid(artifact, pool, embedder, folds)) is not None}
    agent, made = tasks.index(agents[0]), []
    router = router.eval()
    for tools in MANY:
        added = tool_share([tools])[:, None] * vector
        told = _tasks(router, of_other + added)
        made.append(
            ReadWith(
                tools,
                float(_tasks(router, of_work + added)[:, agent].mean()),
                float(told[:, agent].mean()),
                float(-np.log(np.maximum(told[np.arange(len(label)), label], LEAST)).mean()),
                {name: grid.log_loss(router, added) for name, grid in grids.items()},
            )
        )
    return made


def lines_of(table: Sequence[ReadWith]) -> list[str]:
    """As markdown."""
    pools = sorted(table[0].quality)
    heads = ["tools", "agents' tasks", "other questions", "their task, log loss", *(f"`{name}`" for name in pools)]
    rows = [f"| {' | '.join(heads)} |", "| " + " | ".join("---:" for _ in heads) + " |"]
    for row in table:
        figures = [f"{row.agents:.3f}", f"{row.others:.3f}", f"{row.task:.3f}"]
        figures += [f"{row.quality[name]:.3f}" for name in pools]
        rows.append(f"| {' | '.join([str(row.tools), *figures])} |")
    return rows


@dataclass(frozen=True)
class _Grid:
    """Questions and LLMs of a pool, with outcomes."""

    query: Floats
    """[n, E]"""
    z: Floats
    """[M, Z]"""
    outcome: Floats
    """[n, M]; NaN where not known."""

    def log_loss(self, router: Router, added: Floats) -> float:
        with torch.no_grad():
            query = torch.from_numpy((self.query + added).astype(np.float32))
            right = router.predict(query, torch.zeros(len(query)), torch.from_numpy(self.z))[0].double().numpy()
        right = np.clip(right, LEAST, 1 - LEAST)
        loss = -(self.outcome * np.log(right) + (1 - self.outcome) * np.log(1 - right))
        return float(np.nanmean(loss))


def _grid(artifact: Artifact, pool: Pool, embedder: Embedder, folds: Sequence[int]) -> _Grid | None:
    """Of the pool's LLMs that the artifact has evidence on; None where there are none."""
    manifest, rows = artifact.manifest, pool.rows(list(folds))
    aliases = {other.lower(): name.lower() for name, many in manifest.aliases.items() for other in (name, *many)}
    known = {name.lower(): vector for name, vector in artifact.population.items()}
    names = [aliases.get(card.name.lower(), card.name.lower()) for card in pool.cards]
    there = [column for column, name in enumerate(names) if name in known]
    if not there or len(rows) == 0:
        return None
    cards = [pool.cards[column] for column in there]
    z = artifact.run(
        "llm",
        {
            "card": card_matrix(cards, manifest.card_features, manifest.ability, manifest.verbosity),
            "text": embedder.embed([card.text for card in cards]),
            "provider_code": code_matrix([card.vendor for card in cards], manifest.dims.P, manifest.codes),
            "name_code": code_matrix([card.name for card in cards], manifest.dims.C, manifest.codes),
            "price": price_matrix(cards),
            "evidence": np.stack([known[names[column]] for column in there]),
        },
    )["z"]
    return _Grid(embedder.embed([pool.queries[i] for i in rows]), z, pool.quality[rows][:, there])


def _tasks(router: Router, query: Floats) -> Floats:
    """Probabilities [n, known tasks]."""
    with torch.no_grad():
        logits, _ = router.encoder.read(torch.from_numpy(query.astype(np.float32)))
        made: Floats = torch.softmax(logits, -1).numpy()
    return made
