"""Training, end to end: outcomes -> encoder -> LLM node -> user node -> calibration. One seed, one config, resumable.

Stages are saved as they end, under a hash of the configuration; a run that was cut off goes on from the last one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router_model.data.ability import AbilitySpec, VerbositySpec
from router_model.data.cards import card_for, card_matrix
from router_model.data.pools import ASSUMED_COMPLETION_TOKENS, LICENCES, Pool, load_pool, sparse_pool
from router_model.data.population import TRAIN, simulate
from router_model.data.simulation import simulate_log
from router_model.embedding import StaticEmbedder
from router_model.network import Router, Sizes
from router_model.places import HOME
from router_model.priors.llm import KnownLlms, fit_card_prior
from router_model.priors.people import with_people
from router_model.priors.prior import (
    CARD_FEATURES,
    LOG_TOKENS,
    LOG_TOKENS_AT_MEAN,
    ability_specs,
    believe_cards,
    believe_people,
    believe_rewards,
    believed_slopes,
    value_column,
    wide_prior,
)
from router_model.priors.talk import fit_talk_prior
from router_model.priors.user import Blocks, MixturePrior, fit_mixture, posterior_means, spread_start, write_prior
from router_model.train.people import Expected, rating_evidence
from router_model.train.reading import (
    Outcomes,
    Reading,
    ReadingConfig,
    cross_fit,
    fit_reading,
    laplace,
    predict,
    refine,
)
from router_model.train.tools import fit_tools

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
USUAL = 4  # questions of each pool on which a gateway decides who is everybody's favourite


class SizeConfig(BaseModel):
    """Sizes that data doesn't decide."""

    model_config = ConfigDict(extra="forbid")

    hidden: int = 128
    difficulties: int = 8
    verbosities: int = 4
    provider_code: int = 8
    name_code: int = 24
    components: int = 4


class ReadingSettings(BaseModel):
    """How the reading of queries is trained: the fields of `ReadingConfig` that a configuration may set."""

    model_config = ConfigDict(extra="forbid")

    epochs: int = 40
    batch: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 0.2
    dropout: tuple[float, float] = (0.5, 0.5)


class PeopleSettings(BaseModel):
    """Simulated users for the prior."""

    model_config = ConfigDict(extra="forbid")

    pools: list[str] = ["zeroeval", "llmrouter"]
    users: int = 1000
    requests: int = 100
    iterations: int = 10


class Rate(BaseModel):
    """A task of which only each LLM's mean is known: `field` of the `llms.json` of a pool, a share."""

    model_config = ConfigDict(extra="forbid")

    pool: str
    field: str
    card: list[str] = []
    """Fields of the card that it may hang on, beside ability."""


class TrainConfig(BaseModel):
    """A file in `configs/`."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    device: str = "cpu"
    data: Path = Path("data")
    embedder: Path = Path("embedders/static-2")
    pools: list[str]
    """Complete grids of outcomes; their LLMs are the artifact's `population` and the kin of others."""
    more: list[str] = Field(default_factory=list)
    """Further outcomes, lengths or texts of tasks, where not every LLM has answered every query."""
    curves: dict[str, list[str]] = Field(default_factory=dict)
    """Tasks that no outcomes teach, and the public figures that their offset and gain in ability come from."""
    rates: dict[str, Rate] = Field(default_factory=dict)
    """Tasks that LLMs' means alone teach."""
    agents: list[str] = Field(default_factory=list)
    """Tasks that are agents' work where a request brings tools; the first is what they are read as then."""
    train_folds: list[int] = [0, 1, 2, 3, 4, 5, 6]
    validation_folds: list[int] = [7]
    most_rows: dict[str, int] = Field(default_factory=dict)
    """At most so many queries of a pool, so that a large one doesn't drown the rest."""
    cross_fit: int = 4
    task_groups: dict[str, list[str]]
    sizes: SizeConfig = SizeConfig()
    reading: ReadingSettings = ReadingSettings()
    people: PeopleSettings = PeopleSettings()
    forget: float = 1.0
    """Factor on a user's older rewards when a new one comes."""
    hold_out: list[str] = Field(default_factory=list)
    """LLMs, or makers of LLMs, that training never sees."""

    @staticmethod
    def load(path: Path) -> TrainConfig:
        """Reads a YAML file; relative paths in it start at the package's project folder."""
        made = TrainConfig.model_validate(yaml.safe_load(path.read_text()))
        return made.model_copy(update={"data": HOME / made.data, "embedder": HOME / made.embedder})

    def digest(self) -> str:
        """Names a run."""
        return hashlib.sha256(self.model_dump_json(exclude={"forget", "agents"}).encode()).hexdigest()[:12]


@dataclass
class Trained:
    """Result of training."""

    router: Router
    embedder: StaticEmbedder
    population: dict[str, Floats]
    """Evidence [V] of each training LLM."""
    sources: dict[str, str]
    """Data and licence."""
    usual: Floats | None = None
    """Embeddings [n, E] of usual questions, some of each pool."""
    metrics: dict[str, Any] = field(default_factory=dict)
    made: str = ""
    """Commands that made it of another artifact, and that one, for its card; empty: training alone."""
    tools: Floats | None = None
    """What tools add to a query's embedding [E]; None: nothing."""
    card_reading: tuple[AbilitySpec, VerbositySpec] | None = None
    """By what figures of cards its LLM node was learned; None: by this package's."""


class Stages:
    """Results of finished stages in a folder; None = keep nothing."""

    def __init__(self, folder: Path | None) -> None:
        """Keeps results in `folder`."""
        self.folder = folder

    def run(self, name: str, make: Callable[[], Any]) -> Any:
        """The stage's result, from the folder where it is there and of this package."""
        path = None if self.folder is None else self.folder / f"{name}.pt"
        if path is not None and path.is_file():
            with contextlib.suppress(AttributeError, ModuleNotFoundError):  # kept by an older one: made anew
                return torch.load(path, weights_only=False)
        made = make()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".part")
            torch.save(made, temporary)
            temporary.replace(path)
        return made


def train(config: TrainConfig, runs: Path | None = None, quiet: bool = False) -> Trained:
    """Trains a router; with `runs`, finished stages are kept in `runs/<digest of the config>` and not done again."""
    torch.manual_seed(config.seed)
    stages = Stages(None if runs is None else runs / config.digest())
    embedder = StaticEmbedder.load(config.embedder)
    tasks, group = task_groups(config)
    sizes = Sizes(
        query=embedder.dim,
        card=2 * len(CARD_FEATURES),
        known_tasks=len(tasks),
        tasks=group.shape[1],
        **config.sizes.model_dump(),
    )
    pools = pools_of(config)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=quiet, transient=False) as progress:
        embed = progress.add_task("embed queries", total=len(pools))
        outcomes = {}
        for name, pool in pools.items():
            outcomes[name] = outcomes_of(pool, embedder, tasks)
            progress.advance(embed)
        known = {name: o.only(np.isin(o.fold, config.train_folds)) for name, o in outcomes.items()}
        read = progress.add_task("read queries", total=(config.cross_fit + 1) * config.reading.epochs)

        def fit(some: Sequence[Outcomes]) -> Reading:
            capped = [cap(o, config.most_rows.get(o.name, len(o.task)), config.seed) for o in some]
            return fit_reading(
                capped,
                sizes,
                group,
                ReadingConfig(**config.reading.model_dump(), aside=tuple(config.more)),
                config.seed,
                torch.device(config.device),
                lambda _done, _all: progress.advance(read),
            )

        reading: Reading = stages.run("reading", lambda: fit(list(known.values())))
        crossed = stages.run("cross", lambda: cross_fit(list(known.values()), fit, config.cross_fit))
        for name, o in known.items():
            refine(reading, o, quality=name not in config.pools)
        progress.update(read, completed=(config.cross_fit + 1) * config.reading.epochs)

        router = Router(sizes)
        router.encoder.load_state_dict(reading.encoder.state_dict())
        believe_cards(router)
        believe_rewards(router)
        believe_people(router)
        population = fit_llm_node(router, reading, known, pools, embedder, config)
        calibrate_on_folds(router, reading, outcomes, config)

        people = progress.add_task("learn people", total=2 * config.people.iterations)
        expected = {
            name: expected_of(pools[name], outcomes[name], reading, crossed, config, sizes)
            for name in config.people.pools
            if name in pools
        }
        prior: MixturePrior = stages.run(
            "people", lambda: learn_people(router, expected, pools, outcomes, config, lambda: progress.advance(people))
        )
        progress.update(people, completed=2 * config.people.iterations)
        write_prior(router.user_node, prior)
        router = with_people(router)
    sources = {name: LICENCES[name] for name in pools if name in LICENCES}
    tools = tools_of(router, pools, embedder, config)
    return Trained(router.eval(), embedder, population, sources, usual_questions(outcomes, config), tools=tools)


def tools_of(router: Router, pools: Mapping[str, Pool], embedder: StaticEmbedder, config: TrainConfig) -> Floats | None:
    """What tools add to a query's embedding [E], for a router's reading."""
    if not config.agents:
        return None
    tasks, _ = task_groups(config)
    agents = tuple(config.agents)
    return fit_tools(router.encoder, pools, embedder, tasks, agents, config.train_folds, config.seed)


def pools_of(config: TrainConfig) -> dict[str, Pool]:
    """All that a configuration trains on, by name. Raises `DataError`."""
    pools = {name: held_in(load_pool(name, config.data), config.hold_out) for name in config.pools}
    return pools | {name: held_in(sparse_pool(name, config.data), config.hold_out) for name in config.more}


def usual_questions(outcomes: Mapping[str, Outcomes], config: TrainConfig) -> Floats:
    """Embeddings [n, E] of some questions of each pool."""
    return np.concatenate([o.query[np.isin(o.fold, config.train_folds)][:USUAL] for o in outcomes.values()])


def task_groups(config: TrainConfig) -> tuple[list[str], Floats]:
    """Known tasks, and which group each is in [known tasks, T]."""
    tasks = [task for group in config.task_groups.values() for task in group]
    group = np.zeros((len(tasks), len(config.task_groups)), dtype=np.float32)
    for column, members in enumerate(config.task_groups.values()):
        for task in members:
            group[tasks.index(task), column] = 1.0
    return tasks, group


def held_in(pool: Pool, hold_out: Sequence[str]) -> Pool:
    """A pool without some LLMs, given by name or by maker."""
    out = set(hold_out)
    return pool.select_llms([i for i, card in enumerate(pool.cards) if not {card.name, card.vendor} & out])


def outcomes_of(pool: Pool, embedder: StaticEmbedder, tasks: Sequence[str]) -> Outcomes:
    """Raises `ValueError` for a task that the configuration puts in no group."""
    unknown = sorted(set(pool.task.tolist()) - set(tasks))
    if unknown:
        raise ValueError(f"{pool.name}: tasks in no group of the configuration: {', '.join(unknown)}")
    tokens = pool.completion_tokens
    if not np.isfinite(tokens).any() and np.isfinite(pool.quality).all():
        tokens = np.full_like(tokens, ASSUMED_COMPLETION_TOKENS)
    index = np.array([tasks.index(task) for task in pool.task.tolist()], dtype=np.int64)
    query = embedder.embed(pool.queries)
    return Outcomes(pool.name, query, pool.prompt_tokens, index, pool.fold, pool.names, pool.quality, tokens)


def cap(outcomes: Outcomes, rows: int, seed: int) -> Outcomes:
    """At most so many queries, drawn by seed."""
    if len(outcomes.task) <= rows:
        return outcomes
    kept = np.zeros(len(outcomes.task), dtype=np.bool_)
    kept[np.random.default_rng(seed).permutation(len(kept))[:rows]] = True
    return outcomes.only(kept)


def fit_llm_node(
    router: Router,
    reading: Reading,
    known: dict[str, Outcomes],
    pools: dict[str, Pool],
    embedder: StaticEmbedder,
    config: TrainConfig,
) -> dict[str, Floats]:
    """Learns what cards say, writes it into the router, and returns the evidence [V] of each LLM of `config.pools`."""
    sizes, node = router.sizes, router.llm_node
    cards = [card for name in known for card in pools[name].cards]
    many = [len(pools[name].cards) for name in known]
    native = np.repeat([name in config.pools for name in known], many)
    # an assumed length says nothing of how much an LLM writes
    measured = np.repeat([bool(np.isfinite(pools[name].completion_tokens).any()) for name in known], many)
    card = card_matrix(cards, CARD_FEATURES, *ability_specs())
    text = embedder.embed([c.text for c in cards])
    mask = np.zeros(embedder.dim, dtype=np.float32)
    mask[: embedder.spec.columns] = 1.0
    meaning = text * mask
    meaning = meaning / np.maximum(np.linalg.norm(meaning, axis=1, keepdims=True), 1e-9)
    found = [laplace(reading, o) for o in known.values()]
    tasks, _ = task_groups(config)
    parts = []
    for number, (skill, belief) in enumerate((("quality", node.quality), ("length", node.length))):
        weights = np.concatenate([getattr(reading.weights[name], skill) for name in known]).astype(np.float64)
        precision = np.concatenate([f[number] for f in found])
        taught = np.trace(precision, axis1=1, axis2=2) > 0
        if skill == "length":
            taught &= measured
        llms = KnownLlms(
            card[taught].astype(np.float64),
            meaning[taught].astype(np.float64),
            weights[taught],
            precision[taught],
            card[taught, value_column("ability_sd")].astype(np.float64),
        )
        if skill == "quality":
            gain = np.concatenate([np.ones(sizes.known_tasks), np.zeros(sizes.difficulties)])
            prior = fit_card_prior(llms, believed_slopes(), gain, slope_ridge=1e6, related=native[taught])
            for task, figures in config.curves.items():
                at = tasks.index(task)
                prior.offset[at], prior.gain[at], prior.own[at] = curve(figures)
            for task, rate in config.rates.items():
                at = tasks.index(task)
                prior.offset[at], prior.gain[at], prior.own[at] = fit_rate(rate, config)
            prior.write(belief, mask)
        else:
            columns = tuple(value_column(field) for field in ("log_verbosity", "thinking"))
            believed = (LOG_TOKENS["log_verbosity"], 0.2)
            fit_talk_prior(llms, columns, believed, sizes.known_tasks, LOG_TOKENS_AT_MEAN).write(belief)
        with torch.no_grad():
            mean = belief.prior_mean(torch.as_tensor(card), torch.as_tensor(text)).double().numpy()
            base = belief.prior_precision(torch.as_tensor(card)).numpy()
        # evidence whose posterior mean is the fitted weights
        pull = np.einsum("mkl,ml->mk", precision + base, weights - mean)
        information = np.einsum("mkl,ml->mk", precision, mean) + pull
        upper = np.triu_indices(belief.features)
        parts += [precision[:, upper[0], upper[1]], information]
    parts.append(np.zeros((len(cards), 2)))  # popularity is for a deployment's own users to say
    evidence = np.concatenate(parts, 1).astype(np.float32)
    return {c.name: row for c, row, own in zip(cards, evidence, native, strict=True) if own}


def curve(figures: Sequence[str]) -> tuple[float, float, Doubles]:
    """Offset, gain in ability and slopes [F] in a card's aspects of a task whose answers are judged as these public
    figures are: their means.
    """
    spec, _ = ability_specs()
    chosen = [figure for figure in spec.figures if figure.field in figures]
    own = np.zeros(2 * len(CARD_FEATURES))
    for name, aspect in spec.aspects.items():
        own[value_column(name)] = np.mean([aspect.figures.get(figure.field, 0.0) for figure in chosen])
    return float(np.mean([f.offset for f in chosen])), float(np.mean([f.load for f in chosen])), own


RATE_RIDGE = 3.0  # LLMs' worth of belief that nothing but ability counts


def fit_rate(rate: Rate, config: TrainConfig) -> tuple[float, float, Doubles]:
    """As `curve`, from LLMs' means: ridge regression of their log-odds on ability and some fields of the card."""
    entries = json.loads((config.data / rate.pool / "llms.json").read_text(encoding="utf-8"))
    rows = [(card_for(row), float(row[rate.field])) for row in entries if row.get(rate.field) is not None]
    out = set(config.hold_out)
    rows = [(card, y) for card, y in rows if card.ability is not None and not {card.name, card.vendor} & out]
    columns = [value_column(field) for field in ("ability", *rate.card)]
    x = card_matrix([card for card, _ in rows], CARD_FEATURES, *ability_specs()).astype(np.float64)[:, columns]
    share = np.clip([y for _, y in rows], 0.02, 0.98)
    design = np.concatenate([np.ones((len(x), 1)), x], 1)
    ridge = np.diag([0.0, *[RATE_RIDGE] * len(columns)])
    solved = np.linalg.solve(design.T @ design + ridge, design.T @ np.log(share / (1 - share)))
    own = np.zeros(2 * len(CARD_FEATURES))
    own[columns[1:]] = solved[2:]
    return float(solved[0]), float(solved[1]), own


def calibrate_on_folds(router: Router, reading: Reading, outcomes: dict[str, Outcomes], config: TrainConfig) -> None:
    """Fits scale and shift of the quality logit on validation folds (Platt scaling)."""
    logits, scores = [], []
    for o in outcomes.values():
        unseen = o.only(np.isin(o.fold, config.validation_folds))
        if len(unseen.task) and o.name in config.pools:
            # a pool counts by its queries, not by how many LLMs answered each
            logits.append(predict(reading, unseen)[0].mean(1))
            scores.append(unseen.scores.mean(1))
    if not logits:
        return
    x, y = (torch.as_tensor(np.concatenate(v)) for v in (logits, scores))
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([scale, shift], max_iter=50)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scale * x + shift, y)
        loss = loss + 0.1 * ((scale - 1).square() + shift.square()).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        router.features.quality_scale.copy_(scale)
        router.features.quality_shift.copy_(shift)


def expected_of(
    pool: Pool,
    outcomes: Outcomes,
    reading: Reading,
    crossed: dict[str, tuple[Floats, Floats, Floats]],
    config: TrainConfig,
    sizes: Sizes,
) -> Expected:
    """Cross-fitted predictions on train folds, the final encoder's elsewhere."""
    logit, log_tokens, task = (x.copy() for x in predict(reading, outcomes))
    seen = np.isin(outcomes.fold, config.train_folds)
    logit[seen], log_tokens[seen], task[seen] = crossed[pool.name]
    return Expected.of(pool, logit, log_tokens, task, sizes)


def learn_people(
    router: Router,
    expected: dict[str, Expected],
    pools: dict[str, Pool],
    outcomes: dict[str, Outcomes],
    config: TrainConfig,
    advance: Callable[[], None],
) -> MixturePrior:
    """The prior over preference weights from simulated training users, who are the same people on every pool."""
    settings, sizes = config.people, router.sizes
    people = simulate(config.seed, settings.users)
    users = int((people.split == TRAIN).sum())
    precision = np.zeros((users, sizes.user, sizes.user))
    information = np.zeros((users, sizes.user))
    for name, values in expected.items():
        query = outcomes[name].query
        features = np.concatenate([np.ones((len(query), 1), dtype=np.float32), query], 1)
        log = simulate_log(people, pools[name], features, "dense", config.seed, settings.requests)
        more = rating_evidence(router.features, values, log.train)
        precision += more[0]
        information += more[1]
    step = lambda _done, _all: advance()  # noqa: E731
    one, _ = fit_mixture(precision, information, wide_prior(sizes), sizes, settings.iterations, progress=step)
    if config.sizes.components == 1:
        return one
    weights = posterior_means(precision, information, one)
    start = spread_start(one, weights, config.sizes.components, Blocks.of(sizes), config.seed)
    many, _ = fit_mixture(precision, information, start, sizes, settings.iterations, progress=step)
    return many


def report(trained: Trained) -> str:
    """Metrics as JSON."""
    return json.dumps(trained.metrics, indent=2)
