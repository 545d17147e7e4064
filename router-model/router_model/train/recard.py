"""What cards say, learned anew for a finished artifact: its reading of queries and its users' tastes stay as they are.

Minutes of training are in the reading; which figures are public, and of which LLMs, changes far more often.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from router_model.data.cards import card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.data.pools import LICENCES, Pool
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Manifest, read_manifest, unpack_vector
from router_model.export.trained import figures_before, kept_tools, made_of
from router_model.network import Router
from router_model.priors.prior import CARD_FEATURES, believe_cards
from router_model.train.reading import LlmWeights, Reading, refine
from router_model.train.train import (
    TrainConfig,
    Trained,
    fit_llm_node,
    outcomes_of,
    pools_of,
    task_groups,
    usual_questions,
)
from router_model.train.weights import WEIGHTS_FILE, load_weights

Floats = NDArray[np.float32]


def learn_cards(folder: Path, config: TrainConfig) -> Trained:
    """A router like that of an artifact but for its LLM node. Raises `WeightsError`, `DataError`, `ArtifactError`."""
    manifest, base = read_manifest(folder), load_weights(folder / WEIGHTS_FILE)
    kept = json.loads((folder / "population.json").read_text(encoding="utf-8"))
    evidence = {name: unpack_vector(data) for name, data in kept.items()}
    embedder = StaticEmbedder.load(config.embedder)
    tasks, _ = task_groups(config)
    if len(tasks) != base.sizes.known_tasks:
        raise ValueError(f"{folder}: knows {base.sizes.known_tasks} tasks, the configuration {len(tasks)}")
    pools = pools_of(config)
    outcomes = {name: outcomes_of(pool, embedder, tasks) for name, pool in pools.items()}
    known = {name: o.only(np.isin(o.fold, config.train_folds)) for name, o in outcomes.items()}
    reading = Reading(base.encoder)
    for name, pool in pools.items():
        reading.weights[name] = _weights(base, manifest, pool, embedder, evidence)
        refine(reading, known[name], quality=name not in config.pools)
    router = _with_cards(base)
    population = fit_llm_node(router, reading, known, pools, embedder, config)
    sources = {name: LICENCES[name] for name in pools if name in LICENCES}
    usual, made = usual_questions(outcomes, config), made_of(folder, "cards")
    return Trained(
        router.eval(), embedder, population, sources, usual, figures_before(folder), made, kept_tools(manifest)
    )


def _with_cards(base: Router) -> Router:
    """The same weights in a router that takes today's card features; what cards say is still to be learned."""
    router = Router(replace(base.sizes, card=2 * len(CARD_FEATURES)))
    state = {name: value for name, value in base.state_dict().items() if not name.endswith(("card.weight", "doubt"))}
    for name, buffer in list(router.named_buffers()):
        if name in state and state[name].shape != buffer.shape:
            owner, _, field = name.rpartition(".")
            setattr(router.get_submodule(owner), field, torch.zeros_like(state[name]))
    router.load_state_dict(state, strict=False)
    believe_cards(router)
    return router


def _weights(
    base: Router, manifest: Manifest, pool: Pool, embedder: StaticEmbedder, population: dict[str, Floats]
) -> LlmWeights:
    """What the artifact believes of a pool's LLMs, of those that it holds no evidence of by their cards."""
    dims = manifest.dims
    nothing = np.zeros(dims.V, np.float32)
    with torch.no_grad():
        z = base.llm(
            *(
                torch.as_tensor(np.asarray(x, dtype=np.float32))
                for x in (
                    card_matrix(pool.cards, manifest.card_features, manifest.ability, manifest.verbosity),
                    embedder.embed([card.text for card in pool.cards]),
                    code_matrix([card.vendor for card in pool.cards], dims.P, manifest.codes),
                    code_matrix([card.name for card in pool.cards], dims.C, manifest.codes),
                    price_matrix(pool.cards),
                    np.stack([population.get(card.name, nothing) for card in pool.cards]),
                )
            )
        )
        quality, length, *_ = base.split_z(z)
    return LlmWeights(quality.numpy().copy(), length.numpy().copy())
