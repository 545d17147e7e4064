"""Where a retraining starts: weights and evidence without any log, and the log's candidates as inputs of the graphs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from router_model.data.cards import Card, card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.embedding import Embedder
from router_model.export.artifact import Artifact, unpack_vector
from router_model.network import Router
from router_model.retrain.consent import GatewayConfig, cards_of
from router_model.retrain.logbook import Logbook
from router_model.train.weights import WEIGHTS_FILE, load_weights


@dataclass(frozen=True)
class Base:
    """Where training starts: weights and population evidence without any log."""

    router: Router
    population: dict[str, np.ndarray]
    files: dict[str, bytes]
    """To be kept in the new artifact, so that the next retraining starts here, too."""


@dataclass(frozen=True)
class Prepared:
    """The candidates of a log as inputs of llm.onnx."""

    cards: list[Card]
    inputs: dict[str, np.ndarray]
    keys: list[str]
    """[M] name in `population.json`."""
    base_evidence: np.ndarray
    """[M, V]"""


def base_of(artifact: Artifact) -> Base:
    """The base of an artifact: itself, unless it came from a log. Raises `WeightsError`."""
    folder = artifact.folder / "base" if (artifact.folder / "base").is_dir() else artifact.folder
    names = (WEIGHTS_FILE, "population.json")
    router = load_weights(folder / WEIGHTS_FILE)
    population = json.loads((folder / "population.json").read_text())
    return Base(
        router,
        {name: unpack_vector(data) for name, data in population.items()},
        {f"base/{name}": (folder / name).read_bytes() for name in names},
    )


def prepare(log: Logbook, artifact: Artifact, base: Base, embedder: Embedder, config: GatewayConfig | None) -> Prepared:
    """Cards and codes of every LLM in the log, and what the base knows of it."""
    cards = cards_of(log.llms, log.price, config)
    dims = artifact.manifest.dims
    known = {name.lower(): name for name in base.population}
    for name, others in artifact.manifest.aliases.items():
        if name in base.population:
            known |= {other.lower(): name for other in others if other.lower() not in known}
    keys = [known.get(card.name.lower(), card.name) for card in cards]
    nothing = np.zeros(dims.V, np.float32)
    return Prepared(
        cards,
        {
            "card": card_matrix(
                cards, artifact.manifest.card_features, artifact.manifest.ability, artifact.manifest.verbosity
            ),
            "text": embedder.embed([card.text for card in cards]),
            "provider_code": code_matrix([card.vendor for card in cards], dims.P, artifact.manifest.codes),
            "name_code": code_matrix([card.name for card in cards], dims.C, artifact.manifest.codes),
            "price": price_matrix(cards),
        },
        keys,
        np.stack([base.population.get(key, nothing) for key in keys]),
    )
