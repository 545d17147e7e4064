"""The contestants by name, with settings that were tuned on validation users and folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from personabench.baselines import simple
from personabench.baselines.bandit import PerUserLinear
from personabench.baselines.factorisation import factorisation_fitter
from personabench.baselines.gmt_router import GmtRouter
from personabench.baselines.graph_router import GraphRouter
from personabench.baselines.personalized_router import PersonalizedRouter
from personabench.baselines.population_taste import NonPersonal, cluster_fitter, multi_layer, nearest_neighbours
from personabench.baselines.regression import BestRegression, Regression
from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.borrowed_heads import BorrowedExact, BorrowedHeads, BorrowedPopulation, BorrowedTastes
from personabench.bench.contestant import Contestant
from personabench.bench.retrained_router import RetrainedRouter
from personabench.bench.run import Factory
from personabench.bench.variants import VARIANTS

CONTESTANTS: Mapping[str, Factory] = {
    "random": simple.Random,
    "cheapest": simple.Cheapest,
    "best-single": simple.BestSingle,
    "best-per-task": simple.BestPerTask,
    "quality-heads": partial(NonPersonal, "shared quality heads"),
    "neighbours": lambda: NonPersonal("k-nearest neighbours", nearest_neighbours()),
    "clusters": lambda: NonPersonal("clusters (Avengers-Pro)", cluster_fitter()),
    "factorisation": lambda: NonPersonal("matrix factorisation (RouteLLM)", factorisation_fitter()),
    "network": lambda: NonPersonal("multi-layer network", multi_layer()),
    "graph-router": GraphRouter,
    "personalized-router-released": partial(PersonalizedRouter, personal=False),
    "personalized-router": PersonalizedRouter,
    "gmt-router": GmtRouter,
    "linucb": PerUserLinear,
    "regression-gaussian": partial(Regression, VARIANTS[0]),
    "regression-mixture": partial(Regression, VARIANTS[1]),
    "regression-logistic": partial(Regression, VARIANTS[5]),
    "regression": partial(BestRegression, VARIANTS),
    "hindsight": simple.BestSingleInHindsight,
    "true-population": simple.TruePopulation,
    "true-tastes": simple.TrueTastes,
}
QUICK = ("random", "cheapest", "best-single", "regression-gaussian", "regression", "true-population", "true-tastes")


# The same with the quality, length and cost that the artifact predicts; itself with `router.risk`, with
# a baseline, too, and after `retrain`.
BORROWED: Mapping[str, Callable[[Path], Contestant]] = {
    "regression-graph-heads": BorrowedHeads,
    "true-population-graph-heads": BorrowedPopulation,
    "exact-population-graph-heads": BorrowedExact,
    "true-tastes-graph-heads": BorrowedTastes,
    "careful": lambda path: ArtifactRouter(path, "graph router, risk .2", risk=0.2),
    "careful-baseline": lambda path: ArtifactRouter(
        path, "graph router, risk .2, baseline named", risk=0.2, baseline=True
    ),
    "very-careful-baseline": lambda path: ArtifactRouter(
        path, "graph router, risk .1, baseline named", risk=0.1, baseline=True
    ),
    "graph-retrained": RetrainedRouter,
}


def contestants(names: Sequence[str] | None, artifacts: Sequence[Path]) -> list[Factory]:
    """Factories of the named contestants (all by default) and of each artifact.

    Raises `ValueError` for an unknown name, and for one that borrows from the artifact where there isn't just one.
    """
    borrowing = list(BORROWED) if len(artifacts) == 1 else []
    chosen = [*CONTESTANTS, *borrowing] if names is None else list(names)
    unknown = [name for name in chosen if name not in CONTESTANTS and name not in borrowing]
    if unknown:
        raise ValueError(f"no contestant {', '.join(unknown)}; there are {', '.join([*CONTESTANTS, *borrowing])}")
    graphs: list[Factory] = [
        partial(ArtifactRouter, path, "graph router" if len(artifacts) == 1 else f"graph router {path.name}")
        for path in artifacts
    ]
    others = (CONTESTANTS[n] if n in CONTESTANTS else partial(BORROWED[n], artifacts[0]) for n in chosen)
    return [*graphs, *others]
