"""The parts of the benchmark beside learning curves: live regret, new LLMs, and quality against dollars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.contestant import Contestant
from personabench.bench.episode import Episode, Setup, make_episode
from personabench.bench.live import OPTIONS, Exploration, Learner, Regret, live, ratio, tune
from personabench.bench.newcomers import OUTCOMES, Joinable, Newcomers, families, hold_out, retention
from personabench.bench.results import Figure, Results
from personabench.heads import HeadsConfig
from personabench.metrics import Gain, interval, tradeoff
from router_model.data.pools import Pool

Floats = NDArray[np.float32]
Factory = Callable[[], Contestant]
Tell = Callable[[str], None]

REQUESTS = 200
Kept = dict[tuple[str, int, int], list[Gain]]
Full = dict[tuple[str, int], list[Gain]]
JOINED_AT = (20, 50)  # requests of a user after which the worth of new LLMs is judged


def live_regret(
    results: Results, setups: Sequence[Setup], pool: Pool, learners: Sequence[tuple[Factory, str]], tell: Tell
) -> None:
    """Regret over 200 requests, exploration tuned on validation users of the first seed."""
    pooled: dict[str, list[Regret]] = {}
    chosen: dict[str, Exploration] = {}
    fixed: list[Floats] = []
    for setup in setups:
        episode = make_episode(setup, pool)
        utility = episode.tests["none"].utility(0)
        fixed.append((utility.max(-1) - utility[..., episode.known.best_single]).mean(1) * REQUESTS)
        for factory, policy in learners:
            learner = factory()
            name = f"{learner.name}, {policy}"
            tell(f"{setup.pool}, {setup.feedback}, seed {setup.seed}: live regret of {name}")
            learner.fit(episode.known)
            assert isinstance(learner, Learner)
            if name not in chosen:
                chosen[name] = tune(episode.validation, learner, OPTIONS[policy](), 10_000 + setup.seed, REQUESTS)
            pooled.setdefault(name, []).append(live(episode.tests["none"], learner, chosen[name], setup.seed, REQUESTS))
    missed_by = {name: np.concatenate([r.by_user for r in regrets]) for name, regrets in pooled.items()}
    for name, regrets in pooled.items():
        for other in (o for o in pooled if o.startswith("LinUCB") and o != name):
            share = ratio(_joined(regrets), _joined(pooled[other]))
            what = f"regret as a share of that of {other}"
            first = setups[0]
            results.figures.append(Figure(first.pool, first.feedback, name, what, share.value, share.low, share.high))
    missed_by["best single"] = np.concatenate(fixed).astype(np.float64)
    for name, missed in missed_by.items():
        weights = np.random.default_rng(0).multinomial(len(missed), np.full(len(missed), 1 / len(missed)), size=500)
        spread = interval(np.concatenate([[missed.mean()], weights @ missed / len(missed)]))
        first = setups[0]
        if name in chosen:
            tell(f"{name}: {chosen[name]}")
        results.figures.append(
            Figure(first.pool, first.feedback, name, "regret over 200 requests", spread.value, spread.low, spread.high)
        )


def _joined(regrets: Sequence[Regret]) -> Regret:
    """Of the users of all seeds."""
    return Regret(np.concatenate([regret.missed for regret in regrets]))


def new_llms(
    results: Results,
    setups: Sequence[Setup],
    pool: Pool,
    factories: Sequence[Factory],
    tell: Tell,
    heads: HeadsConfig | None = None,
    names: Sequence[str] | None = None,
    without: Path | None = None,
    so_far: Callable[[Results], None] = lambda _: None,
) -> None:
    """Gain with a family of LLMs that joined after training, as a share of the gain with it in training.

    `without`: an artifact that never saw the families, to join instead of the one that did.
    """
    kept: Kept = {}
    full: Full = {}
    figures: list[Figure] = []
    for setup in setups:
        for family in names or families(pool):
            tell(f"{setup.pool}, {setup.feedback}, seed {setup.seed}: {family} joins later")
            held = hold_out(setup, pool, family, heads)
            for factory in factories:
                _join(held, factory, kept, full, without)
            figures = _kept(setup, kept, full)
            so_far(Results(results.settings, results.rows, [*results.figures, *figures]))
    results.figures += figures


def _kept(setup: Setup, kept: Kept, full: Full) -> list[Figure]:
    shares = {key: retention(gains, full[key[0], key[2]]) for key, gains in kept.items()}
    return [
        Figure(
            setup.pool,
            setup.feedback,
            name,
            f"gain kept, {k} outcomes, n = {n}",
            share.value,
            share.low,
            share.high,
        )
        for (name, k, n), share in shares.items()
    ]


def _join(
    held: Newcomers,
    factory: Factory,
    kept: dict[tuple[str, int, int], list[Gain]],
    full: dict[tuple[str, int], list[Gain]],
    without: Path | None,
) -> None:
    judgement = held.trained.tests["none"]
    trained = factory()
    if not isinstance(trained, Joinable):
        return
    trained.fit(held.trained.known)

    def measure(contestant: Contestant, n: int) -> Gain:
        utility = judgement.utility(n)
        return judgement.gain(judgement.chosen(contestant, n, utility), utility)

    for n in JOINED_AT:
        full.setdefault((trained.name, n), []).append(measure(trained, n))
    for k in OUTCOMES:
        joined = ArtifactRouter(without) if without and isinstance(trained, ArtifactRouter) else factory()
        joined.fit(held.without.known)
        assert isinstance(joined, Joinable)
        joined.join(held.joined(k))
        for n in JOINED_AT:
            kept.setdefault((trained.name, k, n), []).append(measure(joined, n))


def without_users(results: Results, episode: Episode, artifacts: Sequence[ArtifactRouter]) -> None:
    """Performance gain and cost saving at equal accuracy of quality predictions alone, on the test queries."""
    pool, known, rows = episode.pool, episode.known, episode.tests["none"].rows
    quality, cost = pool.quality[rows], pool.cost_usd()[rows]
    best = int(np.nanmean(known.pool.quality[known.train], 0).argmax())
    sources = [("shared quality heads", known.heads.quality[rows], known.heads.cost_usd[rows])]
    for router in artifacts:
        predicted, _, dollars = router.outcomes(rows)
        sources.append((router.name, predicted, dollars))
    for name, predicted, dollars in sources:
        found = tradeoff(predicted, dollars, quality, cost, best)
        for what, value in (("performance gain", found.performance_gain), ("cost saving", found.cost_saving)):
            results.figures.append(Figure(episode.setup.pool, "outcomes", name, what, value))
