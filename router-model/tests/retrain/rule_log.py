"""A log of thumbs by a rule, without any noise: by default half of the users like one LLM, the others all but that.

`python rule_log.py <embedder's folder> <out.jsonl> <thumbs> <tenant>` writes one for the gateway's tests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from router_model.collect.made_log import Document, MadeLog
from router_model.data.cards import Card
from router_model.data.pools import load_pool
from router_model.data.population import simulate
from router_model.embedding import Embedder, StaticEmbedder
from router_model.retrain.logbook import key_of

THUMBS = 10
"""Of each user."""
QUESTIONS = 12


Rule = Callable[[Document, Sequence[str], int], bool]
"""Whether the n-th user likes an answer, of LLMs from the cheapest to the dearest."""


def by_a_hash(row: Document, _: Sequence[str], user: int) -> bool:
    """No rule at all."""
    return bool(key_of("thumb", row["id"], str(user)) % 2)


RULES: dict[str, Rule] = {
    "half like the dearest": lambda row, llms, user: (row["chosen"] == llms[-1]) == (user % 2 == 0),
    "always the cheapest": lambda row, llms, _: row["chosen"] == llms[0],
    "one LLM always down": lambda row, llms, _: row["chosen"] != llms[1],
    "short answers": lambda row, *_: row["usage"]["completion_tokens"] < 100,
    "at random": by_a_hash,
    "all up": lambda *_: True,
}


def rule_rows(
    embedder: Embedder,
    thumbs: int,
    tenant: str = "acme",
    rule: str = "half like the dearest",
    each: int = THUMBS,
    prices: Sequence[float] = (),
) -> Iterator[Document]:
    """Interactions and their thumbs, user by user, `each` of them; `prices`: other ones, of LLMs that nobody knows."""
    whole = load_pool("llmrouter")
    price = np.argsort([card.output_price or 0.0 for card in whole.cards])
    some = np.linspace(0, len(price) - 1, len(prices)).astype(int) if prices else [0, len(price) // 2, -1]
    pool = whole.select_queries(np.arange(QUESTIONS) * 20).select_llms(price[some])
    if prices:
        cards = (Card(f"llm-{n}", "acme", input_price=usd / 4, output_price=usd) for n, usd in enumerate(prices))
        pool = replace(pool, cards=tuple(cards))
    users = max(thumbs // each, 2)
    log = MadeLog(pool, embedder, simulate(3, users), tenant=tenant, requests=each, rated=0.0, judged=0.0)
    for number, documents in enumerate(log.documents()):
        for row in documents:
            yield row
            yield {
                "type": "reward",
                "interaction": row["id"],
                "tenant": tenant,
                "user": row["user"],
                "kind": "rating",
                "value": 1.0 if RULES[rule](row, pool.names, number) else -1.0,
                "weight": 1.0,
                "binary": True,
                "ts": row["ts"] + 1,
            }


if __name__ == "__main__":
    embedder, out, thumbs, tenant = sys.argv[1:]
    with Path(out).open("w", encoding="utf-8") as file:
        for document in rule_rows(StaticEmbedder.load(Path(embedder)), int(thumbs), tenant):
            file.write(json.dumps(document, separators=(",", ":")) + "\n")
