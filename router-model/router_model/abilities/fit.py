"""One ability of each LLM from all its figures: a factor model with one factor, by expectation maximisation.

Ability has mean 0 and deviation 1 over the LLMs. Each figure has an offset, a load and a noise of its own, each drawn
a little towards what figures usually have; what a card says without figures (price, thinking, window) is the prior.
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
)
# Mean, over LLMs without any figure, of the ability that their outcomes show less the one that their cards make
# expect: five LLMs on train folds of mmlu_pro, drawn towards 0 as by one LLM more.
UNMEASURED = -0.8
ASPECTS = {
    "instruction": ("ifeval", "livebench_instruction"),
    "tool_use": ("tau2_retail", "tau2_airline", "tau2_telecom", "tau_retail", "terminal_bench"),
}
EVERYDAY = re.compile(r"^arena|coding|aider|swe_bench")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")


@dataclass(frozen=True)
class Fitted:
    """The model, and each LLM's ability."""

    spec: AbilitySpec
    ability: dict[str, tuple[float, float]]
    """Mean and deviation by LLM."""


def transform_of(field: str) -> str:
    """Shares by log-odds, ratings as they are."""
    return "identity" if field.startswith("arena") else "logit"


def fit_abilities(cards: Sequence[Card], effort: Mapping[str, float]) -> Fitted:
    """Of cards whose `benchmarks` hold the figures of their best setting."""
    names = [card.name for card in cards]
    count: dict[str, int] = defaultdict(int)
    for card in cards:
        for field in card.benchmarks:
            count[field] += 1
    fields = sorted(field for field, n in count.items() if n >= FEWEST)
    x = np.full((len(cards), len(fields)), np.nan)
    for i, card in enumerate(cards):
        for j, field in enumerate(fields):
            if field in card.benchmarks:
                x[i, j] = transformed(card.benchmarks[field], transform_of(field))
    known, means, deviations = _described(cards)
    seen = ~np.isnan(x)
    spread = np.nanstd(x, 0)
    offset, load, noise = np.nanmean(x, 0), spread.copy(), (0.6 * spread) ** 2
    slopes, variance = np.zeros(known.shape[1]), 1.0
    mean = var = np.zeros(len(cards))
    for _ in range(ROUNDS):
        precision = 1 / variance + (seen * load**2 / noise).sum(1)
        pull = known @ slopes / variance + np.where(seen, (x - offset) * load / noise, 0).sum(1)
        mean, var = pull / precision, 1 / precision
        slopes = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ mean)
        variance = max(0.05, float(((mean - known @ slopes) ** 2 + var).mean()))
        for j in range(len(fields)):
            rows = seen[:, j]
            t, y, v, n = mean[rows], x[rows, j], var[rows], int(rows.sum())
            design = np.array([[n + 0.01, t.sum()], [t.sum(), (t**2 + v).sum() + 2]])
            target = np.array([y.sum(), (y * t).sum() + 1.4 * spread[j]])
            offset[j], raw = np.linalg.solve(design, target)
            load[j] = max(raw, 0.02 * spread[j])
            left = ((y - offset[j] - load[j] * t) ** 2 + load[j] ** 2 * v).sum()
            noise[j] = (left + 3 * (0.5 * spread[j]) ** 2) / (n + 3)
        centre, scale = mean.mean(), math.sqrt(((mean - mean.mean()) ** 2 + var).mean())
        offset, load = offset + load * centre, load * scale
        slopes, variance = slopes / scale, variance / scale**2
        slopes[0] -= centre / scale
    precision = 1 / variance + (seen * load**2 / noise).sum(1)
    mean = (known @ slopes / variance + np.where(seen, (x - offset) * load / noise, 0).sum(1)) / precision
    residual = x - offset - load * mean[:, None]
    figures = tuple(
        FigureSpec.model_validate(
            {
                "field": field,
                "transform": transform_of(field),
                "offset": _short(offset[j]),
                "load": _short(load[j]),
                "noise": _short(noise[j]),
            }
        )
        for j, field in enumerate(fields)
    )
    terms = tuple(
        Term.model_validate(
            {"field": f, "transform": t, "mean": _short(m), "std": _short(s), "slope": _short(b), "most": most}
        )
        for (f, t, most), m, s, b in zip(TERMS, means, deviations, slopes[1:], strict=True)
    )
    spec = AbilitySpec(
        mean=_short(slopes[0]),
        variance=_short(variance),
        terms=terms,
        unmeasured=UNMEASURED,
        figures=figures,
        aspects=_aspects(fields, residual, noise),
        effort={name: _short(value) for name, value in effort.items()},
    )
    return Fitted(spec, {n: (float(m), float(p**-0.5)) for n, m, p in zip(names, mean, precision, strict=True)})


def _described(cards: Sequence[Card]) -> tuple[Doubles, Doubles, Doubles]:
    """1 and the standardised fields of `TERMS` [M, 1 + terms], their means and deviations; missing = at the mean."""
    raw = np.full((len(cards), len(TERMS)), np.nan)
    for i, card in enumerate(cards):
        for j, (field, transform, most) in enumerate(TERMS):
            value = card.value(field)
            if value is not None:
                value = value if most is None else min(value, most)
                raw[i, j] = transformed(value, transform)
    means, deviations = np.nanmean(raw, 0), np.nanstd(raw, 0) + 1e-9
    standard = np.nan_to_num((raw - means) / deviations)
    return np.concatenate([np.ones((len(cards), 1)), standard], 1), means, deviations


def _aspects(fields: Sequence[str], residual: Doubles, noise: Doubles) -> dict[str, Aspect]:
    """Loads of what some figures share beyond ability: the root of their mean covariance, at most .8 of the noise."""
    found = {}
    for name, members in ASPECTS.items():
        at = [fields.index(member) for member in members if member in fields]
        shared = []
        for i in at:
            for j in at:
                both = np.isfinite(residual[:, i]) & np.isfinite(residual[:, j])
                if i < j and both.sum() >= 5:
                    shared.append(
                        float(np.mean(residual[both, i] * residual[both, j]) / math.sqrt(noise[i] * noise[j]))
                    )
        part = min(max(float(np.mean(shared)) if shared else 0.3, 0.1), 0.8)
        found[name] = Aspect(figures={fields[i]: _short(math.sqrt(part * noise[i])) for i in at})
    return found


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
