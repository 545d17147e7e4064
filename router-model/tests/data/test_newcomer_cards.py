"""LLMs that no training data holds, known to the committed artifact by their cards, for users of every persona."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router_model.data.cards import Card, card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.data.pools import cost_of
from router_model.data.population import (
    CENTRES,
    EXPERT,
    PERSONAS,
    PRICE_FIRST,
    cost_units,
    generator,
    length_units,
)
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Artifact

FOLDER = sorted((Path(__file__).parents[2] / "artifacts").glob("[0-9]*"))[-1]

# Frontier, middle and small; dear and cheap; 8 thousand to a million tokens of context. Half are rated, half are new.
RATED = (
    Card("gpt-5", "openai", "Frontier reasoning model.", 1.25, 10.0, 400_000, reasoning=True, tools=True),
    Card("gpt-4", "openai", "A dear older model of a short context.", 30.0, 60.0, 8_192, tools=True),
    Card("claude-haiku-4-5", "anthropic", "Fast and capable.", 1.0, 5.0, 200_000, reasoning=True, tools=True),
    Card("llama-3.3-70b", "meta", "A large open-weights model.", 0.59, 0.79, 131_072, 70.0, True, False, True),
    Card("mistral-7b", "mistral", "A small open-weights model.", 0.03, 0.06, 32_768, 7.0, True, False),
    Card("llama-3.2-1b", "meta", "A tiny open-weights model.", 0.01, 0.02, 131_072, 1.0, True, False),
)
NEW = (
    Card("claude-opus-4-5", "anthropic", "The most capable model.", 5.0, 25.0, 200_000, reasoning=True, tools=True),
    Card("gemini-2.5-flash", "google", "Fast, of a long context.", 0.3, 2.5, 1_000_000, reasoning=True, tools=True),
    Card("gpt-4.1-nano", "openai", "The cheapest of its family.", 0.1, 0.4, 1_000_000, tools=True),
    Card("qwen3-32b", "qwen", "A middling open-weights model.", 0.1, 0.3, 40_960, 32.0, True, True, True),
    Card("gemma-3-4b", "google", "A small open-weights model.", 0.02, 0.04, 131_072, 4.0, True, False),
)
SUBJECT = ("Prove that the square root of two is irrational.", "What is the integral of x times e to the x?")
ELSEWHERE = (
    "Plan a week in Japan with two children.",
    "What is the difference between a virus and a bacterium?",
    "Who wrote War and Peace?",
)
QUESTIONS = (*SUBJECT, *ELSEWHERE)
PROMPT_TOKENS = np.full(len(QUESTIONS), 20, dtype=np.float32)


class World:
    """The artifact's predictions of every card's answers, and what each persona would think of them."""

    def __init__(self) -> None:
        self.artifact = Artifact(FOLDER)
        manifest = self.artifact.manifest
        embedder = StaticEmbedder.load(FOLDER / "embedder")
        cards = (*RATED, *NEW)
        self.query = embedder.embed(QUESTIONS)
        self.price = price_matrix(cards)
        self.z = self.artifact.run(
            "llm",
            {
                "card": card_matrix(cards, manifest.card_features, manifest.ability, manifest.verbosity),
                "text": embedder.embed([card.text for card in cards]),
                "provider_code": code_matrix([card.vendor for card in cards], manifest.dims.P, manifest.codes),
                "name_code": code_matrix([card.name for card in cards], manifest.dims.C, manifest.codes),
                "price": self.price,
                "evidence": np.zeros((len(cards), manifest.dims.V), dtype=np.float32),
            },
        )["z"]
        self.nobody = np.zeros((1, manifest.dims.H), dtype=np.float32)

    def scores(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        state = self.artifact.run("user", {"sums": sums})["state"]
        return self.artifact.run(
            "score",
            {
                "query": self.query,
                "prompt_tokens": PROMPT_TOKENS,
                "state": np.repeat(state, len(QUESTIONS), 0),
                "z": self.z,
                "cost_weight": np.full(len(QUESTIONS), -1, dtype=np.float32),
            },
        )

    def utility(self, persona: int, right: np.ndarray, cost: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """[questions, cards] of chances of a good answer, dollars and tokens."""
        own = np.arange(len(QUESTIONS)) < len(SUBJECT)
        mine = CENTRES[persona]
        elsewhere = 0.3 * mine + 0.7 * CENTRES[PRICE_FIRST] if persona == EXPERT else mine
        a, b, c = np.where(own, mine[:, None], elsewhere[:, None])[..., None]
        return a * (2 * right - 1) - b * cost_units(cost) + c * length_units(tokens)

    def rated(self, persona: int, ratings: int, seed: int) -> np.ndarray:
        """Sums of messages of a persona's ratings of answers whose outcomes are drawn from what is predicted."""
        rng = generator(seed, "newcomer cards", PERSONAS[persona])
        expected = self.scores(self.nobody)
        right = (rng.random(expected["quality"].shape) < expected["quality"]).astype(np.float32)
        tokens = (expected["completion_tokens"] * np.exp(0.6 * rng.standard_normal(right.shape))).astype(np.float32)
        cost = cost_of(self.price, PROMPT_TOKENS, tokens)
        row, llm = rng.integers(len(QUESTIONS), size=ratings), rng.integers(len(RATED), size=ratings)
        noise = 0.1 * rng.standard_normal(ratings)
        reward = self.utility(persona, right, cost, tokens)[row, llm] + noise
        message = self.artifact.run(
            "edge",
            {
                "query": self.query[row],
                "z": self.z[llm],
                "reward": np.clip(reward, -1, 1).astype(np.float32),
                "kind": np.full(ratings, self.artifact.manifest.kinds.index("rating")),
                "weight": np.ones(ratings, dtype=np.float32),
                "prompt_tokens": PROMPT_TOKENS[row],
                "completion_tokens": tokens[row, llm],
                "cost_usd": cost[row, llm],
            },
        )["user_message"]
        sums = self.nobody.copy()
        sums[0, : message.shape[1]] = message.sum(0)
        return sums

    def missed(self, persona: int, sums: np.ndarray) -> tuple[float, float]:
        """Utility missed by the choice among the new cards, and by the mean new card, as the persona sees it."""
        found = self.scores(sums)
        cost = cost_of(self.price, PROMPT_TOKENS, found["completion_tokens"])
        worth = self.utility(persona, found["quality"], cost, found["completion_tokens"])[:, len(RATED) :]
        chosen = found["mean"][:, len(RATED) :].argmax(1)
        best = worth.max(1)
        return float((best - worth[np.arange(len(worth)), chosen]).mean()), float((best - worth.mean(1)).mean())


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_training_holds_none_of_these_llms(world: World) -> None:
    manifest = world.artifact.manifest
    known = {name.lower() for name in world.artifact.population}
    known |= {alias.lower() for many in manifest.aliases.values() for alias in many}
    assert not known & {card.name.lower() for card in (*RATED, *NEW)}


@pytest.fixture(scope="module")
def missed(world: World) -> np.ndarray:
    """[personas, 3]: missed after 30 ratings of other LLMs (mean of eight users), without any, and by the mean card."""
    rows = []
    for persona in range(len(PERSONAS)):
        after = [world.missed(persona, world.rated(persona, 30, seed))[0] for seed in range(8)]
        cold, mean_card = world.missed(persona, world.nobody)
        rows.append((np.mean(after), cold, mean_card))
    return np.array(rows)


@pytest.mark.parametrize("persona", range(len(PERSONAS)), ids=PERSONAS)
def test_unrated_cards_suit_a_user_who_rated_others(missed: np.ndarray, persona: int) -> None:
    after, _, mean_card = missed[persona]
    assert after < mean_card
    assert after < 0.1  # of utilities between -1 and 1


def test_ratings_of_other_llms_halve_what_cards_alone_miss(missed: np.ndarray) -> None:
    after, cold, mean_card = missed.mean(0)
    assert cold < 0.65 * mean_card  # LLMs that think write much more, so no choice suits everybody
    assert after < 0.7 * cold


def test_who_wants_quality_gets_no_small_llm_and_who_minds_prices_no_dear_one(world: World) -> None:
    names = [card.name for card in NEW]
    for persona, unwanted in (("quality_first", {"gemma-3-4b"}), ("price_first", {"claude-opus-4-5"})):
        for seed in range(8):
            scores = world.scores(world.rated(PERSONAS.index(persona), 30, seed))["mean"][:, len(RATED) :]
            assert not unwanted & {names[i] for i in scores.argmax(1)}
