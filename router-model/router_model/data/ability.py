"""What a card says an LLM can do and how long it writes: one latent ability from whatever figures are public.

A figure is affine in ability plus noise, so a missing one is missing, not zero: fewer figures make the ability less
sure, never lower. The gateway computes the same from its configuration (`src/routing/choose/ability.ts`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Transform = Literal["identity", "logit", "log10", "flag"]
LEAST_SHARE = 0.02
LEAST_NOISE = 0.2  # of a figure, as a share of its noise, that is no aspect's


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Term(_Frozen):
    """What a field of the card makes expect before any figure: slope x (value - mean) / std, 0 where it is missing."""

    field: str
    """Of the card."""
    transform: Transform
    """Of its value."""
    mean: float
    """Subtracted after that."""
    std: float = Field(gt=0)
    """Divided by."""
    slope: float
    """Ability for one such deviation."""
    most: float | None = None
    """A larger value of the field says no more than this one."""


class FigureSpec(_Frozen):
    """value = offset + load x ability + aspects + noise, after the transform; `noise`: variance of both of these."""

    field: str
    """Of the card's `benchmarks`."""
    transform: Transform
    """Of its value."""
    offset: float
    """At ability 0."""
    load: float
    """Change with ability."""
    noise: float = Field(gt=0)
    """Variance of what ability doesn't tell, aspects included."""


class Aspect(_Frozen):
    """What figures of one kind share beyond ability: unit normal."""

    figures: dict[str, float]
    """Loads by name of the figure."""


class AbilitySpec(_Frozen):
    """The manifest's `ability`."""

    mean: float
    """Of an LLM of which nothing is said."""
    variance: float = Field(gt=0)
    """Around what the terms make expect."""
    terms: tuple[Term, ...]
    """What a card says without figures."""
    unmeasured: float = 0.0
    """Added where there is no figure at all: what nobody published figures of is mostly less able than it looks."""
    figures: tuple[FigureSpec, ...]
    """What figures say."""
    aspects: dict[str, Aspect]
    """What ability doesn't tell, by name: agents' work, people's votes, and so on."""
    effort: dict[str, float]
    """Added to ability, which is that of the best setting; `none` = doesn't think though it could."""


class VerbositySpec(_Frozen):
    """The manifest's `verbosity`: natural log of the tokens billed for one reply to a short professional question."""

    mean: float
    """Without thinking, of an unknown maker."""
    variance: float = Field(gt=0)
    """Around what maker, thinking and effort make expect."""
    measured: float = Field(gt=0)
    """Variance of a measured figure."""
    thinking: float
    """Added by thinking."""
    effort: dict[str, float]
    """Added by an effort."""
    vendor: dict[str, float]
    """Added by a maker."""


class Described(Protocol):
    """What is read of a card."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def vendor(self) -> str:
        """Who made it."""

    @property
    def reasoning(self) -> bool | None:
        """Whether it can think before it answers."""

    @property
    def thinking(self) -> bool | None:
        """Whether it does, as it is asked."""

    @property
    def effort(self) -> str | None:
        """`minimal`, `low`, `medium`, `high` or `xhigh`."""

    @property
    def ability(self) -> float | None:
        """Fitted ability of its best setting, in place of what the figures say."""

    @property
    def ability_sd(self) -> float | None:
        """How unsure that is."""

    @property
    def verbosity(self) -> Mapping[str, float]:
        """Measured tokens of a reply by effort: `none`, `low`, … , `default`."""

    @property
    def aspects(self) -> Mapping[str, float]:
        """Fitted aspects, in place of what the figures say."""

    def value(self, name: str) -> float | None:
        """A field by the manifest's name for it."""


@dataclass(frozen=True)
class Inferred:
    """What the figures say."""

    mean: float
    sd: float
    aspects: Mapping[str, float]


def transformed(value: float, transform: str) -> float:
    """A raw field through a transform. Raises `ValueError` for an unknown one."""
    if transform == "log10":
        return math.log10(max(value, 1e-3))
    if transform == "identity":
        return value
    if transform == "flag":
        return 1.0 if value else 0.0
    if transform == "logit":
        share = min(max(value, LEAST_SHARE), 1 - LEAST_SHARE)
        return math.log(share / (1 - share))
    raise ValueError(f"unknown transform {transform!r}: log10, identity, logit or flag")


# From Claude 5 on a request that says nothing of thinking is answered with it; before, without (Anthropic's guides on
# moving to Sonnet 5 and Opus 5).
_THINKS_UNTOLD = re.compile(r"claude-[a-z]+-(?:[5-9]|\d\d)(?!\d)")


def thinks(card: Described) -> bool:
    """Whether the arm thinks before it answers. Anthropic's before Claude 5 do so only where they are told to."""
    if card.thinking is not None:
        return card.thinking
    if card.effort is not None:
        return card.effort != "none"
    return bool(card.reasoning) and (card.vendor != "anthropic" or bool(_THINKS_UNTOLD.search(card.name.lower())))


def effort_of(card: Described) -> str | None:
    """The effort as the tables name it: `none` where an LLM that could think doesn't; None where nothing is said."""
    if not thinks(card):
        return "none" if card.reasoning or card.thinking is False or card.effort == "none" else None
    return card.effort


def infer(card: Described, spec: AbilitySpec) -> Inferred:
    """Posterior of the ability, at the card's effort, and of the aspects."""
    mean = spec.mean
    for term in spec.terms:
        value = card.value(term.field)
        if value is not None:
            value = value if term.most is None else min(value, term.most)
            mean += term.slope * (transformed(value, term.transform) - term.mean) / term.std
    if not any(card.value(f"benchmarks.{figure.field}") is not None for figure in spec.figures):
        mean += spec.unmeasured
    latent, doubt = _posterior(card, spec, mean)
    theta, sd = float(latent[0]), doubt
    if card.ability is not None:
        theta, sd = card.ability, card.ability_sd if card.ability_sd is not None else sd
    aspects = {name: card.aspects.get(name, float(latent[k])) for k, name in enumerate(spec.aspects, 1)}
    effort = effort_of(card)
    return Inferred(theta + (spec.effort.get(effort, 0.0) if effort else 0.0), sd, aspects)


def _posterior(card: Described, spec: AbilitySpec, mean: float) -> tuple[NDArray[np.float64], float]:
    """Mean of ability and aspects, and ability's deviation: all at once, since figures of one kind share an aspect."""
    names = list(spec.aspects)
    precision = np.diag([1 / spec.variance, *[1.0] * len(names)])
    information = np.zeros(1 + len(names))
    information[0] = mean / spec.variance
    for figure in spec.figures:
        value = card.value(f"benchmarks.{figure.field}")
        if value is None:
            continue
        load = np.array([figure.load, *(spec.aspects[name].figures.get(figure.field, 0.0) for name in names)])
        noise = max(figure.noise - float((load[1:] ** 2).sum()), LEAST_NOISE * figure.noise)
        precision += np.outer(load, load) / noise
        information += load * (transformed(value, figure.transform) - figure.offset) / noise
    covariance = np.linalg.inv(precision)
    return covariance @ information, float(covariance[0, 0] ** 0.5)


def log_verbosity(card: Described, spec: VerbositySpec) -> float:
    """Expected natural log of the tokens of a short reply, thoughts included."""

    def usual(effort: str | None) -> float:
        thinking = 0.0 if effort == "none" else spec.thinking
        return thinking + (spec.effort.get(effort, 0.0) if effort else 0.0)

    own = (effort_of(card) or "default") if thinks(card) else "none"
    base = spec.mean + spec.vendor.get(card.vendor, 0.0)
    precision, information = 1 / spec.variance, (base + usual(own)) / spec.variance
    for effort, tokens in card.verbosity.items():
        # of another effort: moved by what the difference usually makes, and believed half
        same = effort == own
        weight = 1.0 if same else 0.25 if (effort == "none") == (own == "none") else 0.1
        precision += weight / spec.measured
        information += weight * (math.log(max(tokens, 1.0)) + usual(own) - usual(effort)) / spec.measured
    return information / precision
