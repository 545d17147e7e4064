"""The two ways in which PersonalizedRouter (arXiv 2511.16883) makes users out of outcomes.

Multi-cost-efficiency: reward = a x effect - (1 - a) x cost, with nine values of a, or many users spread over them.
LLM as a judge: persona prompts, as data, ask any OpenAI-compatible endpoint which answer such a person would prefer.
Letters: U users, Q queries, M LLMs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router_model.data import Pool
from router_model.population import generator

if TYPE_CHECKING:
    from openai import OpenAI

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

TRADE_OFFS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PERSONAS_FILE = Path(__file__).with_name("judge_personas.json")


@dataclass(frozen=True)
class CostEfficiencyPopulation:
    """Users who differ in nothing but how they weigh effect against cost. Implements `population.Population`."""

    weight: NDArray[np.float64]
    """[U]: a."""
    split: Ints
    """[U]."""

    @staticmethod
    def nine(copies: int = 1, seed: int = 0) -> CostEfficiencyPopulation:
        """The paper's nine users, each `copies` times, split 70 / 10 / 20 % within each value of a."""
        weight = np.repeat(np.array(TRADE_OFFS), copies)
        return CostEfficiencyPopulation(weight, _split(len(weight), seed))

    @staticmethod
    def spread(users: int = 1000, seed: int = 0) -> CostEfficiencyPopulation:
        """Users spread evenly over the paper's range of a."""
        rng = generator(seed, "cost efficiency")
        return CostEfficiencyPopulation(rng.uniform(min(TRADE_OFFS), max(TRADE_OFFS), users), _split(users, seed))

    def utility(self, users: Ints, pool: Pool, rows: Ints, time: int = 0) -> Floats:
        """[U, Q, M]: reward, between -1 and 1."""
        a = self.weight[users][:, None, None]
        return np.asarray(a * pool.quality[rows] - (1 - a) * scaled_cost(pool)[rows], dtype=np.float32)

    def utility_at(self, users: Ints, pool: Pool, rows: Ints, llms: Ints, time: Ints) -> Floats:
        """[U, N] for single answers."""
        a = self.weight[users][:, None]
        return np.asarray(a * pool.quality[rows, llms] - (1 - a) * scaled_cost(pool)[rows, llms], dtype=np.float32)


def _split(users: int, seed: int) -> Ints:
    order = generator(seed, "split of cost efficiency").permutation(users)
    split = np.full(users, 2, dtype=np.int64)
    split[order[: round(0.7 * users)]] = 0
    split[order[round(0.7 * users) : round(0.8 * users)]] = 1
    return split


def scaled_cost(pool: Pool) -> Floats:
    """Dollars [Q, M] scaled to the range of effect, 0..1, by the pool's 1st and 99th percentile."""
    cost = pool.cost_usd()
    low, high = np.percentile(cost, [1, 99])
    scaled = (cost - float(low)) / max(float(high - low), 1e-12)
    return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)


@dataclass(frozen=True)
class Outcome:
    """What the paper reports of a router: means over users and queries."""

    performance: float
    cost: float
    """Of `scaled_cost`."""
    reward: float


def outcome(population: CostEfficiencyPopulation, users: Ints, pool: Pool, rows: Ints, chosen: Ints) -> Outcome:
    """Performance, Cost and Reward of choices [U, Q] for users on queries `rows`."""
    row = np.broadcast_to(rows, chosen.shape)
    time = np.zeros(len(rows), dtype=np.int64)
    reward = population.utility_at(users, pool, row, chosen, time)
    quality, cost = pool.quality[row, chosen], scaled_cost(pool)[row, chosen]
    return Outcome(float(quality.mean()), float(cost.mean()), float(reward.mean()))


@dataclass(frozen=True)
class JudgePersona:
    """A person whom the judge plays."""

    name: str
    description: str


@cache
def judge_personas() -> tuple[JudgePersona, ...]:
    """The personas of `judge_personas.json`."""
    return tuple(JudgePersona(**entry) for entry in json.loads(PERSONAS_FILE.read_text(encoding="utf-8")))


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


class JudgeError(RuntimeError):
    """The judge could not be asked; the message says what was tried."""


def ask_judge(
    client: OpenAI, model: str, persona: JudgePersona, query: str, answers: Sequence[Answer], seed: int = 0
) -> int | None:
    """Position of the answer that the persona prefers, by an OpenAI-compatible endpoint.

    Answers are shown in random order, so that a judge that likes the first one favours no LLM. None where the reply
    names no answer. Raises `JudgeError` where the endpoint fails.
    """
    from openai import OpenAIError

    order = generator(seed, "order of answers", persona.name, query).permutation(len(answers))
    prompt = judge_prompt(persona, query, [answers[i] for i in order])
    message = {"role": "user", "content": prompt}
    try:
        reply = client.chat.completions.create(model=model, messages=[message], temperature=0, max_tokens=8)  # type: ignore[list-item]
    except OpenAIError as error:
        raise JudgeError(f"{model} could not judge for {persona.name}: {error}") from error
    choice = preferred(reply.choices[0].message.content or "", len(answers)) if reply.choices else None
    return None if choice is None else int(order[choice])
