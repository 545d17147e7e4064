from pathlib import Path

import numpy as np
import pytest
import torch
from small_heads import HEADS

from personabench.bench.episode import Setup, make_episode
from router_model.data.pools import load_pool
from router_model.places import DATA

ARTIFACTS = sorted((Path(__file__).parents[2] / "artifacts").glob("*/manifest.json"))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pool():
    whole = load_pool("zeroeval", DATA)
    return whole.select_queries(np.arange(0, len(whole.queries), 3)).select_llms(range(0, 24, 3))


@pytest.fixture(scope="session")
def episodes(pool):
    """By kind of feedback, with few users."""
    made = {}

    def episode(feedback):
        if feedback not in made:
            setup = Setup("zeroeval", feedback, 0, 200, (0, 5, 20), ("none", "flip", "shared"))
            made[feedback] = make_episode(setup, pool, heads=HEADS)
        return made[feedback]

    return episode


@pytest.fixture(scope="session")
def artifact():
    if not ARTIFACTS:
        pytest.skip("no artifact is committed")
    return ARTIFACTS[-1].parent
