"""The Python policy is the gateway's: the same numbers as `choose.ts` gives."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from made_rows import ROOT

from router_model.retrain.policy import Gamma, greedy, inverse_gap

NODE = ROOT / "node_modules" / ".bin" / "node"

PROGRAM = """
import { choose } from './src/routing/choose/choose.ts'
const candidate = (explore, i) => ({
  name: `c${i}`, explore, price: { input: 1, output: 1 }, capabilities: new Set(), contextWindow: 1e6,
})
const propensities = ({ means, explore, rewards, gamma }) => choose({
  scores: means.map((mean, i) => ({
    candidate: candidate(explore[i], i), mean, std: 0, parts: {}, quality: 1, completionTokens: 1, costUsd: 0,
  })),
  by: 'graph', limits: { needs: new Set(), promptTokens: 1, maxTokens: null },
  explicit: null, rewards, explore: true, previous: null,
  policy: {
    gamma: { base: gamma[0], per_reward: gamma[1] }, sticky: { enabled: true, reward_per_usd: 1, min_gain: 0 },
  },
  random: 0.5,
}).propensities
console.log(JSON.stringify(JSON.parse(process.argv[1]).map(propensities)))
"""


def test_the_gateway_chooses_the_same() -> None:
    if not NODE.exists():
        pytest.skip("node_modules is not there: npm install")
    rng = np.random.default_rng(0)
    cases = [
        {
            "means": rng.normal(0, 0.3, 5).round(3).tolist(),
            "explore": (rng.random(5) < 0.8).tolist(),
            "rewards": int(rng.integers(0, 40)),
            "gamma": [40, 4],
        }
        for _ in range(30)
    ]
    command = [str(NODE), "--input-type=module-typescript", "-e", PROGRAM, json.dumps(cases)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    worth = np.array([case["means"] for case in cases])
    explored = np.array([case["explore"] for case in cases])
    rewards = np.array([case["rewards"] for case in cases])
    ours = inverse_gap(worth, np.ones_like(explored), explored, rewards, Gamma(40, 4))
    np.testing.assert_allclose(ours, json.loads(done.stdout), rtol=1e-9)


def test_only_candidates_are_chosen() -> None:
    worth = np.array([[3.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    candidate = np.array([[False, True, True], [True, True, True]])
    assert greedy(worth, candidate).tolist() == [[0, 1, 0], [1, 0, 0]]
    chances = inverse_gap(worth, candidate, candidate, np.array([0, 0]), Gamma(1, 0))
    assert chances[0].tolist() == pytest.approx([0, 0.75, 0.25])  # 1 / (2 (1 + 1 x 1))
    assert chances[1].tolist() == pytest.approx([1 / 3] * 3)
