from dataclasses import replace

import numpy as np
from near import assert_near
from small_heads import HEADS

from personabench.heads import fit_heads
from router_model.data.population import TEST


def test_contestants_see_no_outcome_outside_of_the_train_folds(episodes):
    known = episodes("dense").known
    outside = np.setdiff1d(np.arange(len(known.pool.queries)), known.train)
    assert np.isnan(known.pool.quality[outside]).all()
    assert np.isnan(known.pool.completion_tokens[outside]).all()
    assert set(known.pool.task[outside]) == {""}
    assert np.isfinite(known.pool.quality[known.train]).all()


def test_no_judged_query_is_in_the_users_own_history(episodes):
    episode = episodes("dense")
    test = episode.tests["none"]
    for user in range(len(test.users)):
        judged = set(test.rows[test.counted[user]].tolist())
        assert judged
        assert judged.isdisjoint(test.history.query[user].tolist())
    assert set(episode.population.split[test.users]) == {TEST}
    assert set(episode.pool.fold[test.rows]) == {8}


def test_heads_of_test_queries_know_nothing_of_their_outcomes(episodes, pool):
    known = episodes("dense").known
    outside = np.setdiff1d(np.arange(len(pool.queries)), known.train)
    quality = pool.quality.copy()
    quality[outside] = 1 - quality[outside]
    again = fit_heads(replace(pool, quality=quality), known.embeddings, known.train, HEADS)
    assert_near(again.quality, known.heads.quality)


def test_a_train_query_is_predicted_by_a_model_that_never_saw_its_fold(episodes, pool):
    known = episodes("dense").known
    mine = known.train[pool.fold[known.train] == 0]
    quality = pool.quality.copy()
    quality[mine] = 1 - quality[mine]
    again = fit_heads(replace(pool, quality=quality), known.embeddings, known.train, HEADS)
    assert_near(again.quality[mine], known.heads.quality[mine])
