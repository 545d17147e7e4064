from pathlib import Path

import numpy as np
import pytest

from personabench.bench.people import Comparison, judge_people, mtbench_votes, wmt_ratings

SHARED = Path(__file__).parents[4] / "shared" / "data"


def votes(personal: bool) -> list[Comparison]:
    """20 users who choose between four LLMs, each by own tastes, or all by the same."""
    rng = np.random.default_rng(0)
    made = []
    for user in range(20):
        taste = rng.normal(0, 2, 4) if personal else np.array([3.0, 2.0, 1.0, 0.0])
        for number in range(60):
            a, b = rng.choice(4, 2, replace=False)
            won, lost = (a, b) if rng.random() < 1 / (1 + np.exp(taste[b] - taste[a])) else (b, a)
            made.append(Comparison(f"u{user}", number % 10, f"llm{won}", f"llm{lost}", 0.0))
    return made


def test_users_who_differ_are_better_predicted_by_their_own_history():
    verdict = judge_people("made up", votes(personal=True))
    assert verdict.own_over_strangers.above_zero
    assert verdict.own > verdict.nobody


def test_users_who_do_not_differ_are_not():
    verdict = judge_people("made up", votes(personal=False))
    assert not verdict.own_over_strangers.above_zero
    assert verdict.nobody > 0.7


def test_too_few_people_are_refused():
    with pytest.raises(ValueError, match="too few"):
        judge_people("two", [Comparison("a", 0, "x", "y", 0.0), Comparison("b", 1, "x", "y", 0.0)])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the evaluation-only data sets are not at hand")
@pytest.mark.parametrize(("read", "least"), [(mtbench_votes, 2000), (wmt_ratings, 5000)])
def test_real_votes_are_read(read, least):
    found = read(SHARED)
    assert len(found) > least
    assert all(c.won != c.lost for c in found)
