"""The new model against the current one on users whose rewards taught neither: values, calibration, latency."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router_model.export.artifact import Artifact
from router_model.kinds import KINDS, TWO_SIDED
from router_model.retrain.logbook import Logbook
from router_model.retrain.ope import (
    Estimate,
    PropensityCheck,
    Sample,
    Terms,
    check_propensities,
    difference,
    dr,
    estimate,
    ips,
    snips,
)
from router_model.retrain.ope.estimators import importance, on_policy
from router_model.retrain.plausible import Extremes
from router_model.retrain.policy import Gamma, greedy, inverse_gap
from router_model.retrain.record import REASONS
from router_model.retrain.refit import KindReading
from router_model.retrain.replay import Doubles, Ints, Replay

FREE = [REASONS.index(reason) for reason in ("personal", "cold_start", "explore")]
VALUE_KINDS = tuple(KINDS[kind] for kind in TWO_SIDED)
CERTAIN = 1 - 1e-6
BINS = 10
FREE_AT_ONCE = 65_536


class JudgeError(ValueError):
    """A log from which nothing can be judged; the message says what is missing."""


@dataclass(frozen=True)
class Choices:
    """Rewarded decisions in which the router was free to explore. n rows."""

    answer: Ints
    """[n] row of `Answers`."""
    kind: Ints
    """[n] of the reward that counts."""
    sample: Sample
    candidate: NDArray[np.bool_]
    """[n, M]"""
    there: int
    """Decisions that these were drawn from."""


def choices_of(
    log: Logbook,
    users: NDArray[np.bool_],
    value_kinds: Sequence[str] = VALUE_KINDS,
    most: int | None = None,
    generator: np.random.Generator | None = None,
) -> Choices:
    """Of the users [U] marked, every decision with a reward of `value_kinds` (the first of these that there is); at
    `most` so many, drawn by `generator` as evenly over users as can be, since that is what intervals depend on.

    The action is the candidate that was drawn, even where a failure moved the answer elsewhere: the propensity is of
    that, and the reward is what drawing it led to. Raises `JudgeError` where the log holds no exploration.
    """
    edges, decisions, answers = log.edges, log.decisions, log.answers
    rank = np.array([value_kinds.index(k) if k in value_kinds else len(value_kinds) for k in KINDS])[edges.kind]
    given = (rank < len(value_kinds)) & users[edges.user] & (edges.weight > 0) & answers.seen[edges.row]
    counted = np.flatnonzero(given)
    counted = counted[np.lexsort((rank[counted], edges.row[counted]))]
    counted = counted[np.unique(edges.row[counted], return_index=True)[1]]
    row = answers.decision[edges.row[counted]]
    free = _free(log, row)
    if not free.any():
        raise JudgeError(
            f"none of {len(row)} rewarded answers was chosen with exploration on: they tell no other policy's value; "
            "turn router.explore on for this tenant"
        )
    there = int(free.sum())
    if most is not None:
        places = np.flatnonzero(free)
        free = np.zeros(len(free), bool)
        free[places[evenly(edges.user[counted[places]], most, generator or np.random.default_rng(0))]] = True
    kept, row = counted[free], row[free]
    propensity = np.nan_to_num(decisions.propensity[row].astype(np.float64))
    propensity /= propensity.sum(1, keepdims=True)
    tried, value = decisions.tried[row].astype(np.int64), edges.value[kept].astype(float)
    sample = Sample(tried, value, propensity, edges.user[kept])
    return Choices(edges.row[kept], edges.kind[kept], sample, ~np.isnan(decisions.propensity[row]), there)


def _free(log: Logbook, row: Ints) -> NDArray[np.bool_]:
    """Which decisions [n] the router was free to explore in; some thousand at a time, as LLMs may be many."""
    decisions, parts = log.decisions, []
    for start in range(0, len(row), FREE_AT_ONCE):
        some = row[start : start + FREE_AT_ONCE]
        propensity = np.nan_to_num(decisions.propensity[some].astype(np.float64))
        tried = decisions.tried[some].astype(np.int64)
        taken = np.take_along_axis(propensity, np.maximum(tried, 0)[:, None], 1)[:, 0]
        free = np.isin(decisions.reason[some], FREE) & (tried >= 0) & (taken > 0) & (propensity.max(1) < CERTAIN)
        parts.append(free & (np.abs(propensity.sum(1) - 1) < 1e-3))
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def evenly(user: Ints, most: int, generator: np.random.Generator) -> Ints:
    """At most so many places of `user` [n], ascending: at random, as evenly over users as can be."""
    if len(user) <= most:
        return np.arange(len(user))
    mixed = generator.permutation(len(user))
    by_user = mixed[np.argsort(user[mixed], kind="stable")]
    start = np.searchsorted(user[by_user], user[by_user], "left")
    turn = np.arange(len(user)) - start  # how many of the same user come before
    return np.sort(by_user[np.argsort(turn, kind="stable")][:most])


@dataclass(frozen=True)
class Policies:
    """Probabilities [n, M] of what is compared."""

    current: Doubles
    new: Doubles
    cold: Doubles
    """Choices of the new model for a user without a history."""
    best_single: Doubles


@dataclass(frozen=True)
class Calibration:
    """Predicted against given rewards, in bins of equal size."""

    error: float
    """Mean absolute difference (expected calibration error)."""
    coverage: float | None
    """Share of dense rewards within the predicted 90 % interval; None where there are none."""
    predicted: Doubles  # [bins]
    given: Doubles  # [bins]


@dataclass(frozen=True)
class Read:
    """How much of a log was looked at."""

    share: float = 1.0
    """Whose rows were read: below 1, of a log that is larger than `most_rows`."""
    most_rows: int = 0
    """Interactions, or rewards, that were to be read at most."""
    judged_rows: int = 0
    """Rewards that were to be judged at most; 0: not known."""


@dataclass(frozen=True)
class Judgement:
    """Everything that gates and report look at."""

    propensities: PropensityCheck
    logged: Estimate
    values: Mapping[str, Mapping[str, Estimate]]
    """Policy -> estimator -> estimate."""
    gain: Estimate
    """New minus current, doubly robust, paired."""
    cold_gain: Estimate
    """Cold start minus best single."""
    best_single: str
    tenants: Mapping[str, Estimate]
    """Tenant -> gain."""
    calibration_current: Calibration
    calibration_new: Calibration
    effective: float
    """Effective sample size of the new policy."""
    unsupported: float
    """Share of the new policy's choices that the log never could have made."""
    latency_ms: float
    """Median of one request with `LATENCY_CANDIDATES` candidates."""
    extremes: Extremes
    there: int = 0
    """Rewards of held-out users that could have been judged; judged were `gain.rows`."""
    read: Read = Read()


def judge(
    log: Logbook,
    choices: Choices,
    replays: tuple[Replay, Replay],
    readings: tuple[list[KindReading], list[KindReading]],
    best_order: Ints,
    artifact: Artifact,
    gamma: Gamma,
    found: Extremes,
) -> Judgement:
    """`replays`, `readings`: current and new, for the users of `choices`. `best_order`: LLMs, the best one first."""
    current, new = (one.of(choices.answer) for one in replays)
    sample = choices.sample
    explored = sample.propensity > 0
    arms = (choices.candidate, explored)
    policies = Policies(
        current=inverse_gap(current.mean, *arms, current.rewards, gamma),
        new=inverse_gap(new.mean, *arms, new.rewards, gamma),
        cold=greedy(new.cold, choices.candidate & explored),
        best_single=greedy(-np.argsort(best_order)[None, :] * np.ones_like(new.mean), choices.candidate & explored),
    )
    # Both policies are judged with the same prediction, so that it cancels where they agree.
    predicted = _expected(readings[0], choices.kind, current.mean, current.std)
    terms = {name: dr(sample, getattr(policies, name), predicted) for name in Policies.__dataclass_fields__}
    values = {name: _estimates(sample, getattr(policies, name), terms[name]) for name in terms}
    tenant = log.tenant()[sample.cluster]
    by_tenant = {str(t): _gain(terms, sample, tenant == t) for t in np.unique(tenant)}
    weight = importance(sample, policies.new)
    return Judgement(
        propensities=check_propensities(sample),
        logged=estimate(on_policy(sample), sample.cluster),
        values=values,
        gain=difference(terms["new"], terms["current"], sample.cluster),
        cold_gain=difference(terms["cold"], terms["best_single"], sample.cluster),
        best_single=log.llms[int(best_order[0])],
        tenants=by_tenant,
        calibration_current=calibration(log, choices, current, readings[0]),
        calibration_new=calibration(log, choices, new, readings[1]),
        effective=float(weight.sum() ** 2 / max(float(weight @ weight), 1e-12)),
        unsupported=float(np.where(explored, 0.0, policies.new).sum(1).mean()),
        latency_ms=latency_ms(artifact),
        extremes=found,
        there=choices.there,
    )


def best_single_order(log: Logbook, choices: Choices) -> Ints:
    """LLMs by the self-normalised value of always choosing them; those without a choice come last."""
    sample = choices.sample
    llms = len(log.llms)
    value = np.full(llms, -np.inf)
    for llm in range(llms):
        always = np.zeros_like(sample.propensity)
        always[:, llm] = 1.0
        if (sample.action == llm).sum() >= 5:
            value[llm] = snips(sample, always).value
    if not np.isfinite(value).any():
        value = np.bincount(sample.action, minlength=llms).astype(float)
    return np.argsort(-value, kind="stable")


def calibration(log: Logbook, choices: Choices, found: Replay, readings: list[KindReading]) -> Calibration:
    """Of the answers that were given; `found` has a row for each of `choices`."""
    llm = log.answers.llm[choices.answer].astype(np.int64)
    rows = np.arange(len(llm))
    mean, std = found.mean[rows, llm], found.std[rows, llm]
    predicted = _expected(readings, choices.kind, mean[:, None], std[:, None])[:, 0]
    spread = np.array([reading.spread for reading in readings])[choices.kind]
    dense = np.array([reading.dense for reading in readings])[choices.kind]
    reward = choices.sample.reward
    within = np.abs(reward - predicted)[dense] <= 1.645 * np.sqrt(spread + std**2)[dense]
    bins = [part for part in np.array_split(np.argsort(predicted, kind="stable"), BINS) if len(part)]
    said = np.array([predicted[part].mean() for part in bins])
    given = np.array([reward[part].mean() for part in bins])
    sizes = np.array([len(part) for part in bins])
    return Calibration(
        float((np.abs(said - given) * sizes).sum() / sizes.sum()),
        float(within.mean()) if dense.any() else None,
        said,
        given,
    )


LATENCY_CANDIDATES = 12


def latency_ms(artifact: Artifact, repeats: int = 200) -> float:
    """Median milliseconds of score.onnx for one request and `LATENCY_CANDIDATES` candidates, on one thread."""
    dims = artifact.manifest.dims
    inputs = {
        "query": np.full((1, dims.E), dims.E**-0.5, np.float32),
        "prompt_tokens": np.full(1, 100.0, np.float32),
        "state": artifact.run("user", {"sums": np.zeros((1, dims.H), np.float32)})["state"],
        "z": np.zeros((LATENCY_CANDIDATES, dims.Z), np.float32),
        "cost_weight": np.full(1, -1.0, np.float32),
    }
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        artifact.run("score", inputs)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e3


def _estimates(sample: Sample, policy: Doubles, robust: Terms) -> dict[str, Estimate]:
    made = {"ips": ips(sample, policy), "snips": snips(sample, policy), "dr": robust}
    # A policy that never does what was done has no self-normalised value.
    return {name: estimate(terms, sample.cluster) for name, terms in made.items() if terms.denominator.sum() > 0}


def _gain(terms: Mapping[str, Terms], sample: Sample, rows: NDArray[np.bool_]) -> Estimate:
    new, current = (Terms(terms[name].numerator[rows], terms[name].denominator[rows]) for name in ("new", "current"))
    return difference(new, current, sample.cluster[rows])


def _expected(readings: list[KindReading], kind: Ints, mean: Doubles, std: Doubles) -> Doubles:
    """Expected rewards [n, ..] of kinds [n] where utilities are N(mean, std^2) [n, ..]."""
    made = np.empty_like(mean)
    for k in np.unique(kind):
        made[kind == k] = readings[k].expected(mean[kind == k], std[kind == k])
    return made
