"""First stage of training: how to read a query, and what each training LLM's outcomes say of it.

Encoder and per-LLM weights are fitted together on recorded outcomes of all pools; nothing of users enters here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from router_model.network import QueryEncoder, Sizes

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """Recorded outcomes of one pool: n queries, M LLMs; NaN where an LLM was not asked or a length is not known."""

    name: str
    query: Floats  # [n, E]
    prompt_tokens: Floats  # [n]
    task: NDArray[np.int64]  # [n], index into the known tasks
    fold: NDArray[np.int64]  # [n]
    llms: tuple[str, ...]
    scores: Floats  # [n, M], 0..1
    tokens: Floats  # [n, M]

    def only(self, rows: NDArray[np.bool_]) -> Outcomes:
        """The queries where `rows` is true."""
        return Outcomes(
            self.name,
            self.query[rows],
            self.prompt_tokens[rows],
            self.task[rows],
            self.fold[rows],
            self.llms,
            self.scores[rows],
            self.tokens[rows],
        )


@dataclass(frozen=True)
class ReadingConfig:
    """Hyperparameters of this stage, chosen by cross-validation over folds 0-7."""

    epochs: int = 40
    batch: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 0.2
    dropout: tuple[float, float] = (0.5, 0.5)
    task_loss: float = 1.0
    length_loss: float = 0.2
    skill_decay: float = 0.0005
    difficulty_decay: float = 0.05
    aside: tuple[str, ...] = ()
    """Pools whose outcomes count `aside_weight`: they teach what they alone hold, and leave the others their say."""
    aside_weight: float = 0.4


@dataclass
class LlmWeights:
    """Fitted weights of a pool's LLMs, by LLM: quality [M, D], length [M, L]."""

    quality: Floats
    length: Floats


@dataclass
class Reading:
    """Result of the first stage."""

    encoder: QueryEncoder
    weights: dict[str, LlmWeights] = field(default_factory=dict)


class _Heads(nn.Module):
    """Weights of one pool's LLMs while the encoder is fitted."""

    def __init__(self, sizes: Sizes, llms: int) -> None:
        super().__init__()
        self.skill = nn.Parameter(torch.zeros(llms, sizes.known_tasks))
        self.level = nn.Parameter(torch.zeros(llms, 1))
        self.difficulty = nn.Parameter(0.3 + 0.3 * torch.randn(llms, sizes.difficulties))
        self.talk = nn.Parameter(torch.full((llms, sizes.known_tasks), 5.0))
        self.verbosity = nn.Parameter(0.1 + 0.1 * torch.randn(llms, sizes.verbosities))

    def quality(self, easiness: Tensor) -> Tensor:
        return torch.cat([self.skill + self.level + easiness, self.difficulty], -1)

    def length(self) -> Tensor:
        return torch.cat([self.talk, self.verbosity], -1)


def fit_reading(
    pools: Sequence[Outcomes],
    sizes: Sizes,
    group: Floats,
    config: ReadingConfig,
    seed: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Fits the encoder on every row of `pools`; `group` [known tasks, T] says which task is in which group."""
    torch.manual_seed(seed)
    shuffler = random.Random(seed)
    encoder = QueryEncoder(sizes).to(device)
    encoder.group.copy_(torch.as_tensor(group))
    encoder.dropout = config.dropout
    heads = nn.ModuleDict({pool.name: _Heads(sizes, len(pool.llms)) for pool in pools}).to(device)
    easiness = nn.Parameter(torch.zeros(sizes.known_tasks, device=device))
    matrices = [encoder.hidden.weight, encoder.task.weight, encoder.latent.weight]
    decayed = {id(p) for p in matrices}
    others = [p for m in (encoder, heads) for p in m.parameters() if id(p) not in decayed]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": [*others, easiness], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)
    steps = config.epochs * sum(-(-len(pool.task) // config.batch) for pool in pools)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps, pct_start=0.2)
    tensors = {pool.name: _tensors(pool, device) for pool in pools}
    encoder.train()
    for epoch in range(config.epochs):
        batches = [
            (pool.name, rows)
            for pool in pools
            for rows in torch.randperm(len(pool.task)).to(device).split(config.batch)
        ]
        shuffler.shuffle(batches)
        for name, rows in batches:
            loss = _loss(encoder, heads[name], easiness, [t[rows] for t in tensors[name]], config)
            loss = loss * (config.aside_weight if name in config.aside else 1.0)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if progress is not None:
            progress(epoch + 1, config.epochs)
    encoder.eval()
    reading = Reading(encoder)
    with torch.no_grad():
        for pool in pools:
            head = heads[pool.name]
            assert isinstance(head, _Heads)
            reading.weights[pool.name] = LlmWeights(head.quality(easiness).cpu().numpy(), head.length().cpu().numpy())
    return reading


def _tensors(pool: Outcomes, device: torch.device) -> list[Tensor]:
    arrays = (pool.query, pool.task, pool.scores, pool.tokens)
    return [torch.as_tensor(a).to(device) for a in arrays]


def _loss(
    encoder: QueryEncoder, head: nn.Module, easiness: Tensor, batch: Sequence[Tensor], config: ReadingConfig
) -> Tensor:
    assert isinstance(head, _Heads)
    query, task, scores, tokens = batch
    logits, latent = encoder.read(query)
    of_quality, of_length, _ = encoder.features(logits, latent)
    asked, measured = ~torch.isnan(scores), ~torch.isnan(tokens)
    llms = scores.shape[1]
    predicted = of_quality @ head.quality(easiness).T
    loss = functional.binary_cross_entropy_with_logits(predicted[asked], scores[asked])
    loss = loss + config.task_loss * functional.cross_entropy(logits, task)
    loss = loss + config.skill_decay * head.skill.square().sum() / llms
    loss = loss + config.difficulty_decay * (head.difficulty - 0.3).square().sum() / llms
    if measured.any():
        heard = of_length @ head.length().T
        error = heard[measured] - tokens[measured].clamp(min=1.0).log()
        loss = loss + config.length_loss * functional.huber_loss(error, torch.zeros_like(error))
        loss = loss + config.skill_decay * (head.talk - 5.0).square().sum() / llms
    return loss


def refine(reading: Reading, pool: Outcomes, quality: bool) -> None:
    """An LLM's weights as the best ones for the encoder as it has become, in place: stochastic steps leave those of
    small pools behind. Lengths by least squares; `quality`: by Newton's method, drawn towards what was learned.
    """
    weights = reading.weights[pool.name]
    with torch.no_grad():
        query = torch.as_tensor(pool.query).to(reading.encoder.group.device)
        x, talk, _ = (v.double().cpu().numpy() for v in reading.encoder(query))
    for m in range(len(pool.llms)):
        measured = np.isfinite(pool.tokens[:, m])
        if measured.any():
            features, before = talk[measured], weights.length[m].astype(np.float64)
            left = np.log(np.maximum(pool.tokens[measured, m], 1.0)) - features @ before
            gram = features.T @ features + LENGTH_RIDGE * np.eye(features.shape[1])
            weights.length[m] = before + np.linalg.solve(gram, features.T @ left)
        asked = np.isfinite(pool.scores[:, m])
        if quality and asked.any():
            features, before = x[asked], weights.quality[m].astype(np.float64)
            now = before.copy()
            for _ in range(NEWTON_STEPS):
                p = 1 / (1 + np.exp(-np.clip(features @ now, -8, 8)))
                curvature = (features * (p * (1 - p))[:, None]).T @ features + QUALITY_RIDGE * np.eye(len(now))
                slope = features.T @ (pool.scores[asked, m] - p) - QUALITY_RIDGE * (now - before)
                now = now + np.linalg.solve(curvature, slope)
            weights.quality[m] = now


LENGTH_RIDGE, QUALITY_RIDGE, NEWTON_STEPS = 0.5, 2.0, 8


def predict(reading: Reading, pool: Outcomes) -> tuple[Floats, Floats, Floats]:
    """Quality logit [n, M], log tokens [n, M] and task groups [n, T] of a pool's queries."""
    weights = reading.weights[pool.name]
    encoder = reading.encoder
    with torch.no_grad():
        query = torch.as_tensor(pool.query).to(encoder.group.device)
        quality, length, group = (x.cpu().numpy() for x in encoder(query))
    return quality @ weights.quality.T, length @ weights.length.T, group


def cross_fit(
    pools: Sequence[Outcomes], fit: Callable[[Sequence[Outcomes]], Reading], parts: int
) -> Mapping[str, tuple[Floats, Floats, Floats]]:
    """`predict` for every row by an encoder that never saw its fold: folds are dealt into `parts` by their number."""
    made: dict[str, tuple[Floats, Floats, Floats]] = {}
    for part in range(parts):
        reading = fit([pool.only(pool.fold % parts != part) for pool in pools])
        for pool in pools:
            rows = pool.fold % parts == part
            found = predict(reading, pool.only(rows))
            if pool.name not in made:
                made[pool.name] = tuple(np.zeros((len(pool.task), x.shape[1]), np.float32) for x in found)  # type: ignore[assignment]
            for whole, some in zip(made[pool.name], found, strict=True):
                whole[rows] = some
    return made


LENGTH_VARIANCE = 0.25  # of a log length around what is predicted


def laplace(reading: Reading, pool: Outcomes) -> tuple[Doubles, Doubles]:
    """How sure the fitted weights are: precision of quality [M, D, D] and of length [M, L, L] by a pool's outcomes."""
    weights = reading.weights[pool.name]
    with torch.no_grad():
        query = torch.as_tensor(pool.query).to(reading.encoder.group.device)
        quality, length, _ = (x.double().cpu().numpy() for x in reading.encoder(query))
    chance = 1 / (1 + np.exp(-quality @ weights.quality.T))
    asked, measured = np.isfinite(pool.scores), np.isfinite(pool.tokens)
    skill = np.einsum("nk,nm,nl->mkl", quality, asked * chance * (1 - chance), quality, optimize=True)
    talk = np.einsum("nk,nm,nl->mkl", length, measured / LENGTH_VARIANCE, length, optimize=True)
    return skill, talk
