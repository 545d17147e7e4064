"""What a person's own history adds to the prediction of that person's choices, beside two controls.

*Shuffled people*: everybody gets as many choices as before, but anybody's. Whatever is gained there is no taste.
*Another's history*: the choices of one person predicted from what the next one chose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from personabench.metrics import Interval, interval
from personabench.people.choices import (
    Choices,
    Population,
    fit,
    learn,
    losses,
    nothing_known,
    predict,
)

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Tell = Callable[[str], None]

PARTS = 5
REPLICATES = 2000
LEAST_PEOPLE = 2 * PARTS
QUICK_ROUNDS = 6
"""Of a fit that starts from the fit with everybody in their own place."""
TASTES = {"length": ("length",), "ties": ("tie",), "reliability": ("reliability",), "LLMs": ("llm",)}
"""What may differ from person to person, and the features of it."""


@dataclass(frozen=True)
class Taste:
    """What knowing one kind of taste of each person is worth; in log loss of a choice, more is better."""

    source: str
    taste: str
    people: int
    choices: int
    loss: float
    """Of the population alone."""
    gain: Interval
    """From a person's own history."""
    anothers: Interval
    """From the next person's."""
    spread: float
    """Standard deviation of the own weights, of standardised features."""
    shuffled: tuple[float, ...]
    """Gains where people were shuffled."""

    @property
    def chance(self) -> float:
        """How often shuffled people gain as much, as a permutation test counts it."""
        return (1 + sum(g >= self.gain.value for g in self.shuffled)) / (1 + len(self.shuffled))


def taste_of(choices: Choices, taste: str, shuffles: int = 99, rounds: int = 20, tell: Tell = lambda _: None) -> Taste:
    """Cross-validated over questions: what a person chose elsewhere predicts what they choose here.

    Raises `ValueError` for too few people.
    """
    if len(choices.people) < LEAST_PEOPLE:
        raise ValueError(f"{choices.name}: {len(choices.people)} people are too few")
    if taste == "reliability":
        choices = _with_reliability(choices, rounds)
    own = choices.columns(*TASTES[taste])
    usual = _folds(choices, np.zeros(0, np.int64), rounds, None)
    found = _folds(choices, own, rounds, None)
    count = found.count
    base = usual.own.sum() / count.sum()
    rng = np.random.default_rng(0)
    shuffled = []
    for number in range(shuffles):
        if number % 10 == 0:
            tell(f"{choices.name}, {taste}: {number} of {shuffles} shuffles")
        mixed = choices.shuffled(rng)
        alone = _folds(mixed, np.zeros(0, np.int64), 2, usual.fits)
        personal = _folds(mixed, own, QUICK_ROUNDS, found.fits)
        shuffled.append(float((alone.own.sum() - personal.own.sum()) / count.sum()))
    return Taste(
        source=choices.name,
        taste=taste,
        people=len(choices.people),
        choices=int(count.sum()),
        loss=float(base),
        gain=_over_people(usual.own - found.own, count),
        anothers=_over_people(usual.own - found.anothers, count),
        spread=float(np.sqrt(np.mean([fitted.covariance.diagonal().mean() for fitted in found.fits]))),
        shuffled=tuple(shuffled),
    )


@dataclass(frozen=True)
class _Folds:
    """Log losses by person [U], summed over all parts of the questions."""

    own: Doubles
    anothers: Doubles
    count: Doubles
    fits: tuple[Population, ...]


def _folds(choices: Choices, own: Ints, rounds: int, starts: Sequence[Population] | None) -> _Folds:
    people = len(choices.people)
    total, anothers, count = np.zeros(people), np.zeros(people), np.zeros(people)
    next_one = np.roll(np.arange(people), -1)
    fits = []
    for part in range(PARTS):
        asked = choices.fold % PARTS == part
        known, unseen = choices.weighing(~asked), choices.weighing(asked)
        fitted = fit(known, own, rounds, starts[part] if starts else None)
        person = learn(fitted, known)
        loss, _, n = losses(predict(fitted, person, unseen), unseen)
        total, count = total + loss, count + n
        anothers += losses(predict(fitted, person.of(next_one), unseen), unseen)[0]
        fits.append(fitted)
    return _Folds(total, anothers, count, tuple(fits))


def _with_reliability(choices: Choices, rounds: int) -> Choices:
    """One feature more: what everybody thinks of an alternative. A person's weight of it says how firmly they agree."""
    shared = fit(choices, np.zeros(0, np.int64), rounds).shared
    liked = choices.x @ shared
    spread = float(liked[choices.weight > 0].std()) or 1.0
    x = np.concatenate([choices.x, liked[..., None] / spread], -1)
    return replace(choices, features=(*choices.features, "reliability"), x=x)


@dataclass(frozen=True)
class FewShot:
    """New people's last choices, predicted from their first n."""

    source: str
    n: int
    people: int
    loss: float
    hits: float
    anothers_loss: float
    anothers_hits: float
    gain: Interval
    """Log loss of a choice that the own first n save over none."""
    over_another: Interval
    """And over the next person's first n."""


def few_shot(choices: Choices, lengths: Sequence[int], last: int, rounds: int = 20) -> list[FewShot]:
    """People in five parts: each part is met by a belief that the other four taught. Raises `ValueError` for few."""
    enough = np.flatnonzero(choices.weight.sum(1) >= max(lengths) + last)
    if len(enough) < LEAST_PEOPLE:
        raise ValueError(f"{choices.name}: {len(enough)} people with enough choices are too few")
    choices = choices.of(enough)
    people = len(enough)
    part = np.random.default_rng(0).permutation(people) % PARTS
    count = choices.weight.sum(1).astype(int)
    step = np.arange(choices.weight.shape[1])[None]
    asked = choices.weighing((step >= count[:, None] - last) & (step < count[:, None]))
    own_weights = np.arange(choices.x.shape[-1])
    found: dict[tuple[int, str], Doubles] = {}
    for number in range(PARTS):
        mine = np.flatnonzero(part == number)
        fitted = fit(choices.of(np.flatnonzero(part != number)), own_weights, rounds)
        unseen = asked.of(mine)
        for n in lengths:
            history = choices.weighing(np.broadcast_to(step < n, choices.weight.shape)).of(mine)
            person = learn(fitted, history) if n else nothing_known(fitted, len(mine))
            for whose, known in (("own", person), ("another's", person.of(np.roll(np.arange(len(mine)), -1)))):
                loss, hit, _ = losses(predict(fitted, known, unseen), unseen)
                column = found.setdefault((n, whose), np.zeros((people, 2)))
                column[mine, 0], column[mine, 1] = loss, hit
    answers = np.full(people, float(last))
    made = []
    for n in lengths:
        own, another, none = found[n, "own"], found[n, "another's"], found[0, "own"]
        made.append(
            FewShot(
                source=choices.name,
                n=n,
                people=people,
                loss=float(own[:, 0].sum() / answers.sum()),
                hits=float(own[:, 1].sum() / answers.sum()),
                anothers_loss=float(another[:, 0].sum() / answers.sum()),
                anothers_hits=float(another[:, 1].sum() / answers.sum()),
                gain=_over_people(none[:, 0] - own[:, 0], answers),
                over_another=_over_people(another[:, 0] - own[:, 0], answers),
            )
        )
    return made


def _over_people(saved: Doubles, count: Doubles) -> Interval:
    """Mean over choices, with an interval by a bootstrap over people."""
    n = len(saved)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=REPLICATES)
    weights = np.vstack([np.ones((1, n)), drawn])
    return interval(np.asarray((weights @ saved) / (weights @ count), dtype=np.float64))
