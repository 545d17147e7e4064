"""One ability of each LLM from all its figures, and what figures of one kind share beyond it: a bifactor model
(Holzinger & Swineford 1937), fitted by expectation maximisation.

Ability has mean 0 and deviation 1 over the LLMs, each aspect too. A figure has an offset, a load of ability, loads of
its aspects and a noise of its own, each drawn a little towards what figures usually have; what a card says without
figures (price, thinking, window) is the prior. Without aspects seven ratings by the same voters would count as seven
opinions.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router_model.abilities.figures import Figure, effort_of_setting
from router_model.data.ability import AbilitySpec, Aspect, FigureSpec, Term, VerbositySpec, transformed
from router_model.data.cards import Card

Doubles = NDArray[np.float64]

ROUNDS = 200
FEWEST = 5  # LLMs that a figure must be known of
# A window beyond 128 thousand tokens says who made it rather than when.
TERMS = (
    ("output_price", "log10", None),
    ("size_b", "log10", None),
    ("context_window", "log10", 131_072.0),
    ("reasoning", "flag", None),
    ("released", "identity", None),
)
# Whoever has no figures may be obscure or new: those of whom only their makers published some are less able than their
# cards alone make expect (by .37, mean of 19), today's newest are not. So nothing is added for it.
UNMEASURED = 0.0
# What figures of one kind share, by pattern of their names.
ASPECTS = {
    "chat": re.compile(r"^arena_"),
    "agentic": re.compile(r"agentic|swe_bench|terminal|^tau|aider"),
    "reasoning": re.compile(r"aime|frontiermath|gpqa|hle|livebench_math|livebench_reasoning|^math"),
    "instruction": re.compile(r"ifeval|livebench_instruction|arena_instruction"),
}
MEANS = ("livebench",)  # of figures that are there themselves
# Of an aspect's load, in deviations of the figure, and how many LLMs that counts as: the firmest of those that tell
# the figures of one source by all others' equally well.
ASPECT_LOAD, ASPECT_PULL = 0.1, 8.0
EVERYDAY = re.compile(r"^arena|coding|aider|swe_bench")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")


@dataclass(frozen=True)
class Fitted:
    """The model, and each LLM's ability."""

    spec: AbilitySpec
    ability: dict[str, tuple[float, float]]
    """Mean and deviation by LLM."""
    aspects: dict[str, dict[str, float]]
    """By LLM."""


def transform_of(field: str) -> str:
    """Shares by log-odds, ratings as they are."""
    return "identity" if field.startswith("arena") else "logit"


def fit_abilities(cards: Sequence[Card], effort: Mapping[str, float]) -> Fitted:
    """Of cards whose `benchmarks` hold the figures of their best setting."""
    count: dict[str, int] = defaultdict(int)
    for card in cards:
        for field in card.benchmarks:
            count[field] += 1
    fields = sorted(field for field, n in count.items() if n >= FEWEST and field not in MEANS)
    x = np.full((len(cards), len(fields)), np.nan)
    for i, card in enumerate(cards):
        for j, field in enumerate(fields):
            if field in card.benchmarks:
                x[i, j] = transformed(card.benchmarks[field], transform_of(field))
    told = [term for term in TERMS if sum(card.value(term[0]) is not None for card in cards) >= FEWEST]
    known, means, deviations = _described(cards, told)
    found = _Factors.start(x, known, np.array([[True, *(bool(p.search(f)) for p in ASPECTS.values())] for f in fields]))
    for _ in range(ROUNDS):
        found.step(x, known)
    latent, covariance = found.latent(x, known)
    load, noise = found.load, found.noise + (found.load[:, 1:] ** 2).sum(1)
    figures = tuple(
        FigureSpec.model_validate(
            {
                "field": field,
                "transform": transform_of(field),
                "offset": _short(found.offset[j]),
                "load": _short(load[j, 0]),
                "noise": _short(noise[j]),
            }
        )
        for j, field in enumerate(fields)
    )
    terms = tuple(
        Term.model_validate(
            {"field": f, "transform": t, "mean": _short(m), "std": _short(s), "slope": _short(b), "most": most}
        )
        for (f, t, most), m, s, b in zip(told, means, deviations, found.slopes[1:], strict=True)
    )
    aspects = {
        name: Aspect(figures={f: _short(load[j, k]) for j, f in enumerate(fields) if found.has[j, k]})
        for k, name in enumerate(ASPECTS, 1)
    }
    spec = AbilitySpec(
        mean=_short(found.slopes[0]),
        variance=_short(found.variance),
        terms=terms,
        unmeasured=UNMEASURED,
        figures=figures,
        aspects=aspects,
        effort={name: _short(value) for name, value in effort.items()},
    )
    names = [card.name for card in cards]
    return Fitted(
        spec,
        {n: (float(m[0]), float(c[0, 0] ** 0.5)) for n, m, c in zip(names, latent, covariance, strict=True)},
        {n: dict(zip(ASPECTS, map(float, m[1:]), strict=True)) for n, m in zip(names, latent, strict=True)},
    )


@dataclass
class _Factors:
    """x = offset + load @ latent + noise; latent = ability, whose mean is known @ slopes, and unit normal aspects."""

    has: NDArray[np.bool_]  # [figures, 1 + aspects]: which loads there are
    spread: Doubles  # [figures]
    offset: Doubles  # [figures]
    load: Doubles  # [figures, 1 + aspects]
    noise: Doubles  # [figures], variances
    slopes: Doubles  # [1 + terms]
    variance: float

    @classmethod
    def start(cls, x: Doubles, known: Doubles, has: NDArray[np.bool_]) -> _Factors:
        spread = np.nanstd(x, 0)
        usual = np.array([0.8, *[0.4] * (has.shape[1] - 1)])
        return cls(
            has,
            spread,
            np.nanmean(x, 0),
            has * spread[:, None] * usual,
            (0.5 * spread) ** 2,
            np.zeros(known.shape[1]),
            1.0,
        )

    def latent(self, x: Doubles, known: Doubles) -> tuple[Doubles, Doubles]:
        """Mean [LLMs, 1 + aspects] and covariance of each LLM's latents."""
        width = self.load.shape[1]
        weight = ~np.isnan(x) / self.noise
        prior = np.diag([1 / self.variance, *[1.0] * (width - 1)])
        precision = prior + np.einsum("ij,jk,jl->ikl", weight, self.load, self.load)
        information = np.nan_to_num(x - self.offset) * weight @ self.load
        information[:, 0] += known @ self.slopes / self.variance
        covariance = np.linalg.inv(precision)
        return np.einsum("ikl,il->ik", covariance, information), covariance

    def step(self, x: Doubles, known: Doubles) -> None:
        """One round of expectation maximisation."""
        mean, covariance = self.latent(x, known)
        ability, doubt = mean[:, 0], covariance[:, 0, 0]
        solved = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ ability)
        self.slopes = np.asarray(solved, dtype=np.float64)
        self.variance = max(0.05, float(((ability - known @ self.slopes) ** 2 + doubt).mean()))
        for j in range(len(self.offset)):
            self._figure(j, x[:, j], mean, covariance)
        centre = ability.mean()
        scale = np.sqrt((mean**2 + np.diagonal(covariance, axis1=1, axis2=2)).mean(0))
        scale[0] = math.sqrt(((ability - centre) ** 2 + doubt).mean())
        self.offset = self.offset + self.load[:, 0] * centre
        self.load = np.asarray(self.load * scale, dtype=np.float64)
        self.slopes, self.variance = self.slopes / scale[0], self.variance / scale[0] ** 2
        self.slopes[0] -= centre / scale[0]

    def _figure(self, j: int, x: Doubles, mean: Doubles, covariance: Doubles) -> None:
        rows, at = ~np.isnan(x), np.flatnonzero(self.has[j])
        n, t, y, spread = int(rows.sum()), mean[rows][:, at], x[rows], self.spread[j]
        doubt = covariance[rows][:, at][:, :, at].sum(0)
        pull = np.array([2.0, *[ASPECT_PULL] * (len(at) - 1)])
        usual = spread * np.array([0.7, *[ASPECT_LOAD] * (len(at) - 1)])
        design = np.zeros((len(at) + 1, len(at) + 1))
        design[0, 0], design[0, 1:], design[1:, 0] = n + 0.01, t.sum(0), t.sum(0)
        design[1:, 1:] = t.T @ t + doubt + np.diag(pull)
        solved = np.linalg.solve(design, np.concatenate([[y.sum()], t.T @ y + pull * usual]))
        load = np.maximum(solved[1:], 0.02 * spread)
        left = ((y - solved[0] - t @ load) ** 2).sum() + load @ doubt @ load
        self.offset[j], self.load[j, at] = float(solved[0]), load
        self.noise[j] = (left + 3 * (0.4 * spread) ** 2) / (n + 3)


def _described(
    cards: Sequence[Card], terms: Sequence[tuple[str, str, float | None]]
) -> tuple[Doubles, Doubles, Doubles]:
    """1 and the standardised fields of terms [M, 1 + terms], their means and deviations; missing = at the mean."""
    raw = np.full((len(cards), len(terms)), np.nan)
    for i, card in enumerate(cards):
        for j, (field, transform, most) in enumerate(terms):
            value = card.value(field)
            if value is not None:
                value = value if most is None else min(value, most)
                raw[i, j] = transformed(value, transform)
    means, deviations = np.nanmean(raw, 0), np.nanstd(raw, 0) + 1e-9
    standard = np.nan_to_num((raw - means) / deviations)
    return np.concatenate([np.ones((len(cards), 1)), standard], 1), means, deviations


def effort_changes(
    figures: Sequence[Figure], loads: Mapping[str, float], makers: Mapping[str, str]
) -> dict[str, float]:
    """What an effort lacks in ability to the best setting of the same LLM, over figures with several settings.

    Of people's requests and code alone: what thinking is worth in olympiads isn't what it is worth in a gateway.
    """
    by_figure: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for figure in figures:
        effort = effort_of_setting(figure.setting)
        if effort is None and makers.get(figure.llm) == "anthropic":
            effort = "none"  # does not think unless it is told to
        if effort is not None and figure.field in loads and EVERYDAY.search(figure.field):
            found = by_figure[figure.llm, figure.field]
            value = transformed(figure.value, transform_of(figure.field)) / loads[figure.field]
            found[effort] = max(found.get(effort, -math.inf), value)
    lacking: dict[str, list[float]] = defaultdict(list)
    for found in by_figure.values():
        if len(found) > 1:
            best = max(found.values())
            for effort, value in found.items():
                lacking[effort].append(max(value - best, -2.0))
    found_changes = {effort: float(np.sum(lacking[effort]) / (len(lacking[effort]) + 5)) for effort in EFFORTS}
    return {**found_changes, "minimal": min(found_changes["minimal"], found_changes["low"])}


def fit_verbosity(measured: Sequence[tuple[str, str, float]]) -> VerbositySpec:
    """From (maker, effort, tokens) of the same prompts; `default` = as the maker has it, thinking or not unknown."""
    vendors = sorted({vendor for vendor, _, _ in measured})
    efforts = [effort for effort in EFFORTS if effort != "none"]
    rows, target = [], []
    for vendor, effort, tokens in measured:
        thinking = 0.0 if effort == "none" else 1.0
        rows.append([1.0, thinking, *(float(effort == e) for e in efforts), *(float(vendor == v) for v in vendors)])
        target.append(math.log(max(tokens, 1.0)))
    x, y = np.array(rows), np.array(target)
    ridge = np.diag([1e-6, 0.5, *[2.0] * len(efforts), *[2.0] * len(vendors)])
    solved = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    variance = float(np.mean((y - x @ solved) ** 2)) * len(y) / max(len(y) - len(vendors), 1)
    return VerbositySpec(
        mean=_short(solved[0]),
        variance=_short(variance),
        measured=0.05,
        thinking=_short(solved[1]),
        effort=dict(zip(efforts, (_short(v) for v in solved[2 : 2 + len(efforts)]), strict=True)),
        vendor=dict(zip(vendors, (_short(v) for v in solved[2 + len(efforts) :]), strict=True)),
    )


def _short(value: float) -> float:
    return float(f"{float(value):.5g}")
