import numpy as np
import pytest
from small_heads import HEADS

from personabench.baselines.regression import Regression
from personabench.bench.episode import Setup
from personabench.bench.newcomers import OUTCOMES, extend_heads, families, fitted_offset, hold_out, retention
from personabench.bench.variants import VARIANTS


@pytest.fixture(scope="module")
def held(pool):
    return hold_out(Setup("zeroeval", "dense", 0, 150, (0, 20)), pool, "anthropic", HEADS)


def test_a_family_is_absent_from_training_and_present_in_the_test(held):
    assert "anthropic" not in {card.vendor for card in held.without.pool.cards}
    new = held.joined(5).newcomers
    assert {held.trained.pool.cards[i].vendor for i in new} == {"anthropic"}
    assert held.without.known.log.train.llm.max() < new.min()


def test_joined_llms_have_exactly_k_outcomes_all_on_train_queries(held):
    for k in OUTCOMES:
        known = held.joined(k)
        shown = np.isfinite(known.pool.quality[:, known.newcomers])
        assert (shown.sum(0) == k).all()
        assert set(np.flatnonzero(shown.any(1))) <= set(known.train)


def test_more_outcomes_predict_a_new_llm_better(held, pool):
    truth = held.trained.pool.quality

    def error(k):
        known = held.joined(k)
        heads, new = extend_heads(held.without.known.heads, known.pool, known.newcomers), known.newcomers
        return float(np.abs(heads.quality[:, new].mean(0) - truth[:, new].mean(0)).mean())

    assert error(50) < error(0) + 0.02
    assert error(50) < 0.12


def test_an_offset_follows_outcomes_and_stays_with_the_card_without_any():
    level = np.zeros(400, dtype=np.float32)
    assert fitted_offset(level[:0], level[:0], 0.7, 1.0) == pytest.approx(0.7)
    right = (np.arange(400) % 10 < 8).astype(np.float32)
    assert fitted_offset(level, right, 0.0, 1.0) == pytest.approx(np.log(4), abs=0.05)


def test_the_regression_takes_a_new_llm_in(held):
    regression = Regression(VARIANTS[0])
    regression.fit(held.without.known)
    regression.join(held.joined(20))
    test = held.trained.tests["none"]
    assert regression.scores(test.rows[:3], test.history.first(5)).shape[-1] == len(held.trained.pool.cards)
    gain = test.gain(test.chosen(regression, 20, test.utility(20)), test.utility(20))
    assert retention([gain], [gain]).value == pytest.approx(1.0)


def test_families_leave_enough_to_train_on(pool):
    for family in families(pool):
        assert sum(card.vendor == family for card in pool.cards) <= len(pool.cards) / 2
    with pytest.raises(ValueError, match="no LLM of nobody"):
        hold_out(Setup("zeroeval", "dense"), pool, "nobody")
