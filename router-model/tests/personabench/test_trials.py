from copy import copy

import numpy as np
import pytest
from near import assert_near, off

from personabench.ablate import Ablated, no_changes
from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.own_belief import own_beliefs
from personabench.trials.changes import KEEPINGS, Keeping, believed, reader
from personabench.trials.command import LOUDNESS, caution, changes, fading, ratings, rules, shrunken, view
from personabench.trials.ratings import NOBODY, lenient, raters, readings, routers
from router_model.evidence import Memory
from router_model.network import CHANGE, Sizes
from router_model.train.weights import WEIGHTS_FILE, load_weights


@pytest.fixture(scope="module")
def seen(episodes, artifact):
    # Without caution, which is one of the rules that are tried.
    episode, router = episodes("dense"), ArtifactRouter(artifact, caution=0.0)
    router.fit(episode.known)
    weights = load_weights(artifact / WEIGHTS_FILE)
    return view(episode.validation, episode.known, router, weights)


def test_a_trial_scores_as_the_graphs_do(seen):
    judgement = seen.judgement
    history = judgement.history.first(5)
    expected = seen.router.scores(judgement.rows, history)
    assert_near(seen.mean(seen.router.states(history)[:, : seen.features]), expected, 1e-4)


def test_more_caution_leaves_fewer_users_worse_off_and_gains_no_more(seen, monkeypatch):
    monkeypatch.setattr("personabench.trials.command.AFTER", (5,))
    found = {name: worth for name, _, worth in caution(seen)}
    assert set(found) == set(rules())
    bold, careful = found["highest expected reward"], found["less 0.5 deviations from everybody's favourite"]
    assert careful[2] <= bold[2]
    assert careful[1] == pytest.approx(bold[1])


def test_every_loudness_is_tried_at_every_length(seen):
    found = list(fading(seen, "none"))
    assert {name for name, _, _ in found} == {f"message x {a}, older ones x {b}" for a, b in LOUDNESS}
    assert all(np.isfinite(worth).all() for _, _, worth in found)


def test_every_keeping_is_tried_from_every_start_at_every_length(seen, artifact):
    found = list(changes(seen, "none", artifact))
    lengths = [n for n in (5, 20, 50, 100) if n <= seen.judgement.history.query.shape[1]]
    for keeping in KEEPINGS:
        assert [n for name, n, _ in found if name == keeping.name] == sorted(lengths * len(keeping.starts))
    assert sum("(the model)" in keeping.name for keeping in KEEPINGS) == 1
    assert len({worth for _, n, worth in found if n == 20}) > len(KEEPINGS)
    possible = [possible for *_, (_, possible, _) in found]
    assert np.ptp(possible) < 1e-3 * max(possible)


def test_the_models_keeping_is_the_model_and_one_block_the_model_without_changes(seen, artifact):
    history = seen.judgement.history.first(20)
    found: dict[str, np.ndarray] = {}
    for name, _, states in believed(seen.router, artifact, history, [20]):
        found.setdefault(name, states)  # the first start: that of the gateway
    sizes = Sizes()
    model, one = Keeping(sizes.blocks, sizes.block_rewards, CHANGE), KEEPINGS[0]
    plain = copy(seen.router)
    plain.artifact = Ablated(artifact, "plain").artifact
    assert_near(found[model.name], plain.states(history), 1e-4)
    plain.artifact = Ablated(artifact, "no changes", no_changes).artifact
    assert_near(found[one.name], plain.states(history), 1e-4)
    assert off(found[one.name][:, : seen.features], found[model.name][:, : seen.features]) > 1e-3
    assert reader(seen.router, artifact, Keeping(2, 7, 0.1)).memory == Memory(2, 7, seen.router.memory.fade)


def test_messages_that_know_the_user_agree_with_sums_on_the_first_reward_and_later_nearly(seen, artifact):
    weights, history = load_weights(artifact / WEIGHTS_FILE), seen.judgement.history
    plain = copy(seen.router)  # no message knows of lenient raters but through the sum
    plain.artifact = Ablated(artifact, "plain", raters(NOBODY)).artifact
    for n, least in ((1, 0.995), (20, 0.9)):
        sums = seen.mean(plain.states(history.first(n))[:, : seen.features])
        own = seen.mean(own_beliefs(seen.router, weights, history.first(n)))
        assert np.corrcoef(sums.ravel(), own.ravel())[0, 1] > least


def test_every_reading_is_tried_at_every_length(seen, episodes, artifact, monkeypatch):
    monkeypatch.setattr("personabench.trials.command.RATED", (5, 20))
    monkeypatch.setattr(ArtifactRouter, "log_evidence", lambda self, _: 0 * self.evidence)
    found = {
        name: dict(ratings(seen, seen.judgement, router)) for name, router in routers(artifact, episodes("dense").known)
    }
    assert set(found) == set(readings())
    assert all(set(row) == {5, 20} for row in found.values())
    worths = [row[20] for row in found.values()]
    assert len(set(worths)) > len(worths) / 2
    possible = [possible for _, possible, _ in worths]
    assert np.ptp(possible) < 1e-3 * max(possible)


def test_doubt_about_each_rating_changes_what_is_learned_and_none_of_it_nothing(seen, episodes, artifact, monkeypatch):
    monkeypatch.setattr(ArtifactRouter, "log_evidence", lambda self, _: 0 * self.evidence)
    history = seen.judgement.history.first(5)
    made = []
    for change in (None, lenient(0.0), lenient(0.4)):
        router = Ablated(artifact, "lenient", change)
        router.fit(episodes("dense").known)
        made.append(router.states(history))
    assert_near(made[1], made[0], 1e-4)
    assert off(made[2][:, : seen.features], made[0][:, : seen.features]) > 1e-2


def test_predicted_quality_is_worth_more_than_an_llms_mean(seen, episodes, pool, artifact):
    known, rows = episodes("dense").known, seen.judgement.rows
    weights = load_weights(artifact / WEIGHTS_FILE)
    told = shrunken(weights, seen.router, known, rows, pool.quality[rows])
    losses = [float(cell.split(": ")[1]) for cell in told.split(", ")]
    assert min(losses[2:]) <= losses[0]
