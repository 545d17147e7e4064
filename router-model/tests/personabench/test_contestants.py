from dataclasses import replace

import numpy as np
import pytest
from near import assert_near, off

from personabench.baselines.simple import TruePopulation, TrueTastes
from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.contestant import Informed, Seer
from personabench.bench.live import Exploration, live
from personabench.bench.registry import BORROWED, CONTESTANTS, contestants


def ready(name, episode):
    contestant = CONTESTANTS[name]()
    if isinstance(contestant, Informed):
        contestant.tell(episode.population, episode.pool)
    contestant.fit(episode.known)
    return contestant


def play(learner, episode, steps):
    """A session that has seen so many requests of every test user, and the first test question for each of them."""
    test = episode.tests["none"]
    history, session = test.history, learner.begin(len(test.users))
    for step in range(steps):
        session.observe(
            history.query[:, step], history.llm[:, step], history.reward[:, step], history.rated[:, step],
            history.cost_usd[:, step], history.completion_tokens[:, step],
        )  # fmt: skip
    return session, np.full(len(test.users), test.rows[0])


def gap(contestant, judgement, n):
    utility = judgement.utility(n)
    return judgement.gain(judgement.chosen(contestant, n, utility), utility).gap_closed[0]


@pytest.mark.parametrize("feedback", ["dense", "sparse"])
@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_contestant_scores_every_llm_with_and_without_history(name, feedback, episodes, monkeypatch):
    for module in ("graph_router", "personalized_router", "gmt_router"):
        monkeypatch.setattr(f"personabench.baselines.{module}.STEPS", 5)
    episode = episodes(feedback)
    contestant, test = ready(name, episode), episode.tests["none"]
    if isinstance(contestant, Seer):
        contestant.see(test.utility(0), test.counted)
    for n in (0, 20):
        scores = contestant.scores(test.rows[:7], test.history.first(n))
        assert scores.shape == (len(test.users), 7, len(episode.pool.cards))
        assert np.isfinite(scores).all()


def test_best_single_closes_no_gap_and_hindsight_and_true_tastes_close_much(episodes):
    episode = episodes("dense")
    test = episode.tests["none"]
    assert gap(ready("best-single", episode), test, 5) == pytest.approx(0.0)
    assert gap(ready("hindsight", episode), test, 5) > 0.3
    assert gap(ready("true-tastes", episode), test, 5) > 0.3
    assert gap(ready("random", episode), test, 5) < 0


def test_the_regression_learns_users_from_their_ratings(episodes):
    episode = episodes("dense")
    regression, test = ready("regression", episode), episode.tests["none"]
    assert gap(regression, test, 20) > gap(regression, test, 0) + 0.05


def test_a_belief_that_adds_up_is_the_belief_of_the_whole_history(episodes):
    episode = episodes("dense")
    regression, test = ready("regression-gaussian", episode), episode.tests["none"]
    history = test.history.first(6)
    session, _ = play(regression, episode, 6)
    rows = test.rows[:3]
    scores = regression.scores(rows, history)
    for i, row in enumerate(rows):
        mean, _ = session.expect(np.full(len(test.users), row))
        assert_near(mean, scores[:, i], 1e-4)


def test_live_regret_is_never_negative_and_greedy_true_choices_have_the_least(episodes):
    episode = episodes("dense")
    learner = ready("linucb", episode)
    played = live(episode.tests["none"], learner, Exploration("thompson", 0.3), 0, requests=15)
    assert played.missed.shape == (40, 15)
    assert played.missed.min() >= 0
    assert np.all(np.diff(played.curve) >= 0)


def test_the_artifact_competes_by_its_graphs_alone_and_sessions_agree_with_histories(episodes, artifact):
    episode = episodes("dense")
    router, test = ArtifactRouter(artifact), episode.tests["none"]
    router.fit(episode.known)
    history, rows = test.history.first(4), test.rows[:3]
    scores, deviations = router.scores(rows, history), router.deviations(rows, history)
    assert scores.shape == deviations.shape == (len(test.users), 3, len(episode.pool.cards))
    assert (deviations > 0).all()
    session, _ = play(router, episode, 4)
    mean, _ = session.expect(np.full(len(test.users), rows[1]))
    assert_near(mean, scores[:, 1], 1e-3)


@pytest.mark.parametrize("name", ["linucb", "regression-gaussian", "artifact"])
def test_drawn_weights_spread_as_the_session_says_it_doubts(name, episodes, artifact):
    episode = episodes("dense")
    learner = ArtifactRouter(artifact) if name == "artifact" else CONTESTANTS[name]()
    learner.fit(episode.known)
    session, rows = play(learner, episode, 3)
    mean, std = session.expect(rows)
    rng = np.random.default_rng(0)
    assert_near(session.draw(rows, 0.0, rng), mean, 1e-4)
    drawn = np.stack([session.draw(rows, 1.0, rng) for _ in range(60)])
    assert drawn.std(0).mean() == pytest.approx(std.mean(), rel=0.1)
    assert np.abs(drawn.mean(0) - mean).mean() < 0.2 * std.mean()


@pytest.mark.parametrize(
    "name", ["true-population-graph-heads", "exact-population-graph-heads", "true-tastes-graph-heads"]
)
def test_bounds_borrow_the_artifacts_reading_of_unseen_queries_alone(name, episodes, artifact):
    episode = episodes("dense")
    bound = BORROWED[name](artifact)
    assert isinstance(bound, TrueTastes | TruePopulation)
    bound.tell(episode.population, episode.pool)
    bound.fit(episode.known)
    assert gap(bound, episode.tests["none"], 5) > 0.03
    if isinstance(bound, TrueTastes):
        shared, train = episode.known.heads.quality, episode.known.train
        assert np.array_equal(bound.pool.quality[train], shared[train])
        assert off(bound.pool.quality, shared) > 1e-2


def test_whoever_borrows_needs_one_artifact(artifact):
    assert len(contestants(["best-single", *BORROWED], [artifact])) == 2 + len(BORROWED)
    for artifacts in ([], [artifact, artifact]):
        with pytest.raises(ValueError, match="true-tastes-graph-heads"):
            contestants(["true-tastes-graph-heads"], artifacts)


def test_the_artifact_takes_a_new_llm_by_card_and_outcomes(episodes, artifact):
    known = episodes("dense").known
    router = ArtifactRouter(artifact)
    router.fit(replace(known, newcomers=np.array([2])))
    quality = known.pool.quality.copy()
    quality[:, 2] = np.nan
    few = ArtifactRouter(artifact)
    few.fit(replace(known, pool=replace(known.pool, quality=quality), newcomers=np.array([2])))
    assert not few.outcome_evidence(2, np.zeros(0, dtype=np.int64)).any()
    assert not np.array_equal(few.z[2], router.z[2])
    assert_near(few.z[[0, 1, 3]], router.z[[0, 1, 3]])
