"""Training of PersonalizedRouter's networks: from the rest of a log, predict what users said and what answers were.

Each step hides some interactions of a few users, some outcomes, and at random all that is known of some LLMs, so that
users, questions and LLMs that come later are nothing new. Letters: Q queries, M LLMs, N interactions, U users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from router_model.data.cards import Card, card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.data.pools import Pool
from router_model.data.simulation import History
from router_model.kinds import KINDS, OUTCOME
from router_model.personalized.network import EDGE, Network, PersonalizedRouter
from router_model.priors.prior import CARD_FEATURES, ability_specs

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Embed = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True)
class LearnConfig:
    """Tried on validation users and folds alone."""

    steps: int = 1500
    users: int = 48
    targets: int = 16
    outcomes: int = 60
    """Most queries whose outcomes are context in a step."""
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    forgotten: float = 0.2
    """Share of LLMs of which a step knows nothing but the card."""
    outcome_share: float = 0.3
    """Weight of predicted outcomes beside predicted rewards."""


@dataclass(frozen=True)
class World:
    """A pool as the networks see it, and what its users said."""

    reading: Tensor
    """[Q, R]"""
    prompt_tokens: Tensor
    cards: dict[str, Tensor]
    """Inputs of `PersonalizedRouter.llm` but evidence."""
    quality: Tensor
    """[Q, M]"""
    tokens: Tensor
    """[Q, M]; NaN: not known."""
    train: Ints
    """Rows whose outcomes are known."""
    logs: Sequence[History]
    """Of the same users in the same order; the first one's rewards are predicted."""


def world_of(
    router: PersonalizedRouter, pool: Pool, query: Floats, embed: Embed, train: Ints, logs: Sequence[History]
) -> World:
    """From a pool, embedded queries [Q, E] and logs of its users."""
    with torch.no_grad():
        reading = router.encoder.reading(torch.as_tensor(query))
    return World(
        reading=reading,
        prompt_tokens=torch.as_tensor(pool.prompt_tokens),
        cards=card_inputs(router, pool.cards, embed),
        quality=torch.as_tensor(pool.quality),
        tokens=torch.as_tensor(pool.completion_tokens),
        train=train,
        logs=logs,
    )


def card_inputs(router: PersonalizedRouter, cards: Sequence[Card], embed: Embed) -> dict[str, Tensor]:
    """What llm.onnx takes, but evidence."""
    made = {
        "card": card_matrix(cards, CARD_FEATURES, *ability_specs()),
        "text": embed([card.text for card in cards]),
        "provider_code": code_matrix([card.vendor for card in cards], router.read.provider_code, "frame"),
        "price": price_matrix(cards),
    }
    return {name: torch.as_tensor(value) for name, value in made.items()}


def learn(
    router: PersonalizedRouter,
    worlds: Sequence[World],
    config: LearnConfig,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> PersonalizedRouter:
    """Trains every network, each on other draws of the users; in evaluation mode after it."""
    standardise(router, worlds)
    for number, network in enumerate(router.networks):
        assert isinstance(network, Network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1000 + number)
            _reset(network)
            _learn(router, network, worlds, config, np.random.default_rng([seed, number]), advance)
    return router.eval()


def standardise(router: PersonalizedRouter, worlds: Sequence[World]) -> None:
    """Centre and spread of what is read in the train folds."""
    router.centre.zero_()
    router.spread.fill_(1.0)
    with torch.no_grad():
        of_quality, of_length, _ = router.encoder.of_reading(torch.cat([w.reading[w.train] for w in worlds]))
    features = torch.cat([of_quality, of_length[:, router.read.known_tasks :]], -1)
    router.centre.copy_(features.mean(0))
    router.spread.copy_(features.std(0).clamp(min=1e-2))


def evidence_of_outcomes(router: PersonalizedRouter, world: World, rows: Ints) -> Tensor:
    """Sums [M, V] of the messages of all LLMs' outcomes on some queries."""
    with torch.no_grad():
        z = router.llm(**world.cards, evidence=torch.zeros(world.quality.shape[1], 2 * router.message))
        total = torch.zeros(len(z), 2 * router.message)
        for llm in range(len(z)):
            n = len(rows)
            _, message = router.edge(
                reading=world.reading[rows],
                z=z[llm : llm + 1].expand(n, -1),
                reward=2 * world.quality[rows, llm] - 1,
                kind=torch.full((n,), OUTCOME),
                weight=torch.ones(n),
                prompt_tokens=world.prompt_tokens[rows],
                completion_tokens=torch.nan_to_num(world.tokens[rows, llm], nan=-1.0),
                cost_usd=torch.full((n,), -1.0),
            )
            total[llm] = message.sum(0)
    return total


def _reset(network: Network) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.reset_parameters()
    with torch.no_grad():
        network.task.copy_(0.1 * torch.randn_like(network.task))


def _learn(
    router: PersonalizedRouter,
    network: Network,
    worlds: Sequence[World],
    config: LearnConfig,
    rng: np.random.Generator,
    advance: Callable[[], None],
) -> None:
    drawn = [rng.integers(0, len(w.logs[0].users), len(w.logs[0].users)) for w in worlds]
    network.train()
    rate = config.learning_rate
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=config.steps)
    for _ in range(config.steps):
        at = int(rng.integers(len(worlds)))
        optimiser.zero_grad()
        _loss(router, network, worlds[at], rng.choice(drawn[at], config.users), config, rng).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        advance()
    network.eval()


@dataclass(frozen=True)
class _Interactions:
    """N interactions as flat tensors."""

    user: Tensor
    query: Tensor
    llm: Tensor
    reward: Tensor
    edge: Tensor  # [N, EDGE]


def _loss(
    router: PersonalizedRouter,
    network: Network,
    world: World,
    users: Ints,
    config: LearnConfig,
    rng: np.random.Generator,
) -> Tensor:
    llms = world.quality.shape[1]
    heard, told = world.logs[int(rng.integers(len(world.logs)))].of(users), world.logs[0].of(users)
    requests = heard.query.shape[1]
    order = rng.permuted(np.broadcast_to(np.arange(requests), heard.query.shape), axis=1)
    n = int((requests - config.targets + 1) * rng.random() ** 2)
    context = _interactions(router, heard.reordered(order).first(n))
    targets = _interactions(router, told.reordered(order).last(config.targets))

    features, probability = router.features(world.reading)
    card = network.card(**world.cards)
    rows = rng.permutation(world.train)
    known = rows[: int(np.exp(rng.uniform(0, np.log(config.outcomes))))]
    remembered = torch.as_tensor(rng.random(llms) >= config.forgotten, dtype=torch.float32).unsqueeze(-1)
    outcomes = _outcomes(router, world, known)
    of_outcomes = remembered * _told(network, features, card, outcomes, llms)
    of_rewards = remembered * _told(network, features, card, context, llms)
    llm = network.llm(card, of_outcomes, of_rewards)

    seen, of_task = network.query(features[context.query]), probability[context.query] @ network.task
    messages = network.said_of_user(seen, of_task, llm[context.llm], context.edge)
    state = network.user(_summed(messages, context.user, len(users)))
    query, task = network.query(features[targets.query]), probability[targets.query] @ network.task
    predicted = network.score(state[targets.user], query, task, llm)
    chosen = predicted.gather(1, targets.llm.unsqueeze(1)).squeeze(1)
    loss = functional.mse_loss(chosen, targets.reward)

    unseen = rows[-64:]
    logit, log_tokens = network.answers(network.query(features[unseen]), probability[unseen] @ network.task, llm)
    right = functional.binary_cross_entropy_with_logits(logit, world.quality[unseen])
    length = world.tokens[unseen]
    there = torch.isfinite(length)
    apart = torch.where(there, log_tokens - torch.log(torch.nan_to_num(length, nan=1.0).clamp(min=1.0)), 0.0)
    return loss + config.outcome_share * (right + apart.square().mean())


def _told(network: Network, features: Tensor, card: Tensor, edges: _Interactions, llms: int) -> Tensor:
    """Sums and counts [M, H + 1] of what LLMs hear."""
    messages = network.said_of_llm(network.query(features[edges.query]), card[edges.llm], edges.edge)
    return _summed(messages, edges.llm, llms)


def _summed(messages: Tensor, to: Tensor, nodes: int) -> Tensor:
    whole = torch.cat([messages, torch.ones(len(messages), 1)], -1)
    return torch.zeros(nodes, whole.shape[1]).index_add(0, to, whole)


def _outcomes(router: PersonalizedRouter, world: World, rows: Ints) -> _Interactions:
    llms = world.quality.shape[1]
    query = torch.as_tensor(rows).repeat_interleave(llms)
    llm = torch.arange(llms).repeat(len(rows))
    quality, tokens, price = world.quality[query, llm], world.tokens[query, llm], world.cards["price"][llm]
    known = torch.isfinite(tokens).float()
    tokens = torch.nan_to_num(tokens, nan=150.0)
    dollars = (world.prompt_tokens[query] * price[:, 0] + tokens * price[:, 1]) * 1e-6
    kind = torch.full((len(query),), OUTCOME)
    edge = router.edge_features(2 * quality - 1, kind, dollars, tokens, known)
    return _Interactions(llm, query, llm, quality, edge)


def _interactions(router: PersonalizedRouter, history: History) -> _Interactions:
    rated = history.rated
    user = np.broadcast_to(np.arange(len(history.users))[:, None], rated.shape)[rated]
    columns = (user, history.query[rated], history.llm[rated], history.reward[rated])
    u, query, llm, reward = (torch.as_tensor(np.ascontiguousarray(column)) for column in columns)
    tokens = torch.as_tensor(history.completion_tokens[rated])
    known = torch.isfinite(tokens).float()
    dollars, kind = torch.as_tensor(history.cost_usd[rated]), torch.full((len(u),), KINDS.index(history.kind_name))
    edge = router.edge_features(reward, kind, dollars, torch.nan_to_num(tokens, nan=150.0), known)
    assert edge.shape[-1] == EDGE
    return _Interactions(u, query, llm, reward, edge)
