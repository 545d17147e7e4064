"""Reward, performance and cost of routers for PersonalizedRouter's simulated users, with paired intervals.

New users bring n ratings of their own; users met before are training users with all that they ever rated. Both ask
questions that nobody saw, and none that their own history holds. Letters: U users, R questions, M LLMs, B replicates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from personabench.bench.contestant import Contestant, Informed, Remembering
from personabench.bench.episode import Setup, make_episode
from personabench.heads import HeadsConfig
from personabench.metrics import Interval, Resampling, interval, resample, share_worse_off
from router_model.collect.strategies import CostEfficiencyPopulation, CostScale, PersonaPopulation
from router_model.data.pools import Pool
from router_model.data.population import Population, simulate
from router_model.data.simulation import History

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Tell = Callable[[str], None]
Factory = Callable[[], Contestant]

Group = Literal["nine", "spread", "judged"]
"""The paper's nine trade-offs; trade-offs spread evenly; nine personas, of whose answers one is the favourite."""
PERSONAS = 9
Whom = Literal["new", "met before"]
LENGTHS = (0, 5, 20, 50, 100)
COPIES = 45
"""Of the paper's nine users: 284 in training, 81 to judge by."""
MET = 100
"""Most training users who are judged."""
RIVALS = ("best single", "PersonalizedRouter, as in the paper", "PersonalizedRouter, as released", "the regression")
"""To whom everybody is compared, pair by pair."""


class Users(Population, Protocol):
    """Users to whom dollars are a cost of 0..1."""

    def cost(self, pool: Pool) -> Floats:
        """[Q, M]."""


@dataclass(frozen=True)
class Case:
    """A pool, its users and how they feel a dollar."""

    pool: str
    group: Group
    scale: CostScale

    def users(self, users: int, seed: int, pool: Pool) -> Users:
        """The population; `users`: of those that are spread over the trade-offs.

        The paper's second strategy lets an LLM judge which answer a persona prefers; here it is the answer of the
        highest utility to a person of this package's simulator, who is asked in the judge's stead.
        """
        if self.group == "judged":
            people = simulate(seed, PERSONAS)
            rows = np.arange(len(pool.queries))
            favourite = people.utility(np.arange(PERSONAS), pool, rows).argmax(-1)
            judged = PersonaPopulation.of(favourite, PERSONAS * COPIES, seed)
            return replace(judged, scale=self.scale)
        if self.group == "nine":
            return CostEfficiencyPopulation.nine(COPIES, seed, self.scale)
        return CostEfficiencyPopulation.spread(users, seed, self.scale)


@dataclass(frozen=True)
class Sums:
    """Sums over answers, by replicate [B + 1]; they add up over seeds."""

    reward: Doubles
    performance: Doubles
    cost: Doubles
    answers: Doubles

    def __add__(self, other: Sums) -> Sums:
        """Of two seeds."""
        return Sums(
            self.reward + other.reward,
            self.performance + other.performance,
            self.cost + other.cost,
            self.answers + other.answers,
        )

    @property
    def mean(self) -> Doubles:
        """Reward of an answer [B + 1]."""
        return self.reward / self.answers


@dataclass(frozen=True)
class Row:
    """One router after n ratings, over all seeds."""

    case: Case
    protocol: Whom
    contestant: str
    n: int
    reward: Interval
    performance: float
    cost: float
    over: dict[str, Interval]
    """By the name of a rival: difference of rewards, paired."""
    share: dict[str, float]
    """The same as a share of the rival's reward."""
    worse_off: float
    """Share of users served worse than by the best single LLM."""
    seeds: int = 1
    """How many are added up."""


@dataclass
class Tally:
    """Sums over the seeds of one case."""

    sums: dict[tuple[Whom, str, int], Sums] = field(default_factory=dict)
    worse: dict[tuple[Whom, str, int], list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, key: tuple[Whom, str, int], sums: Sums, worse: float) -> None:
        """One seed's."""
        self.sums[key] = self.sums[key] + sums if key in self.sums else sums
        self.worse[key].append(worse)


@dataclass(frozen=True)
class Asked:
    """Users and the questions that they are judged on."""

    population: Users
    pool: Pool
    users: Ints
    rows: Ints
    counted: Bools
    """[U, R]: questions that aren't in the user's history."""
    best_single: int
    resampling: Resampling

    def judge(self, scores: Floats) -> tuple[Sums, float]:
        """Sums of the choices by `scores` [U, R, M], and the share of users worse off."""
        utility = self.population.utility(self.users, self.pool, self.rows)
        chosen = np.broadcast_to(scores, utility.shape).argmax(-1)
        reward = np.take_along_axis(utility, chosen[..., None], -1)[..., 0]
        at = (np.broadcast_to(self.rows, chosen.shape), chosen)

        def summed(values: Floats) -> Doubles:
            return self.resampling.sum(np.where(self.counted, values, np.float32(0)))

        parts = (reward, self.pool.quality[at], self.population.cost(self.pool)[at], np.ones_like(reward))
        single = utility[..., self.best_single]
        return Sums(*(summed(part) for part in parts)), share_worse_off(reward, single, self.counted)


def compete(
    case: Case,
    pool: Pool,
    factories: Sequence[Factory],
    seeds: int,
    users: int = 1000,
    tell: Tell = lambda _: None,
    heads: HeadsConfig | None = None,
    so_far: Callable[[list[Row]], None] = lambda _: None,
) -> list[Row]:
    """Every router, new users and met ones, all seeds; the first factory has to make the best single LLM.

    `so_far` hears of the seeds that are done, after each of them.
    """
    tally = Tally()
    for seed in range(seeds):
        people = case.users(users, seed, pool)
        setup = Setup(case.pool, "dense", seed, users, LENGTHS)
        tell(f"{case.pool}, {case.group}, {case.scale}, seed {seed}: users and their log")
        episode = make_episode(setup, pool, heads=heads, users=people)
        judgement, log = episode.tests["none"], episode.known.log.train
        new = Asked(
            people, pool, judgement.users, judgement.rows, judgement.counted, judgement.best_single,
            judgement.resampling,
        )  # fmt: skip
        who = np.unique(np.linspace(0, len(log.users) - 1, MET).astype(np.int64))
        everything = np.ones((len(who), len(new.rows)), np.bool_)
        draws = resample(len(who), len(new.rows), 2000 + seed, 9)
        met = replace(new, users=log.users[who], counted=everything, resampling=draws)
        for factory in factories:
            contestant = factory()
            tell(f"{case.pool}, {case.group}, {case.scale}, seed {seed}: {contestant.name}")
            if isinstance(contestant, Informed):
                contestant.tell(people, pool)
            contestant.fit(episode.known)
            for n in LENGTHS:
                scores = contestant.scores(new.rows, judgement.history.first(n))
                tally.add(("new", contestant.name, n), *new.judge(scores))
            scores = _of_trained(contestant, met.rows, who, log.of(who))
            tally.add(("met before", contestant.name, log.query.shape[1]), *met.judge(scores))
        so_far(_rows(case, tally))
    return _rows(case, tally)


def _of_trained(contestant: Contestant, rows: Ints, who: Ints, history: History) -> Floats:
    if isinstance(contestant, Remembering):
        return contestant.scores_of_trained(rows, who, history)
    return contestant.scores(rows, history)


def _rows(case: Case, tally: Tally) -> list[Row]:
    made = []
    for (protocol, name, n), sums in tally.sums.items():
        rivals = {rival: tally.sums[protocol, rival, n] for rival in RIVALS if (protocol, rival, n) in tally.sums}
        over = {rival: interval(sums.mean - other.mean) for rival, other in rivals.items() if rival != name}
        share = {rival: found.value / float(rivals[rival].mean[0]) for rival, found in over.items()}
        count = float(sums.answers[0])
        made.append(
            Row(
                case=case,
                protocol=protocol,
                contestant=name,
                n=n,
                reward=interval(sums.mean),
                performance=float(sums.performance[0]) / count,
                cost=float(sums.cost[0]) / count,
                over=over,
                share=share,
                worse_off=float(np.mean(tally.worse[protocol, name, n])),
                seeds=len(tally.worse[protocol, name, n]),
            )
        )
    return made
