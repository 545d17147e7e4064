"""Runs contestants through episodes and adds up what they gained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personabench.baselines.bandit import PerUserLinear
from personabench.baselines.regression import BestRegression
from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.contestant import Contestant, Informed, Uncertain
from personabench.bench.episode import FLIP_LENGTHS, LENGTHS, Episode, Judgement, Setup, make_episode
from personabench.bench.extras import live_regret, new_llms, without_users
from personabench.bench.results import Figure, Results, Row
from personabench.bench.tally import Kept, Tally
from personabench.heads import HeadsConfig
from personabench.metrics import (
    coverage,
    difference,
    expected_calibration_error,
    interval,
    share_worse_off,
    total,
)
from router_model.data.pools import Pool, load_pool
from router_model.data.population import Shift
from router_model.data.simulation import Feedback

Floats = NDArray[np.float32]

REGRESSION = "the regression"
CALIBRATED_AT = 20  # requests after which calibration is measured

Factory = Callable[[], Contestant]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """Pools, contestants and options of a run."""

    pools: tuple[str, ...]
    data: Path
    feedbacks: tuple[Feedback, ...] = ("dense", "thumbs")
    shifts: tuple[Shift, ...] = ("none",)
    seeds: int = 5
    first: int = 0
    users: int = 1000
    lengths: tuple[int, ...] = LENGTHS
    population: Path | None = None
    heads: HeadsConfig | None = None
    folds: tuple[int, ...] | None = None
    llms: tuple[str, ...] | None = None
    regret: bool = False
    newcomers: bool = False
    newcomer_seeds: int = 2
    families: tuple[str, ...] | None = None
    without: Path | None = None


def run(
    plan: Plan,
    factories: Sequence[Factory],
    tell: Tell = lambda _: None,
    so_far: Callable[[Results], None] = lambda _: None,
    kept: Kept | None = None,
) -> Results:
    """Every contestant on every pool, kind of feedback, shift and seed; `tell` hears of the progress, `so_far` after
    each seed of all that is known by then. Seeds that are `kept` aren't run again.
    """
    settings: dict[str, object] = {name: str(value) for name, value in vars(plan).items() if name != "data"}
    results = Results(settings)
    for name in plan.pools:
        pool = prepared_pool(plan, name)
        for feedback in plan.feedbacks:
            tally = Tally()
            for seed in range(plan.first, plan.first + plan.seeds):
                tally.add(_seed(plan, name, pool, feedback, seed, factories, tell, kept))
                told = Results(settings, [*results.rows], [*results.figures])
                _summarise(told, name, feedback, tally)
                so_far(told)
            _summarise(results, name, feedback, tally)
            setups = [
                Setup(name, feedback, seed, plan.users, plan.lengths)
                for seed in range(plan.first, plan.first + plan.seeds)
            ]
            if plan.regret:
                live_regret(results, setups, pool, learners(factories), tell)
            if plan.newcomers:
                joining = setups[: plan.newcomer_seeds]
                new_llms(results, joining, pool, factories, tell, plan.heads, plan.families, plan.without, so_far)
        if plan.regret or plan.newcomers:
            routers = [made for made in (factory() for factory in factories) if isinstance(made, ArtifactRouter)]
            episode = make_episode(Setup(name, "dense", 0, 100), pool, heads=plan.heads)
            for router in routers:
                router.fit(episode.known)
            without_users(results, episode, routers)
    return results


def _seed(
    plan: Plan,
    name: str,
    pool: Pool,
    feedback: Feedback,
    seed: int,
    factories: Sequence[Factory],
    tell: Tell,
    kept: Kept | None,
) -> Tally:
    """One round of everybody."""
    known = kept.load(name, feedback, seed) if kept else None
    if known is not None:
        return known
    setup = Setup(name, feedback, seed, plan.users, plan.lengths, plan.shifts, plan.population)
    tell(f"{name}, {feedback}, seed {seed}: users and their log")
    episode, tally = make_episode(setup, pool, heads=plan.heads), Tally()
    for factory in factories:
        _compete(episode, factory(), tally, tell)
    if kept:
        kept.save(name, feedback, seed, tally)
    return tally


def learners(factories: Sequence[Factory]) -> list[tuple[Factory, str]]:
    """A contestant that plays live, and its exploration."""
    chosen: list[tuple[Factory, str]] = []
    for factory in factories:
        made = factory()
        if isinstance(made, ArtifactRouter):
            chosen += [(factory, "thompson"), (factory, "inverse gap")]
        elif isinstance(made, PerUserLinear):
            chosen += [(factory, "ucb"), (factory, "thompson")]
        elif isinstance(made, BestRegression):
            chosen.append((factory, "thompson"))
    return chosen


def prepared_pool(plan: Plan, name: str) -> Pool:
    """The pool with the plan's LLMs. Raises `ValueError` for LLMs that it doesn't hold."""
    pool = load_pool(name, plan.data)
    if plan.llms is not None:
        missing = set(plan.llms) - set(pool.names)
        if missing:
            raise ValueError(f"{name} has no {', '.join(sorted(missing))}; it has {', '.join(pool.names)}")
        pool = pool.select_llms([pool.names.index(llm) for llm in plan.llms])
    if plan.folds is not None:
        pool = replace(pool, test_folds=plan.folds)
    return pool


def lengths_for(shift: Shift, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Where tastes flip, what happens right before and after is what counts."""
    return tuple(n for n in FLIP_LENGTHS if n <= max(lengths)) if shift == "flip" else lengths


def _compete(episode: Episode, contestant: Contestant, tally: Tally, tell: Tell) -> None:
    setup = episode.setup
    tell(f"{setup.pool}, {setup.feedback}, seed {setup.seed}: {contestant.name}")
    start = time.process_time()
    if isinstance(contestant, Informed):
        contestant.tell(episode.population, episode.pool)
    contestant.fit(episode.known)
    name = contestant.name
    tally.kinds[name] = contestant.kind
    tally.other[name, "seconds to fit"].append(time.process_time() - start)
    for shift, judgement in episode.tests.items():
        if shift != "none" and isinstance(contestant, Informed):
            contestant.tell(judgement.population, episode.pool)
            contestant.fit(episode.known)
        for n in lengths_for(shift, setup.lengths):
            utility = judgement.utility(n)
            chosen = judgement.chosen(contestant, n, utility)
            tally.gains[shift, name, n].append(judgement.gain(chosen, utility))
            single = utility[..., judgement.best_single]
            tally.worse[shift, name, n].append(share_worse_off(chosen, single, judgement.counted))
    # a thumb's scale is another one than that of utilities
    if isinstance(contestant, Uncertain) and setup.feedback == "dense" and "none" in episode.tests:
        calibration = calibrate(contestant, episode.tests["none"])
        for what, value in calibration.items():
            tally.other[name, what].append(value)


def calibrate(contestant: Contestant, judgement: Judgement) -> dict[str, float]:
    """ECE of the expected reward, and how often the user's mean opinion of an LLM lies in its 90 % interval.

    Two kinds of doubt are apart: `std` is about the user, so it is held against what the user's tastes make of the
    outcomes that an LLM is predicted to have; the luck of a single answer isn't part of it.
    """
    assert isinstance(contestant, Uncertain)
    n = min(CALIBRATED_AT, judgement.history.query.shape[1])
    history = judgement.history.first(n)
    mean, std = contestant.scores(judgement.rows, history), contestant.deviations(judgement.rows, history)
    utility = np.clip(judgement.utility(n), -1, 1)
    counted = np.broadcast_to(judgement.counted[..., None], utility.shape)
    weights = judgement.counted[..., None] / judgement.counted.sum(1)[:, None, None]
    per_llm = [(x * weights).sum(1) for x in (mean, std, utility)]
    ece = expected_calibration_error(mean[counted], utility[counted])
    return {"ECE": ece, "coverage of 90 %": coverage(per_llm[0], per_llm[1], per_llm[2], 0.9)}


def _summarise(results: Results, pool: str, feedback: Feedback, tally: Tally) -> None:
    for (shift, name, n), gains in tally.gains.items():
        reference = tally.gains.get((shift, REGRESSION, n))
        over = difference(gains, reference) if reference and name != REGRESSION else None
        worse = float(np.mean(tally.worse[shift, name, n]))
        gap = interval(total(gains).gap_closed)
        results.rows.append(Row(pool, feedback, shift, name, tally.kinds[name], n, gap, over, worse, seeds=len(gains)))
    for (name, what), values in tally.other.items():
        results.figures.append(Figure(pool, feedback, name, what, float(np.mean(values))))
