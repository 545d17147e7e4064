"""A multinomial logit whose weights differ from person to person, by empirical Bayes.

P(choice) = softmax(x . (w + b)), w shared by all, b ~ N(0, S) a person's own on some of the features; S and w are those
that explain other people's choices (a mixed logit: Train 2009, Discrete Choice Methods with Simulation, ch. 12), by
Laplace's method and expectation maximisation. Letters: U people, N choices, A alternatives, K features, P own ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NEWTON = 4
LONGEST_STEP = 3.0
RIDGE = 1.0  # precision of a shared weight of a standardised feature around 0
DIAGONAL = 20.0  # people's worth of belief that own weights are independent
DRAWS = 64  # of a person's weights, to predict with what isn't known of them
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Choices:
    """Choices of U people, padded."""

    name: str
    people: tuple[str, ...]
    features: tuple[str, ...]
    x: Doubles
    """[U, N, A, K]"""
    there: Bools
    """[U, N, A]: alternatives that there were."""
    chosen: Ints
    """[U, N]"""
    weight: Doubles
    """[U, N]; 0: no choice."""
    fold: Ints
    """[U, N]: of the question."""

    def weighing(self, keep: Bools) -> Choices:
        """The choices [U, N] of `keep` alone."""
        return replace(self, weight=self.weight * keep)

    def of(self, index: Ints) -> Choices:
        """Some of the people, by position."""
        people = tuple(self.people[i] for i in index)
        parts = {name: getattr(self, name)[index] for name in ("x", "there", "chosen", "weight", "fold")}
        return replace(self, people=people, **parts)

    def shuffled(self, rng: np.random.Generator) -> Choices:
        """Everybody has as many choices as before, but anybody's."""
        real = np.nonzero(self.weight > 0)
        order = rng.permutation(len(real[0]))
        parts = {}
        for name in ("x", "there", "chosen", "fold", "weight"):
            values = getattr(self, name).copy()
            values[real] = values[real][order]
            parts[name] = values
        return replace(self, **parts)

    def columns(self, *prefixes: str) -> Ints:
        """Features whose names begin so."""
        return np.array([k for k, name in enumerate(self.features) if name.startswith(prefixes)], np.int64)


@dataclass(frozen=True)
class Population:
    """What is shared, and how people differ."""

    shared: Doubles
    """[K]"""
    own: Ints
    """[P] features on which people differ."""
    covariance: Doubles
    """[P, P]"""


@dataclass(frozen=True)
class Person:
    """Beliefs about U people's own weights."""

    mean: Doubles
    """[U, P]"""
    covariance: Doubles
    """[U, P, P]"""

    def of(self, index: Ints) -> Person:
        """Some of them, by position."""
        return Person(self.mean[index], self.covariance[index])


def fit(choices: Choices, own: Ints, rounds: int = 20, start: Population | None = None) -> Population:
    """Shared weights and the covariance of own ones; own features of one kind (`llm ..`) have one variance."""
    people, size = len(choices.people), choices.x.shape[-1]
    made = start or Population(np.zeros(size), own, 0.25 * np.eye(len(own)))
    kinds = np.array([choices.features[k].split(" ")[0] for k in own])
    for _ in range(rounds):
        found = learn(made, choices)
        shared = _shared(made, choices, found)
        if not len(own):
            made = replace(made, shared=shared)
            continue
        centre = found.mean.mean(0)
        shared[own] += centre
        apart = found.mean - centre
        scatter = found.covariance.sum(0) + apart.T @ apart
        variance = scatter.diagonal() / people
        for kind in set(kinds):
            variance[kinds == kind] = variance[kinds == kind].mean()
        covariance = (scatter + DIAGONAL * np.diag(variance)) / (people + DIAGONAL)
        np.fill_diagonal(covariance, np.maximum(variance, LEAST_VARIANCE))
        made = Population(shared, own, covariance)
    return made


def learn(population: Population, choices: Choices) -> Person:
    """What choices tell of each person's own weights, by Newton's method from the mean person."""
    x = choices.x[..., population.own]
    if not len(population.own):
        return nothing_known(population, len(x))
    precision = np.linalg.inv(population.covariance)
    b = np.zeros((len(x), x.shape[-1]))
    usual = choices.x @ population.shared
    for _ in range(NEWTON):
        slope, curve = _derivatives(usual + np.einsum("unak,uk->una", x, b), x, choices)
        step = np.linalg.solve(curve + precision, (slope - b @ precision)[..., None])[..., 0]
        b = b + step * np.minimum(1.0, LONGEST_STEP / np.maximum(np.abs(step).max(-1, initial=1e-9), 1e-9))[:, None]
    _, curve = _derivatives(usual + np.einsum("unak,uk->una", x, b), x, choices)
    return Person(b, np.linalg.inv(curve + precision))


def nothing_known(population: Population, people: int) -> Person:
    """Of strangers."""
    size = len(population.own)
    return Person(np.zeros((people, size)), np.broadcast_to(population.covariance, (people, size, size)))


def predict(population: Population, person: Person, choices: Choices) -> Doubles:
    """Probability [U, N, A] of each alternative, over what isn't known of a person."""
    x = choices.x[..., population.own]
    usual = choices.x @ population.shared
    if not len(population.own):
        return _softmax(usual, choices.there)
    factor = np.linalg.cholesky(person.covariance + 1e-9 * np.eye(len(population.own)))
    total = np.zeros(usual.shape)
    rng = np.random.default_rng(0)
    for _ in range(DRAWS // 2):
        drawn = np.einsum("ukl,ul->uk", factor, rng.standard_normal(person.mean.shape))
        for sign in (1, -1):
            total += _softmax(usual + np.einsum("unak,uk->una", x, person.mean + sign * drawn), choices.there)
    return total / DRAWS


def losses(probability: Doubles, choices: Choices) -> tuple[Doubles, Doubles, Doubles]:
    """By person [U]: log loss summed, hits, and how many choices."""
    p = np.take_along_axis(probability, choices.chosen[..., None], -1)[..., 0]
    hit = probability.argmax(-1) == choices.chosen
    loss = -np.log(np.maximum(p, 1e-12))
    return (choices.weight * loss).sum(1), (choices.weight * hit).sum(1), choices.weight.sum(1)


def _shared(population: Population, choices: Choices, found: Person) -> Doubles:
    """One step of Newton for the weights that all share."""
    own = np.einsum("unak,uk->una", choices.x[..., population.own], found.mean)
    slope, curve = _derivatives(choices.x @ population.shared + own, choices.x, choices)
    whole = curve.sum(0) + RIDGE * np.eye(len(population.shared))
    step = np.linalg.solve(whole, slope.sum(0) - RIDGE * population.shared)
    return population.shared + step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-9))


def _derivatives(eta: Doubles, x: Doubles, choices: Choices) -> tuple[Doubles, Doubles]:
    """Slope [U, K] and negative curvature [U, K, K] of the log likelihood."""
    p = _softmax(eta, choices.there)
    usual = np.einsum("una,unak->unk", p, x)
    apart = x - usual[:, :, None]
    took = np.take_along_axis(x, choices.chosen[..., None, None], 2)[:, :, 0]
    slope = np.einsum("un,unk->uk", choices.weight, took - usual)
    scaled = apart * np.sqrt(p * choices.weight[..., None])[..., None]
    flat = scaled.reshape(len(x), -1, x.shape[-1])
    return slope, flat.transpose(0, 2, 1) @ flat


def _softmax(eta: Doubles, there: Bools) -> Doubles:
    least = np.where(there, eta, -np.inf)
    e = np.exp(least - least.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))
