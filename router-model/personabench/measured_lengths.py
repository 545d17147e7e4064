"""How long replies are taken to be once an LLM has answered some questions, rated or not, as the gateway learns it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router_model.export.artifact import Artifact

Floats = NDArray[np.float32]
NO_WEIGHT = 1e-9  # of an outcome that says nothing but how long the answer is


def length_evidence(artifact: Artifact, query: Floats, z: Floats, tokens: Floats) -> Floats:
    """Sum of messages [V] of answers to queries [n, E] by the LLM whose state is z [Z], of so many tokens [n]."""
    n = len(query)
    messages = artifact.run(
        "edge",
        {
            "reading": artifact.read(query, z[None]),
            "z": np.repeat(z[None], n, 0),
            "reward": np.zeros(n, np.float32),
            "kind": np.full(n, artifact.manifest.kinds.index("outcome"), np.int64),
            "weight": np.full(n, NO_WEIGHT, np.float32),
            "prompt_tokens": np.full(n, 100.0, np.float32),
            "completion_tokens": tokens.astype(np.float32),
            "cost_usd": np.full(n, -1.0, np.float32),
        },
    )["llm_message"]
    total: Floats = messages.sum(0)
    return total


def heard(tokens: Floats, answers: int, seed: int = 0) -> NDArray[np.bool_]:
    """Which of an LLM's answers [Q, M] of a known length are learned from: at most so many, and half of them."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(tokens.shape, dtype=np.bool_)
    for m in range(tokens.shape[1]):
        known = rng.permutation(np.flatnonzero(np.isfinite(tokens[:, m])))
        chosen[known[: min(answers, len(known) // 2)], m] = True
    return chosen
