"""Kinds of tasks, told apart by a query's embedding: `python -m router_model tasks`.

What users state ("this one for code") is about kinds as people name them. The tasks that the encoder knows are those of
benchmarks: good for quality, but they take a cover letter for code. So this is a model of its own, a logistic
regression over the embedding, fitted on made-up prompts of each kind and short replies of none
(`data/tasks/prompts.yaml`), on questions of the pools and on real prompts of Arena users. It lies beside the embedder,
whose vectors alone it reads.
"""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
import yaml
from numpy.typing import NDArray
from torch.nn import functional

from router_model.data.pools import Folds, Pool, load_pool, sparse_pool
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import pack, seal_again
from router_model.places import DATA

FILE = "tasks.json"
OTHER = "other"
"""No kind: its logit is 0."""
KINDS = ("code", "mathematics", "writing", "translation", "knowledge")
PROMPTS = DATA / "tasks" / "prompts.yaml"
PER_TEMPLATE = 12
"""Prompts made of a template with slots; of one without, it counts a quarter as often."""
PER_TASK = 120
"""Questions of a benchmark's task at most: they are much alike."""
WEIGHT_DECAY = 1e-5
NORMAL_95 = 1.96
OF_TASKS = {
    "code": ("crux", "mbpp", "human_eval", "code_interview", "real_coding"),
    "mathematics": ("gsm8k", "math", "math_l5", "agentverse-mgsm", "real_maths"),
    "writing": ("commongen", "real_writing"),
    "knowledge": (
        *("natural_qa", "trivia_qa", "mmlu", "arc_challenge", "commonsense_qa", "openbook_qa", "gpqa"),
        "exam_knowledge",
    ),
    OTHER: ("agentverse-logicgrid",),
}
"""Tasks of the pools by kind."""
REAL = "arena_hard_v2"
"""Real prompts, of which all are taken, and which the figures are of."""

Floats = NDArray[np.float32]
Prompt = tuple[str, str]
"""Text, and kind."""


def made_up(seed: int = 0) -> list[Prompt]:
    """Prompts of `data/tasks/prompts.yaml`, slots filled at random, and replies that are of no kind."""
    spec, rng = yaml.safe_load(PROMPTS.read_text(encoding="utf-8")), random.Random(seed)
    fill: dict[str, list[str]] = spec["fill"]

    def filled(slot: re.Match[str]) -> str:
        return str(rng.choice(fill[slot[1]])) if slot[1] in fill else slot[0]

    prompts = []
    for kind, templates in spec["prompts"].items():
        for template in templates:
            times = PER_TEMPLATE if any(f"{{{name}}}" in template for name in fill) else PER_TEMPLATE // 4
            for _ in range(times):
                text = re.sub(r"\{([a-z]+)\}", filled, template)
                prompts.append((text[0].upper() + text[1:] if rng.random() < 0.8 else text, kind))
    for reply in spec["replies"]:
        said = rng.choice((reply, reply + ".", reply + "!"))
        prompts += [(reply, OTHER), (said[:1].upper() + said[1:], OTHER)]
    return prompts


def held_out() -> list[Prompt]:
    """Prompts of every kind, and of none, that are never fitted on."""
    spec = yaml.safe_load(PROMPTS.read_text(encoding="utf-8"))
    return [(text, kind) for kind, texts in spec["held_out"].items() for text in texts]


def from_pools(folds: Iterable[int], root: Path = DATA, seed: int = 0) -> list[Prompt]:
    """Questions of the benchmarks in some folds, `PER_TASK` of a task, and real prompts."""
    rng, kind_of = random.Random(seed), {task: kind for kind, tasks in OF_TASKS.items() for task in tasks}
    pools = [load_pool(name, root) for name in ("zeroeval", "llmrouter", "mmlu_pro", "can_ai_code")]
    prompts = list(real(folds, root))
    for pool in pools:
        by_task: dict[str, list[Prompt]] = defaultdict(list)
        for text, task in _rows(pool, folds):
            if task in kind_of:
                by_task[task].append((text, kind_of[task]))
        for some in by_task.values():
            rng.shuffle(some)
            prompts += some[:PER_TASK]
    return prompts


def real(folds: Iterable[int], root: Path = DATA) -> list[Prompt]:
    """Real prompts, whose kinds their users did not say: Arena's own classes."""
    kinds = {"real_coding": "code", "real_maths": "mathematics", "real_writing": "writing"}
    return [(text, kinds[task]) for text, task in _rows(sparse_pool(REAL, root), folds)]


def _rows(pool: Pool, folds: Iterable[int]) -> list[tuple[str, str]]:
    return [(pool.queries[i], str(pool.task[i])) for i in pool.rows(folds)]


def fit(prompts: Sequence[Prompt], embedder: StaticEmbedder) -> tuple[Floats, Floats]:
    """Weights [n, E] and bias [n] of the kinds, over those of none; each kind counts alike."""
    names = [*KINDS, OTHER]
    x = torch.as_tensor(embedder.embed([text for text, _ in prompts]))
    y = torch.tensor([names.index(kind) for _, kind in prompts])
    weight = len(y) / len(names) / torch.bincount(y, minlength=len(names)).float()
    linear = torch.nn.Linear(x.shape[1], len(names))
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
    optimiser = torch.optim.LBFGS(linear.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(linear(x), y, weight=weight) + WEIGHT_DECAY * (linear.weight**2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        return (linear.weight[:-1] - linear.weight[-1]).numpy(), (linear.bias[:-1] - linear.bias[-1]).numpy()


def shares(weights: Floats, bias: Floats, vectors: Floats) -> Floats:
    """Probabilities [.., n] of the kinds; what is left is of none."""
    logits = np.concatenate([vectors @ weights.T + bias, np.zeros((len(vectors), 1), np.float32)], 1)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    found: Floats = (odds / odds.sum(1, keepdims=True))[:, :-1]
    return found


def told(weights: Floats, bias: Floats, texts: Sequence[str], embedder: StaticEmbedder) -> list[str]:
    """The kind that each text is told to be of, as the gateway tells it: `OTHER` where none has more than half."""
    found = shares(weights, bias, embedder.embed(texts))
    return [
        KINDS[row.argmax()] if row.max() > 0.5 and says_something(text) else OTHER
        for text, row in zip(texts, found, strict=True)
    ]


def says_something(text: str) -> bool:
    """Without a letter or a digit, only the biases would speak. The gateway's `taskShares` asks the same."""
    return any(unicodedata.category(sign)[0] in "LN" for sign in text)


def figures(weights: Floats, bias: Floats, prompts: Sequence[Prompt], embedder: StaticEmbedder) -> dict[str, Any]:
    """By kind: prompts, how many are told (recall, with its 95 % interval), how many others are taken for it.

    Of `OTHER`: how many are left to the router. `precision` is of the mixture of kinds at hand, so it is no figure of
    traffic.
    """
    as_told = told(weights, bias, [text for text, _ in prompts], embedder)
    pairs = list(zip([kind for _, kind in prompts], as_told, strict=True))
    result: dict[str, Any] = {}
    for name in (*KINDS, OTHER):
        of, both = sum(kind == name for kind, _ in pairs), pairs.count((name, name))
        wrong = sum(one == name != kind for kind, one in pairs)
        if of:
            result[name] = {
                "prompts": of,
                "recall": round(both / of, 3),
                "recall_interval": [round(end, 2) for end in wilson(both, of)],
                "precision": round(both / max(1, both + wrong), 3),
                "taken_for_it": [wrong, len(pairs) - of],
            }
    return result


def wilson(right: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z2, share = NORMAL_95**2, right / of
    middle = share + z2 / (2 * of)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return (middle - half) / (1 + z2 / of), (middle + half) / (1 + z2 / of)


def write(folder: Path, weights: Floats, bias: Floats) -> None:
    """`tasks.json` beside an embedder."""
    content = {"names": list(KINDS), "bias": [round(float(one), 6) for one in bias], "weights": pack(weights)}
    (folder / FILE).write_text(json.dumps(content, indent=1) + "\n")


def command(
    embedder: Annotated[Path, typer.Option(help="whose vectors are read; the file is written beside it")],
    artifact: Annotated[list[Path], typer.Option(help="artifacts with that embedder that get it, too")] = [],  # noqa: B006
) -> None:
    """Learn to tell kinds of tasks apart by a query's embedding; takes seconds."""
    torch.set_num_threads(1)
    static = StaticEmbedder.load(embedder)
    weights, bias = fit(made_up() + from_pools(Folds().train), static)
    unseen = {"validation": real(Folds().validation), "test": real(Folds().test), "held out": held_out()}
    for name, prompts in unseen.items():
        for kind, of in figures(weights, bias, prompts, static).items():
            print(f"{name:<11} {kind:<12} {of}")
    write(embedder, weights, bias)
    for folder in artifact:
        shutil.copyfile(embedder / FILE, folder / "embedder" / FILE)
        seal_again(folder, f"embedder/{FILE}")
