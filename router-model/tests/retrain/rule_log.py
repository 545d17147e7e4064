"""A log of thumbs by a rule, without any noise: half of the users like one LLM, the others all but that one.

`python rule_log.py <embedder's folder> <out.jsonl> <thumbs> <tenant>` writes one for the gateway's tests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from router_model.collect.made_log import Document, MadeLog
from router_model.data.pools import load_pool
from router_model.data.population import simulate
from router_model.embedding import Embedder, StaticEmbedder

THUMBS = 10
"""Of each user."""
QUESTIONS = 12


def rule_rows(embedder: Embedder, thumbs: int, tenant: str = "acme") -> Iterator[Document]:
    """Interactions and their thumbs, user by user."""
    whole = load_pool("llmrouter")
    price = np.argsort([card.output_price or 0.0 for card in whole.cards])
    pool = whole.select_queries(np.arange(QUESTIONS) * 20).select_llms(price[[0, len(price) // 2, -1]])
    dear = pool.names[-1]
    users = max(thumbs // THUMBS, 2)
    log = MadeLog(pool, embedder, simulate(3, users), tenant=tenant, requests=THUMBS, rated=0.0, judged=0.0)
    for number, documents in enumerate(log.documents()):
        for row in documents:
            likes = (row["chosen"] == dear) == (number % 2 == 0)
            yield row
            yield {
                "type": "reward",
                "interaction": row["id"],
                "tenant": tenant,
                "user": row["user"],
                "kind": "rating",
                "value": 1.0 if likes else -1.0,
                "weight": 1.0,
                "binary": True,
                "ts": row["ts"] + 1,
            }


if __name__ == "__main__":
    embedder, out, thumbs, tenant = sys.argv[1:]
    with Path(out).open("w", encoding="utf-8") as file:
        for document in rule_rows(StaticEmbedder.load(Path(embedder)), int(thumbs), tenant):
            file.write(json.dumps(document, separators=(",", ":")) + "\n")
