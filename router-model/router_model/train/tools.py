"""What tools say of a query: one vector that is added to its embedding, learned for a reading that stays as it is.

Whoever asks with many tools is an agent or lets one work, and the last message alone often hides that ("now fix the
test"). So the vector is the one that best tells, with the text, which task a request is: of agents' tasks (all with
their tools, whole and cut short) against questions of every other kind, which come with anything from one tool to many
and stay what they are. Outcomes don't enter: of tasks with tools the data has none under a licence.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from router_model.data.pools import Pool
from router_model.data.tools import tool_share
from router_model.embedding import StaticEmbedder
from router_model.network import QueryEncoder

Floats = NDArray[np.float32]

ROWS = 60  # of each task
SHORT = 60  # characters of an agent's message that says little
STEPS, LEARNING_RATE, RIDGE = 250, 3e-3, 0.3


def fit_tools(
    encoder: QueryEncoder,
    pools: Mapping[str, Pool],
    embedder: StaticEmbedder,
    tasks: list[str],
    agents: tuple[str, ...],
    folds: list[int],
    seed: int,
) -> Floats | None:
    """The vector [E]; `agents`: tasks that are agents' work where there are tools, the first is what they become.
    None where the data has no question of theirs, or of no other task.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    texts: list[str] = []
    of: list[str] = []
    for pool in pools.values():
        for task in sorted(set(pool.task.tolist())):
            rows = rng.permutation([i for i in pool.rows(folds) if pool.task[i] == task])[:ROWS]
            some = [pool.queries[i] for i in rows]
            if task in agents:
                some += [text[:SHORT] for text in some]
            texts += some
            of += [task] * len(some)
    working = np.isin(of, agents)
    if not working.any() or working.all():
        return None
    query = torch.as_tensor(embedder.embed(texts))
    label = torch.tensor([tasks.index(agents[0] if task in agents else task) for task in of])
    weight = torch.as_tensor(np.where(working, 0.5 / working.sum(), 0.5 / (~working).sum()), dtype=torch.float32)
    fewest = float(tool_share(1))
    encoder = copy.deepcopy(encoder).cpu().eval().requires_grad_(requires_grad=False)
    vector = torch.zeros(encoder.sizes.query, requires_grad=True)
    optimiser = torch.optim.Adam([vector], LEARNING_RATE)
    for _ in range(STEPS):
        drawn = fewest + (1 - fewest) * torch.rand(len(of))
        share = torch.where(torch.as_tensor(working), torch.ones(len(of)), drawn).unsqueeze(-1)
        logits, _ = encoder.read(query + share * vector)
        loss = (functional.cross_entropy(logits, label, reduction="none") * weight).sum()
        loss = loss + RIDGE * vector.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found: Floats = vector.detach().numpy()
    return found
