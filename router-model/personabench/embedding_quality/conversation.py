"""Parts of a conversation to embed: an experiment, for the table of `docs/embedding.md`.

The data has single questions only, so conversations are made of them: a system prompt before, other questions before,
or a short turn after ("are you sure?"), which is about the question before it. The predictor learns from single
questions; each choice of text is judged by how much worse it then predicts.
Run: `python -m personabench.embedding_quality.conversation [--data DIR]`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from personabench.embedding_quality.compare import POOLS
from personabench.embedding_quality.quality import RIDGE, score
from personabench.predictors import ridge
from router_model.data.pools import Pool, load_pool
from router_model.embedding.static import StaticEmbedder
from router_model.places import DATA, EMBEDDERS

EMBEDDER = EMBEDDERS / "static-2"
SHORT_TURN = 40
ENOUGH = 400
VALIDATION = 7

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are ChatGPT, a large language model trained by OpenAI. Answer as concisely as possible.",
    "You are a support agent of Acme Ltd. Be polite, answer in the customer's language, never promise refunds, and "
    "hand over to a colleague when someone asks for one. The shop opens from 9 to 17. Returns are free for a month.",
    "You are an expert programmer. Write clean, tested code in Python or TypeScript. Explain your choices in short "
    "comments, state assumptions, and format code in Markdown blocks. Do not apologise. Think step by step.",
)
FOLLOW_UPS = (
    "Are you sure?",
    "Explain that again, please.",
    "continue",
    "Why?",
    "Give me just the answer.",
    "ok, and in one line?",
)


class Conversation(NamedTuple):
    """A system prompt and the user's turns, oldest first; answers are not known."""

    system: str
    turns: tuple[str, ...]


def last_turn(c: Conversation) -> str:
    """Take the last user turn."""
    return c.turns[-1]


def last_turn_unless_short(c: Conversation) -> str:
    """Take the last user turn, and those before it up to one that is not short: `src/embedding/query-text.ts`."""
    return _back_to(c, SHORT_TURN)


def last_turn_unless_below_20(c: Conversation) -> str:
    """Do the same with a lower limit."""
    return _back_to(c, 20)


def last_turn_unless_below_60(c: Conversation) -> str:
    """Do the same with a higher limit."""
    return _back_to(c, 60)


def _back_to(c: Conversation, short: int) -> str:
    text = ""
    for turn in reversed(c.turns):
        text = f"{turn}\n{text}" if text else turn
        if len(turn) >= short or len(text) >= ENOUGH:
            break
    return text


def system_and_last_turn(c: Conversation) -> str:
    """Take system prompt and last user turn."""
    return f"{c.system}\n{c.turns[-1]}" if c.system else c.turns[-1]


def last_two_turns(c: Conversation) -> str:
    """Take the last two user turns."""
    return "\n".join(c.turns[-2:])


def all_turns(c: Conversation) -> str:
    """Take all user turns."""
    return "\n".join(c.turns)


def everything(c: Conversation) -> str:
    """Take system prompt and all user turns."""
    return "\n".join(filter(None, [c.system, *c.turns]))


CHOICES: tuple[Callable[[Conversation], str], ...] = (
    last_turn,
    last_turn_unless_below_20,
    last_turn_unless_short,
    last_turn_unless_below_60,
    system_and_last_turn,
    last_two_turns,
    all_turns,
    everything,
)


def scenarios(queries: Sequence[str], seed: int = 0) -> Iterator[tuple[str, list[Conversation]]]:
    """Yield conversations about each query, by name."""
    rng = random.Random(seed)

    def pick(pool: Sequence[str], n: int = 1) -> tuple[str, ...]:
        return tuple(rng.choice(pool) for _ in range(n))

    yield "question alone", [Conversation("", (q,)) for q in queries]
    yield "system prompt", [Conversation(pick(SYSTEM_PROMPTS)[0], (q,)) for q in queries]
    yield "new topic", [Conversation("", (*pick(queries), q)) for q in queries]
    yield "new topic after four", [Conversation("", (*pick(queries, 4), q)) for q in queries]
    yield "short follow-up", [Conversation("", (q, *pick(FOLLOW_UPS))) for q in queries]
    yield "two short follow-ups", [Conversation("", (q, *pick(FOLLOW_UPS, 2))) for q in queries]


def table(pools: Sequence[Pool]) -> Iterator[str]:
    """Yield the lines of the markdown table: log loss / gap closed on the validation fold, mean over the pools."""
    embedder = StaticEmbedder.load(EMBEDDER)
    results: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for pool in pools:
        train, held = pool.rows(pool.folds.train), pool.rows((VALIDATION,))
        quality = pool.quality.astype(np.float64)
        vectors = embedder.embed([pool.queries[i] for i in train]).astype(np.float64)
        predict, best = ridge(RIDGE)(vectors, quality[train]), int(quality[train].mean(axis=0).argmax())
        for name, conversations in scenarios([pool.queries[i] for i in held]):
            for choice in CHOICES:
                x = embedder.embed([choice(c) for c in conversations]).astype(np.float64)
                result = score(predict(x), quality[held], best)
                row = results.setdefault(choice.__name__, {}).setdefault(name, [])
                row.append((result.log_loss, result.gap))
    names = list(next(iter(results.values())))
    yield f"| what is embedded | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for label, by_scenario in results.items():
        means = [np.mean(by_scenario[name], axis=0) for name in names]
        yield f"| {label.replace('_', ' ')} | {' | '.join(f'{loss:.3f} / {gap:.2f}' for loss, gap in means)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What of a conversation to embed.")
    parser.add_argument("--data", type=Path, default=DATA)
    for line in table([load_pool(name, parser.parse_args().data) for name in POOLS]):
        print(line, flush=True)
