"""How cautious to be with a user: the same cases as the gateway's (test/routing/choose/safe-caution.test.ts)."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ARTIFACTS

from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.episode import Setup
from personabench.bench.safe_caution import safe_caution
from personabench.risk import trade_off

CASES = json.loads((Path(__file__).parents[3] / "test" / "fixtures" / "caution" / "cases.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_the_gateway_is_as_cautious(case):
    mean, apart = (np.array(case[key], dtype=np.float32) for key in ("mean", "apart"))
    assert safe_caution(mean, apart, case["favourite"], case["caution"], case["risk"]) == case["found"]


def test_less_risk_leaves_fewer_worse_off_and_counts_from_the_baseline(episodes):
    found = trade_off(Setup("zeroeval", "dense", 1, 40, (0, 20)), ARTIFACTS[-1].parent)
    for n in (0, 20):
        worse = [found[level, n].worse for level in (None, 0.2, 0.1)]
        assert worse == sorted(worse, reverse=True)
    assert found[0.1, 20].gain.gap_closed[0] < found[None, 20].gain.gap_closed[0]

    known = episodes("dense").known
    router = ArtifactRouter(ARTIFACTS[-1].parent, risk=0.01, baseline=True)
    router.fit(known)
    assert router.favourite == known.best_single
    new = router.believe(router.nothing(1))
    scores, _ = router.score(known.train[:5], np.repeat(new, 5, 0))
    assert (scores.argmax(1) == known.best_single).all()
