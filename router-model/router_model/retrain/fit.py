"""Learns from a log: how rewards speak, how right predictions are, what people like, what is known of LLMs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router_model.network import Router
from router_model.priors.people import without_people
from router_model.priors.user import write_prior
from router_model.retrain.judgement import evenly
from router_model.retrain.logbook import Logbook
from router_model.retrain.options import Options, RetrainError, Watch
from router_model.retrain.refit import (
    ENOUGH_USERS,
    ROUNDS,
    KindReading,
    beliefs,
    calibrate_on_judged,
    copy_of,
    fit_prior,
    fit_readings,
    llm_evidence,
    prior_of,
    readings_of,
    tenants_of,
)
from router_model.retrain.replay import Ints, Model, answers_of
from router_model.retrain.runner import TorchRunner, llm_states
from router_model.retrain.start import Base, Prepared
from router_model.retrain.tenant import learn_tenant, usual_shares

OF_A_TENANT = 200
"""Users at most who tell how frequent kinds of people are at their tenant."""


@dataclass
class Fitted:
    """Result of `fit`."""

    router: Router
    population: dict[str, np.ndarray]
    evidence_before: np.ndarray
    """[M, V], base and log, as the base hears it: what the gateway knows of LLMs by now, with the current artifact."""
    evidence: np.ndarray
    """[M, V], as the new one hears it."""
    readings: tuple[list[KindReading], list[KindReading]]
    quality: tuple[float, float, int]
    prior_users: int


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

    def knowing(evidence: np.ndarray) -> Model:
        return Model(runner, llm_states(runner, prepared.inputs, evidence), memory)

    heard = llm_evidence(knowing(prepared.base_evidence), log, newest, lambda a, b: watch("evidence on LLMs", a, b))
    everybody = prepared.base_evidence + heard.total
    tellers = _tellers(log, users[counts >= 3], options)
    usual = usual_shares(base.router, knowing(everybody), log, tellers)
    by_base = prepared.base_evidence + heard.of_usual(usual)
    before_it = by_base if base.of_kinds else everybody
    first = by_base if router.sizes.people else everybody
    model = knowing(first)
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
    evidence, old = first, prior_of(router)
    for _ in range(ROUNDS if len(teachers) >= ENOUGH_USERS else 1):
        if len(teachers):
            made = fit_prior(router, model, log, teachers, old, lambda a, b: watch("tastes", a, b))
            write_prior(router.user_node, made)
        # What is usual, and so what a reward says of an LLM, depends on the prior: once more.
        heard = llm_evidence(model, log, newest, lambda a, b: watch("evidence on LLMs, again", a, b))
        evidence = prepared.base_evidence + heard.of_usual(usual_shares(router, model, log, tellers))
        model = knowing(evidence)
    if router.sizes.people and len(teachers):
        learn_tenant(router, model, log, teachers)
    population = dict(base.population) | dict(zip(prepared.keys, evidence.astype(np.float32), strict=True))
    return Fitted(router, population, before_it, evidence, (before, readings), quality, len(teachers))


def _answers(log: Logbook, users: Ints, most: int, generator: np.random.Generator) -> Ints:
    """Rewarded answers of some users, at most so many."""
    answers = answers_of(log, users)
    return answers[evenly(log.decisions.user[log.answers.decision[answers]].astype(np.int64), most, generator)]


def _tellers(log: Logbook, users: Ints, options: Options) -> Ints:
    """Some users of each tenant: by then what they tell of it is as good as certain."""
    names, tenant = tenants_of(log)
    most = min(options.prior_users, OF_A_TENANT * len(names))
    return users[evenly(tenant[users], most, np.random.default_rng(options.seed))]


def _some(users: Ints, most: int, generator: np.random.Generator) -> Ints:
    return np.sort(generator.permutation(users)[:most])
