import numpy as np
import pytest
from near import assert_near

from router_model.collect.strategies import (
    TRADE_OFFS,
    Answer,
    CostEfficiencyPopulation,
    PersonaPopulation,
    judge_personas,
    judge_prompt,
    preferred,
    read_personas,
    scaled_cost,
    shown_order,
)
from router_model.data.pools import load_pool

ANSWERS = [Answer("cheap", "Four.", 1e-6), Answer("long", "2 + 2 = 4, because " + "so " * 50, 1e-3)]


@pytest.fixture(scope="module")
def pool():
    whole = load_pool("zeroeval")
    return whole.select_queries(np.arange(0, 2000, 20))


def test_the_nine_users_weigh_effect_from_a_fifth_to_all(pool):
    nine = CostEfficiencyPopulation.nine()
    rows = np.arange(len(pool.queries))
    utility = nine.utility(np.arange(9), pool, rows)
    assert_near(utility[-1], pool.quality)
    assert_near(utility[0], 0.2 * pool.quality - 0.8 * scaled_cost(pool))
    assert len(TRADE_OFFS) == 9


def test_cost_is_scaled_over_the_pool_or_within_each_task(pool):
    by_task = scaled_cost(pool, "task")
    for task in np.unique(pool.task):
        rows = by_task[pool.task == task]
        assert (rows.min(), rows.max()) == pytest.approx((0.0, 1.0))
    users, rows = CostEfficiencyPopulation.spread(50, scale="task"), np.arange(len(pool.queries))
    a = users.weight[:, None, None]
    assert_near(users.utility(np.arange(50), pool, rows), a * pool.quality - (1 - a) * by_task)
    llms = np.arange(50) % len(pool.names)
    at = users.utility_at(np.arange(50), pool, np.zeros((50, 1), int), llms[:, None], np.zeros(1, int))
    assert_near(at[:, 0], users.utility(np.arange(50), pool, rows)[np.arange(50), 0, llms])
    assert np.bincount(users.split).tolist() == [35, 5, 10]


def test_users_have_the_nine_values_in_turn():
    users = CostEfficiencyPopulation.over_nine(1000)
    assert sorted(set(users.weight)) == list(TRADE_OFFS)
    assert np.unique(users.weight, return_counts=True)[1].tolist() == [112] + [111] * 8
    assert np.bincount(users.split).tolist() == [700, 100, 200]


def test_a_persona_likes_one_answer_and_no_other(pool):
    favourite = np.array([[3, 0, -1], [1, 1, 1]])
    people = PersonaPopulation.of(favourite, users=4)
    three = pool.select_queries(np.arange(3))
    utility = people.utility(np.arange(4), three, np.arange(3))
    assert utility[2, 0].tolist() == [1.0 if llm == 3 else -1.0 for llm in range(len(pool.names))]
    assert np.isnan(utility[0, 2]).all(), "nobody knows"
    assert (utility[1, :, 1] == 1).all()
    at = people.utility_at(np.arange(4), three, np.array([[0, 2]] * 4), np.array([[3, 3]] * 4), np.arange(2))
    assert at[0, 0] == 1
    assert np.isnan(at[0, 1])
    assert at[1].tolist() == [-1, -1]


def test_a_judge_is_told_who_it_is_and_not_who_answered():
    persona = judge_personas()[0]
    said = judge_prompt(persona, "What is 2 + 2?", ANSWERS)
    assert persona.description in said
    assert "[1] (cost: $0.000001)\nFour." in said
    assert "long" not in said
    orders = {tuple(shown_order(p, q, 2)) for p in judge_personas() for q in ("2 + 2?", "How much is two and two?")}
    assert orders == {(0, 1), (1, 0)}, "the order depends on persona and query"


def test_personas_of_ones_own(tmp_path):
    path = tmp_path / "personas.json"
    path.write_text('[{"name": "pirate", "description": "a pirate."}]')
    assert [persona.name for persona in read_personas(path)] == ["pirate"]
    for broken in (
        "{",
        "[]",
        '[{"name": "a"}]',
        '[{"name": "a", "description": "x"}, {"name": "a", "description": "y"}]',
    ):
        path.write_text(broken)
        with pytest.raises(ValueError, match=r"personas\.json"):
            read_personas(path)


@pytest.mark.parametrize(
    ("reply", "choice"), [("2", 1), ("Answer 1, of course", 0), ("none", None), ("7", None), ("", None)]
)
def test_what_a_judge_may_say(reply, choice):
    assert preferred(reply, 2) == choice
