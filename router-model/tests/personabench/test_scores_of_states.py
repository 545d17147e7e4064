"""Scores for all users at once are those of the graphs, run for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.episode import Episode
from router_model.places import HOME

USERS, ROWS = 3, 6


@pytest.fixture(scope="module")
def episode(episodes: Callable[[str], Episode]) -> Episode:
    return episodes("dense")


@pytest.fixture(scope="module")
def router(episode: Episode, artifact: Path) -> ArtifactRouter:
    """Of a tenant with little of a log: what it knows of LLMs doesn't matter here."""
    made = ArtifactRouter(artifact, risk=0.2, heard=4)
    made.fit(episode.known)
    return made


@pytest.fixture
def few_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the graph is asked for the features of few questions, and not once for each of few users."""
    monkeypatch.setattr("personabench.bench.artifact_router.PROBE_FROM", 1)


@pytest.mark.usefixtures("few_weights")
def test_they_are_those_of_the_graphs(episode: Episode, router: ArtifactRouter) -> None:
    judgement = episode.tests["none"]
    history, rows = judgement.history.of(np.arange(USERS)), judgement.rows[:ROWS]
    for n in (0, 5, 20):
        states = router.states(history.first(n))
        every = [router.score(rows, np.repeat(state[None], ROWS, 0)) for state in states]
        assert router.scores(rows, history.first(n)) == pytest.approx(np.stack([mean for mean, _ in every]), abs=1e-4)
        found = router.deviations(rows, history.first(n))
        assert found == pytest.approx(np.stack([std for _, std in every]), abs=1e-4)
    assert router._asked
    assert all(router._asked.values())


def test_a_history_that_goes_on_is_heard_on(episode: Episode, router: ArtifactRouter) -> None:
    history = episode.tests["none"].history.of(np.arange(USERS))
    router._forget()
    whole = router.user_sums(history.first(20))
    router._forget()
    for n in (0, 5, 20):
        found = router.user_sums(history.first(n))
    assert np.array_equal(found, whole)
    changed = history.of(np.array([1, 0, 2]))
    assert np.array_equal(router.user_sums(changed.first(20)), found[[1, 0, 2]])


@pytest.mark.usefixtures("few_weights")
def test_a_graph_of_another_kind_is_run_for_each_user(episode: Episode) -> None:
    judgement = episode.tests["none"]
    history, rows = judgement.history.of(np.arange(USERS)).first(5), judgement.rows[:ROWS]
    router = ArtifactRouter(HOME / "rivals" / "personalized-router", heard=0)
    router.fit(episode.known)
    every = [router.score(rows, np.repeat(state[None], ROWS, 0))[0] for state in router.states(history)]
    assert np.array_equal(router.scores(rows, history), np.stack(every))
    assert not any(router._asked.values())
