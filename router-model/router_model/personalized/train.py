"""Training of PersonalizedRouter on the recorded outcomes and simulated users that the graph router is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from router_model.data.pools import LICENCES, load_pool
from router_model.data.population import simulate
from router_model.data.simulation import simulate_log
from router_model.embedding import StaticEmbedder
from router_model.personalized.learn import LearnConfig, evidence_of_outcomes, learn, world_of
from router_model.personalized.network import NetworkSizes, PersonalizedRouter
from router_model.personalized.write import Floats, Result
from router_model.train.train import USUAL, TrainConfig, held_in
from router_model.train.weights import WEIGHTS_FILE, load_weights


def train(
    config: TrainConfig,
    reader: Path,
    learning: LearnConfig | None = None,
    sizes: NetworkSizes | None = None,
    quiet: bool = False,
) -> Result:
    """`reader`: the artifact whose encoder and embedder read queries. Raises `WeightsError`."""
    learning = learning or LearnConfig()
    base = load_weights(reader / WEIGHTS_FILE)
    embedder = StaticEmbedder.load(reader / "embedder")
    torch.manual_seed(config.seed)
    router = PersonalizedRouter(base.encoder, sizes)
    people = simulate(config.seed, config.people.users)
    worlds, names, usual = [], [], []
    for name in config.pools:
        pool = held_in(load_pool(name, config.data), config.hold_out)
        query, rows = embedder.embed(pool.queries), pool.rows(config.train_folds)
        features = np.concatenate([np.ones((len(query), 1), dtype=np.float32), query], 1)
        logs = [
            simulate_log(people, pool, features, feedback, config.seed, config.people.requests).train
            for feedback in ("dense", "thumbs")
        ]
        worlds.append(world_of(router, pool, query, embedder.embed, rows, logs))
        names.append((name, pool.names))
        usual.append(query[rows][:USUAL])
    with Progress(disable=quiet) as progress:
        steps = learning.steps * router.sizes.networks
        task = progress.add_task("learn", total=steps)
        learn(router, worlds, learning, config.seed, lambda: progress.advance(task))
    population: dict[str, Floats] = {}
    for world, (_, llms) in zip(worlds, names, strict=True):
        for llm, row in zip(llms, evidence_of_outcomes(router, world, world.train).numpy(), strict=True):
            population[llm] = population[llm] + row if llm in population else row
    sources = {name: LICENCES[name] for name, _ in names if name in LICENCES}
    return Result(router, embedder, population, sources, np.concatenate(usual), config.people.users, config.seed)
