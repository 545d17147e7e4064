"""The two ways in which PersonalizedRouter (arXiv 2511.16883) makes users out of outcomes.

Multi-cost-efficiency: reward = a x effect - (1 - a) x cost, with nine values of a, or many users spread over them.
LLM as a judge: persona prompts, as data, ask which answer such a person would prefer.
`simulate-users` and `judge-personas` (`router_model/collect/`) make both out of what `collect` gathered.
Letters: U users, Q queries, M LLMs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router_model.data.pools import Pool
from router_model.data.population import generator

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CostScale = Literal["percentile", "task"]
"""How dollars become a cost of 0..1: by percentiles of the pool, or as in the paper's code, from the least to the most
within each task."""

TRADE_OFFS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PERSONAS_FILE = Path(__file__).with_name("judge_personas.json")


@dataclass(frozen=True)
class CostEfficiencyPopulation:
    """Users who differ in nothing but how they weigh effect against cost. Implements `population.Population`."""

    weight: NDArray[np.float64]
    """[U]: a."""
    split: Ints
    """[U]."""
    scale: CostScale = "percentile"

    @staticmethod
    def nine(copies: int = 1, seed: int = 0, scale: CostScale = "percentile") -> CostEfficiencyPopulation:
        """The paper's nine users, each `copies` times, split 70 / 10 / 20 %."""
        weight = np.repeat(np.array(TRADE_OFFS), copies)
        return CostEfficiencyPopulation(weight, _split(len(weight), seed), scale)

    @staticmethod
    def over_nine(users: int = 1000, seed: int = 0) -> CostEfficiencyPopulation:
        """So many users, the paper's nine values of a in turn."""
        return CostEfficiencyPopulation(np.resize(np.array(TRADE_OFFS), users), _split(users, seed))

    @staticmethod
    def spread(users: int = 1000, seed: int = 0, scale: CostScale = "percentile") -> CostEfficiencyPopulation:
        """Users spread evenly over the paper's range of a."""
        weight = generator(seed, "cost efficiency").uniform(min(TRADE_OFFS), max(TRADE_OFFS), users)
        return CostEfficiencyPopulation(weight, _split(users, seed), scale)

    def utility(self, users: Ints, pool: Pool, rows: Ints, time: int = 0) -> Floats:
        """[U, Q, M]: reward, between -1 and 1."""
        a = self.weight[users][:, None, None]
        return np.asarray(a * pool.quality[rows] - (1 - a) * self.cost(pool)[rows], dtype=np.float32)

    def utility_at(self, users: Ints, pool: Pool, rows: Ints, llms: Ints, time: Ints) -> Floats:
        """[U, N] for single answers."""
        a = self.weight[users][:, None]
        return np.asarray(a * pool.quality[rows, llms] - (1 - a) * self.cost(pool)[rows, llms], dtype=np.float32)

    def cost(self, pool: Pool) -> Floats:
        """Costs [Q, M] as these users feel them, 0..1."""
        return scaled_cost(pool, self.scale)


def _split(users: int, seed: int) -> Ints:
    order = generator(seed, "split of cost efficiency").permutation(users)
    split = np.full(users, 2, dtype=np.int64)
    split[order[: round(0.7 * users)]] = 0
    split[order[round(0.7 * users) : round(0.8 * users)]] = 1
    return split


def scaled_cost(pool: Pool, scale: CostScale = "percentile") -> Floats:
    """Dollars [Q, M] scaled to the range of effect, 0..1: by the pool's 1st and 99th percentile, or task by task."""
    cost = pool.cost_usd()
    if scale == "task":
        scaled = np.zeros_like(cost)
        for task in np.unique(pool.task):
            rows = pool.task == task
            least, most = float(cost[rows].min()), float(cost[rows].max())
            scaled[rows] = (cost[rows] - least) / max(most - least, 1e-12)
        return scaled
    low, high = np.percentile(cost, [1, 99])
    scaled = (cost - float(low)) / max(float(high - low), 1e-12)
    return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)


@dataclass(frozen=True)
class JudgePersona:
    """A person whom the judge plays."""

    name: str
    description: str


@cache
def judge_personas() -> tuple[JudgePersona, ...]:
    """The personas of `judge_personas.json`."""
    return read_personas(PERSONAS_FILE)


def read_personas(path: Path) -> tuple[JudgePersona, ...]:
    """A JSON list of objects with `name` and `description`. Raises `ValueError` naming the file."""
    try:
        found = tuple(JudgePersona(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a list of objects with name and description: {error}") from error
    if not found or len({persona.name for persona in found}) < len(found):
        raise ValueError(f"{path}: there must be personas, each with a name of its own")
    return found


@dataclass(frozen=True)
class Answer:
    """An LLM's answer to a query."""

    llm: str
    text: str
    cost_usd: float


def judge_prompt(persona: JudgePersona, query: str, answers: Sequence[Answer]) -> str:
    """Asks for the number of the preferred answer; which LLM gave it isn't told."""
    shown = "\n\n".join(f"[{i}] (cost: ${answer.cost_usd:.6f})\n{answer.text}" for i, answer in enumerate(answers, 1))
    return (
        f"You are {persona.description}\nYou asked: {query}\n\n"
        f"These are the answers that you could have got:\n\n{shown}\n\n"
        f"Which one do you prefer, being who you are? Reply with its number, 1 to {len(answers)}, and nothing else."
    )


def preferred(reply: str, answers: int) -> int | None:
    """Position of the answer that a judge named, None where it named none of them."""
    numbers = [int(found) for found in re.findall(r"\d+", reply)]
    fitting = [number for number in numbers if 1 <= number <= answers]
    return fitting[0] - 1 if fitting else None


def shown_order(persona: JudgePersona, query: str, answers: int, seed: int = 0) -> Ints:
    """In which order a judge sees the answers: at random, so that one who likes the first one favours no LLM."""
    return generator(seed, "order of answers", persona.name, query).permutation(answers)


@dataclass(frozen=True)
class PersonaPopulation:
    """Users who are personas, in turn. Implements `population.Population`."""

    favourite: Ints
    """[P, Q]: which LLM a persona prefers for a query of the pool that was judged; -1 = not known."""
    split: Ints
    """[U]: user i is persona i modulo P."""

    scale: CostScale = "percentile"

    @staticmethod
    def of(favourite: Ints, users: int, seed: int = 0) -> PersonaPopulation:
        """So many users, split 70 / 10 / 20 %."""
        return PersonaPopulation(favourite, _split(users, seed))

    def utility(self, users: Ints, pool: Pool, rows: Ints, time: int = 0) -> Floats:
        """[U, Q, M]: 1 for the preferred answer, -1 for others, NaN where the judge was not asked."""
        best = self.favourite[users % len(self.favourite)][:, rows][..., None]
        liked = np.where(best == np.arange(len(pool.cards)), 1.0, -1.0)
        return np.where(best >= 0, liked, np.nan).astype(np.float32)

    def utility_at(self, users: Ints, pool: Pool, rows: Ints, llms: Ints, time: Ints) -> Floats:
        """[U, N] for single answers."""
        best = self.favourite[(users % len(self.favourite))[:, None], rows]
        return np.where(best >= 0, np.where(best == llms, 1.0, -1.0), np.nan).astype(np.float32)

    def cost(self, pool: Pool) -> Floats:
        """Costs [Q, M], 0..1; to these users they are a part of what they like."""
        return scaled_cost(pool, self.scale)
