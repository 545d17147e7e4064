"""Learns from a log: how rewards speak, how right predictions are, what people like, what is known of LLMs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router_model.network import Router
from router_model.priors.people import without_people
from router_model.retrain.judgement import evenly
from router_model.retrain.logbook import Logbook
from router_model.retrain.options import Options, RetrainError, Watch
from router_model.retrain.refit import (
    ENOUGH_USERS,
    ROUNDS,
    KindReading,
    as_popular,
    beliefs,
    calibrate_on_judged,
    copy_of,
    fit_prior,
    fit_readings,
    learn_tenant,
    llm_evidence,
    prior_of,
    readings_of,
)
from router_model.retrain.replay import Ints, Model, answers_of
from router_model.retrain.runner import TorchRunner, llm_states
from router_model.retrain.spread import write_possible
from router_model.retrain.start import Base, Prepared


@dataclass
class Fitted:
    """Result of `fit`."""

    router: Router
    population: dict[str, np.ndarray]
    evidence_before: np.ndarray
    """[M, V], base and log, as the base hears it: what the current artifact knows of LLMs by now."""
    evidence: np.ndarray
    """[M, V], as the new one hears it."""
    readings: tuple[list[KindReading], list[KindReading]]
    quality: tuple[float, float, int]
    prior_users: int
    narrowed: float | None
    """What the prior over tastes was narrowed to, see `spread`; None where it was not."""


def fit(
    log: Logbook, base: Base, prepared: Prepared, fade: float, judging: np.ndarray, options: Options, watch: Watch
) -> Fitted:
    """Learns from the users that are not kept for judging; see `refit`."""
    generator = np.random.default_rng(options.seed)
    router = copy_of(base.router)
    users, counts = np.unique(log.edges.only(~judging[log.edges.user]).user, return_counts=True)
    if (counts >= 3).sum() >= ENOUGH_USERS:  # their own prior says more than a choice of others'
        router = without_people(router)
    runner, memory = TorchRunner(router), router.sizes.memory(fade)
    taught = log.edges.only(~judging[log.edges.user])
    if len(taught) == 0:
        raise RetrainError("no rewards to learn from: only held-out users have rated an answer")
    newest = taught.only(np.sort(np.argsort(taught.ts, kind="stable")[-options.evidence_edges :]))

    def evidence_by(z: np.ndarray, name: str) -> np.ndarray:
        added = llm_evidence(Model(runner, z, memory), log, newest, lambda a, b: watch(name, a, b))
        return prepared.base_evidence + added

    first = evidence_by(llm_states(runner, prepared.inputs, prepared.base_evidence), "evidence on LLMs")
    model = Model(runner, llm_states(runner, prepared.inputs, first), memory)
    before = readings_of(router)
    believed = beliefs(
        router,
        model,
        log,
        _answers(log, _some(users, options.reading_users, generator), options.reading_answers, generator),
        lambda a, b: watch("how rewards speak", a, b),
    )
    readings = fit_readings(router, log, taught, believed)
    quality = calibrate_on_judged(router, log, taught, believed)
    teachers = _some(users[counts >= 3], options.prior_users, generator)
    evidence, old, narrowed = first, prior_of(router), None
    for _ in range(ROUNDS if len(teachers) >= ENOUGH_USERS else 1):
        if len(teachers):
            made = fit_prior(router, model, log, teachers, old, lambda a, b: watch("tastes", a, b))
            narrowed = write_possible(router, made, model, log, teachers, options)
        # What is usual, and so what a reward says of an LLM, depends on the prior: once more.
        evidence = evidence_by(model.z, "evidence on LLMs, again")
        model = Model(runner, llm_states(runner, prepared.inputs, evidence), memory)
    if router.sizes.people and len(teachers):
        learn_tenant(router, model, log, teachers)
        evidence = as_popular(router, prepared.base_evidence, evidence)
    population = dict(base.population) | dict(zip(prepared.keys, evidence.astype(np.float32), strict=True))
    return Fitted(router, population, first, evidence, (before, readings), quality, len(teachers), narrowed)


def _answers(log: Logbook, users: Ints, most: int, generator: np.random.Generator) -> Ints:
    """Rewarded answers of some users, at most so many."""
    answers = answers_of(log, users)
    return answers[evenly(log.decisions.user[log.answers.decision[answers]].astype(np.int64), most, generator)]


def _some(users: Ints, most: int, generator: np.random.Generator) -> Ints:
    return np.sort(generator.permutation(users)[:most])
