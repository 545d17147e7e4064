from dataclasses import replace

import numpy as np
import pytest
from near import ROUNDING, assert_near

from router_model.data.cards import Card
from router_model.data.pools import load_pool
from router_model.data.population import (
    SHIFTS,
    TEST,
    TRAIN,
    SimulatedPopulation,
    level_of,
    linear_cost_units,
    outcome_features,
    simulate,
)
from router_model.data.simulation import SATISFIED, LoggingPolicy, rate, simulate_history, simulate_log


@pytest.fixture(scope="module")
def pool():
    whole = load_pool("zeroeval")
    return whole.select_queries(np.arange(0, len(whole.queries), 6))


def uniform(pool):
    return np.full(pool.quality.shape, 1 / len(pool.cards), dtype=np.float32)


def test_the_same_seed_makes_the_same_users_split_70_10_20():
    a, b = simulate(3, 500), simulate(3, 500)
    assert np.array_equal(a.now.weights, b.now.weights)
    assert np.bincount(a.split).tolist() == [350, 50, 100]
    assert not np.array_equal(a.now.weights, simulate(4, 500).now.weights)


@pytest.mark.parametrize("shift", ["none", *SHIFTS])
def test_single_answers_have_the_utility_of_the_grid(pool, shift):
    population = simulate(1, 60, shift)
    users = population.of_split(TEST)
    rows = pool.rows(pool.folds.test)
    history = simulate_history(population, users, pool, rows, uniform(pool), 45, "dense", np.random.default_rng(0))
    at_end = population.utility_at(users, pool, history.query, history.llm, np.full(45, 45))
    grid = population.utility(users, pool, rows, 45)
    place = np.searchsorted(rows, history.query)
    assert_near(at_end, grid[np.arange(len(users))[:, None], place, history.llm])


def test_tastes_for_a_name_never_seen_are_well_defined_and_spread(pool):
    population = simulate(0, 400)
    users = np.arange(400)
    new = Card("model-of-tomorrow", "a-new-maker")
    once, again = population.true_liking(users, [new]), population.true_liking(users, [new, pool.cards[0]])
    assert np.array_equal(once[:, 0], again[:, 0])
    assert once.std() > 0.05


def test_most_utilities_lie_on_the_scale_of_rewards(pool):
    population = simulate(0, 300)
    utility = population.utility(np.arange(300), pool, np.arange(len(pool.queries)))
    assert (np.abs(utility) <= 1).mean() > 0.93
    assert utility.std() > 0.25


def test_flipped_tastes_are_those_of_somebody_else(pool):
    population = simulate(0, 50, "flip")
    users, rows = np.arange(50), np.arange(40)
    before, after = population.utility(users, pool, rows, 39), population.utility(users, pool, rows, 40)
    assert np.array_equal(before, population.utility(users, pool, rows, 0))
    assert np.abs(before - after).mean() > 0.1


def test_mostly_satisfied_raters_give_nine_thumbs_up_of_ten(pool):
    population = simulate(0, 200, "satisfied")
    utility = population.utility(np.arange(200), pool, np.arange(60))[..., 0]
    reward, rated = rate(population, utility, "thumbs", np.random.default_rng(0))
    assert rated.all()
    assert (reward > 0).mean() == pytest.approx(SATISFIED, abs=0.01)


def test_sparse_thumbs_are_a_tenth_and_unrated_answers_have_no_reward(pool):
    population = simulate(0, 200)
    reward, rated = rate(population, np.zeros((200, 300), np.float32), "sparse", np.random.default_rng(0))
    assert rated.mean() == pytest.approx(0.1, abs=0.01)
    assert not reward[~rated].any()


def test_the_log_is_by_the_policy_whose_propensities_it_reports(pool):
    population = simulate(0, 400)
    features = np.ones((len(pool.queries), 1), dtype=np.float32)
    log = simulate_log(population, pool, features, "dense", seed=0)
    assert_near(log.propensities.sum(1), np.ones(len(pool.queries)))
    assert log.propensities.min() >= 0.3 / len(pool.cards) * (1 - 8 * ROUNDING)
    share = np.bincount(log.train.llm.ravel(), minlength=len(pool.cards)) / log.train.llm.size
    assert share == pytest.approx(log.propensities[0], abs=0.01)
    assert set(np.unique(population.split[log.train.users])) == {TRAIN}
    assert set(np.unique(pool.fold[log.train.query])) <= set(pool.folds.train)
    assert set(np.unique(pool.fold[log.validation.query])) == {7}


def test_a_policy_learned_from_nothing_is_uniform():
    features = np.ones((5, 1), dtype=np.float32)
    empty = simulate_history(
        simulate(0, 20), np.arange(4), load_pool("zeroeval"), np.arange(5), np.full((5, 24), 1 / 24, np.float32), 0,
        "dense", np.random.default_rng(0),
    )  # fmt: skip
    assert_near(LoggingPolicy.learn(empty, features, 24).propensities(features), np.full((5, 24), 1 / 24))


def test_a_population_survives_its_file_and_given_likings_count(pool, tmp_path):
    population = simulate(5, 40, "heavy_tailed")
    liked = SimulatedPopulation(5, "heavy_tailed", population.now, population.later, {7: {pool.names[2].lower(): 5.0}})
    liked.save(tmp_path / "users.json")
    loaded = SimulatedPopulation.load(tmp_path / "users.json")
    users, rows = np.arange(40), np.arange(10)
    assert_near(loaded.utility(users, pool, rows), liked.utility(users, pool, rows))
    assert (loaded.utility(users, pool, rows)[7].argmax(-1) == 2).all()


def test_who_asks_again_was_not_content_and_all_others_say_nothing(pool):
    utility = np.repeat(np.array([[-0.6], [0.6]], np.float32), 500, 1)
    reward, rated = rate(simulate(0, 20), utility, "retries", np.random.default_rng(0))
    assert rated[0].mean() > 0.85
    assert rated[1].mean() < 0.15
    assert set(np.unique(reward[rated])) == {-1.0}
    assert not reward[~rated].any()
    history = simulate_history(
        simulate(0, 20), np.arange(4), pool, np.arange(9), uniform(pool), 9, "retries", np.random.default_rng(0)
    )
    assert history.kind_name == "regeneration"


def test_dollars_count_linearly_where_they_do(pool):
    """Twice the dollars, twice the dislike: no logarithm can say that."""
    population = replace(simulate(2, 40), shift="linear_dollars")
    users, rows = np.arange(40), np.arange(len(pool.queries))
    usual = simulate(2, 40).utility(users, pool, rows)
    dearer = linear_cost_units(pool)[rows] - outcome_features(pool)[rows, :, 1]
    apart = population.utility(users, pool, rows) - usual
    for user in range(5):
        assert abs(np.corrcoef(apart[user].ravel(), dearer.ravel())[0, 1]) > 0.5
    cost, units = pool.cost_usd(), linear_cost_units(pool)
    inside = (units > -1) & (units < 3)
    assert np.corrcoef(cost[inside], units[inside])[0, 1] == pytest.approx(1.0)


def test_one_favourite_is_liked_and_no_other(pool):
    population = simulate(2, 30, "one_favourite")
    utility = population.utility(np.arange(30), pool, np.arange(50))
    assert ((utility > 0).sum(-1) == 1).mean() > 0.99
    assert set(np.unique(utility)) == {-0.5, 0.5}


def test_what_is_good_enough_is_as_good_as_the_best(pool):
    """Nothing but cost, length and likings decides between LLMs that reach a user's threshold."""
    level = level_of(pool)
    assert level.min() == 0
    assert level.max() == 1
    population = replace(simulate(2, 30), shift="good_enough")
    users, rows = np.arange(30), np.arange(50)
    weights = population.true_weights(users, sorted(set(pool.task[rows].tolist())))
    rest = population.utility(users, pool, rows) - simulate(2, 30).utility(users, pool, rows)
    assert np.abs(rest).max() <= 2 * np.abs(weights[..., 0]).max() + 1e-4


def test_who_puts_prices_first_takes_the_cheapest_and_who_puts_quality_first_a_right_one(pool):
    population = simulate(2, 200, "lexicographic")
    rows = np.arange(100)
    utility = population.utility(np.arange(200), pool, rows)
    chosen = utility.argmax(-1)
    cheapest = pool.cost_usd()[rows].argmin(-1)
    takes_cheapest = (chosen == cheapest).mean(1) > 0.8
    right = np.take_along_axis(pool.quality[rows][None].repeat(200, 0), chosen[..., None], -1)[..., 0].mean(1)
    best = pool.quality[rows].max(-1).mean()
    assert 0.2 < takes_cheapest.mean() < 0.6
    assert right[~takes_cheapest] == pytest.approx(np.full((~takes_cheapest).sum(), best), abs=0.02)


def test_another_file_is_no_population(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(ValueError, match="not a population"):
        SimulatedPopulation.load(tmp_path / "x.json")
