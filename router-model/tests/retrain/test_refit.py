"""Learning from a log of users whose tastes are drawn from a known population inside the router's own model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from near import assert_near, off

from router_model.kinds import JUDGE, KINDS, RATING, THUMB
from router_model.network import Router, Sizes
from router_model.priors.people import with_people
from router_model.priors.prior import CARD_FEATURES, believe_cards, believe_people, believe_rewards
from router_model.priors.user import Blocks, MixturePrior, _expect, write_prior
from router_model.retrain.judgement import JudgeError, choices_of
from router_model.retrain.logbook import Answers, Decisions, Edges, Logbook
from router_model.retrain.queries import Packed, Queries
from router_model.retrain.record import REASONS
from router_model.retrain.refit import (
    KEY_WEIGHT,
    LEAST_NOISE,
    as_popular,
    beliefs,
    calibrate_on_judged,
    copy_of,
    fit_prior,
    fit_readings,
    held_out,
    learn_tenant,
    llm_evidence,
    prior_of,
    pulled,
    readings_of,
    repeats,
)
from router_model.retrain.replay import Model, answers_of, edges_of, replay, user_sums
from router_model.retrain.runner import TorchRunner

LLMS, REQUESTS = 5, 30
SIZES = Sizes(query=32, card=2 * len(CARD_FEATURES), known_tasks=4, tasks=2, hidden=16, name_code=8, components=2)

COST = Blocks.of(SIZES).main[1]


@pytest.fixture(scope="module")
def router() -> Router:
    torch.manual_seed(0)
    router = Router(SIZES)
    believe_cards(router)
    believe_people(router)
    believe_rewards(router)
    return router.eval()


@pytest.fixture(scope="module")
def model(router: Router) -> Model:
    rng = np.random.default_rng(0)
    z = np.zeros((LLMS, SIZES.z), np.float32)
    z[:, : SIZES.quality] = rng.normal(0, 1.0, (LLMS, SIZES.quality))
    z[:, SIZES.quality : SIZES.quality + SIZES.known_tasks] = 5  # replies of exp(5) tokens
    price = SIZES.quality + SIZES.length + 1
    z[:, price : price + 2] = np.geomspace(0.1, 10, LLMS)[:, None] * [1, 3]
    codes = SIZES.provider_code + SIZES.name_code
    before = SIZES.quality + SIZES.length + 3
    z[:, before : before + codes] = np.sign(rng.normal(size=(LLMS, codes))) / np.sqrt(codes / 2)
    return Model(TorchRunner(router), z, router.sizes.memory(1.0))


def world(
    router: Router, model: Model, users: int, kinds: dict[int, float], seed: int = 0, shift: float = 0.0
) -> Logbook:
    """Users drawn from the router's prior, their liking of cost moved by `shift`; rewards as the router reads them."""
    rng = np.random.default_rng(seed)
    n = users * REQUESTS
    vectors = rng.normal(size=(n, SIZES.query))
    int8 = np.rint(vectors / np.abs(vectors).max(1, keepdims=True) * 127).astype(np.int8)
    scale = (1 / np.linalg.norm(int8.astype(float), axis=1)).astype(np.float32)
    llm = rng.integers(LLMS, size=n).astype(np.int16)
    prompt, tokens = np.full(n, 50, np.float32), np.exp(rng.normal(5, 0.7, n)).astype(np.float32)
    price = SIZES.quality + SIZES.length + 1
    z = model.z[llm]
    usd = ((prompt * z[:, price] + tokens * z[:, price + 1]) * 1e-6).astype(np.float32)
    user = np.repeat(np.arange(users), REQUESTS)
    ts = np.tile(np.arange(REQUESTS) * 1000, users) + user

    prior = prior_of(router)
    mean = prior.mean[0].copy()
    mean[COST] += shift
    weights = rng.multivariate_normal(mean, prior.covariance[0], users)[user]
    with torch.no_grad():
        query = torch.from_numpy(int8.astype(np.float32) * scale[:, None])
        of_quality, _, task = router.encoder(query)
        of_llm, _, popularity, _, codes, _ = router.split_z(torch.from_numpy(z))
        chance = router.features.quality((of_quality * of_llm).sum(-1)).numpy()
        right = rng.random(n) < chance
        side = torch.from_numpy(np.where(right, 1.0, -1.0).astype(np.float32))
        _, cost, length = router.features.standardise(side, torch.from_numpy(usd), torch.from_numpy(tokens))
        phi = router.features(side, cost, length, task, codes).numpy()
        utility = (phi * weights).sum(1) + popularity.numpy()

    rewards = []
    for kind, strength in kinds.items():
        if kind == RATING:
            value = utility + np.sqrt(strength) * rng.normal(size=n)
        elif kind == JUDGE:
            value = np.where(right, 1.0, -1.0)
        else:
            value = np.where(rng.random(n) < 1 / (1 + np.exp(-strength * utility)), 1.0, -1.0)
        rewards.append((np.full(n, kind), value))
    row = np.tile(np.arange(n), len(rewards))
    order = np.lexsort((ts[row], user[row]))
    edges = Edges(
        row=row[order],
        user=user[row][order],
        ts=ts[row][order] + 5,
        kind=np.concatenate([kind for kind, _ in rewards])[order],
        value=np.concatenate([value for _, value in rewards]).astype(np.float32)[order],
        weight=np.ones(len(row), np.float32),
    )
    decisions = Decisions(
        user=user.astype(np.int32),
        ts=ts,
        tried=llm,
        reason=np.full(n, REASONS.index("explore"), np.int8),
        policy=np.zeros(n, np.int16),
        propensity=np.full((n, LLMS), 1 / LLMS, np.float32),
        cost_usd=usd,
    )
    answers = Answers(np.arange(n), llm, Queries.of_vectors(Packed(int8, scale)), prompt, tokens, usd, np.ones(n, bool))
    names = [f"llm-{i}" for i in range(LLMS)]
    everybody = [("acme", f"user-{i}") for i in range(users)]
    return Logbook(everybody, names, ["made-up"], decisions, answers, edges, np.ones((LLMS, 2), np.float32), {})


def test_a_replay_knows_only_what_had_come_in(router: Router, model: Model) -> None:
    log = world(router, model, 3, {RATING: 0.03})
    late = log.edges.ts.copy()
    late[log.edges.user == 1] += 5_000  # this user's ratings come five requests late
    log = replace(log, edges=replace(log.edges, ts=late))
    found = replay(model, log, answers_of(log, np.array([1, 2])))
    assert len(found.answer) == 2 * REQUESTS
    assert found.rewards[:REQUESTS].tolist() == [max(0, n - 5) for n in range(REQUESTS)]
    assert found.rewards[REQUESTS:].tolist() == list(range(REQUESTS))
    assert_near(found.mean[0], found.cold[0])
    # the state at the 20th answer of user 2, made in one go
    edges = edges_of(log.edges, 2)
    sums = model.memory.empty(1, SIZES.user_message, np.float64)
    for n in range(20):
        sums = model.memory.add(sums, user_sums(model, log, edges.only(np.array([n])))[None], np.array([n]))
    row = edges.row[20]
    by_hand = model.runner.run(
        "score",
        {
            "query": log.answers.queries.vector(np.array([row])),
            "prompt_tokens": log.answers.prompt_tokens[[row]],
            "state": model.runner.run("user", {"sums": sums.reshape(1, -1).astype(np.float32)})["state"],
            "z": model.z,
            "cost_weight": np.full(1, -1, np.float32),
        },
    )
    place = int(np.flatnonzero(found.answer == row)[0])
    assert_near(found.mean[place], by_hand["mean"][0], 1e-4)
    assert_near(found.std[place], by_hand["std"][0], 1e-4)


def test_forgetting_weighs_the_newest_most(router: Router, model: Model) -> None:
    log = world(router, model, 1, {RATING: 0.03})
    edges = edges_of(log.edges, 0)
    parts = [user_sums(model, log, edges.only(np.array([i]))) for i in range(4)]
    forgetful = replace(model, memory=replace(model.memory, fade=0.5))
    found = user_sums(forgetful, log, edges.only(np.arange(4)))
    assert_near(found, parts[0] / 8 + parts[1] / 4 + parts[2] / 2 + parts[3])
    last = replay(forgetful, log, answers_of(log, np.array([0])))
    assert off(last.mean[-1], replay(model, log, answers_of(log, np.array([0]))).mean[-1]) > 1e-3


def test_it_learns_how_rewards_speak(router: Router, model: Model) -> None:
    """Noise of ratings and sharpness of thumbs, from where the router believes otherwise."""
    log = world(router, model, 80, {RATING: 0.12, THUMB: 1.5})
    before = {reading.kind: reading.strength for reading in readings_of(router)}
    assert (before["rating"], before["thumb"]) == pytest.approx((0.03, 4.0), rel=1e-3)
    changed = copy_of(router)
    found = beliefs(changed, model, log, answers_of(log, np.arange(80)))
    after = {reading.kind: reading for reading in fit_readings(changed, log, log.edges, found)}
    assert after["rating"].strength == pytest.approx(0.12, rel=0.15)
    assert after["thumb"].strength == pytest.approx(1.5, rel=0.25)
    assert after["rating"].rewards == after["thumb"].rewards == 80 * REQUESTS
    assert after["rating"].spread > after["rating"].strength, "whether an answer turns out right adds to the spread"
    assert after["abort"] == readings_of(router)[KINDS.index("abort")], "of what was never seen nothing is learned"
    assert changed.reading.log_noise[RATING].exp().item() == pytest.approx(after["rating"].strength)
    assert router.reading.log_noise[RATING].exp().item() == pytest.approx(0.03, rel=1e-3), "the original stays"


def test_a_few_rewards_change_little(router: Router, model: Model) -> None:
    log = world(router, model, 1, {THUMB: 0.2})
    changed = copy_of(router)
    few = log.edges.only(np.arange(5))
    found = beliefs(changed, model, log, answers_of(log, np.array([0])))
    after = fit_readings(changed, log, few, found)
    assert after[THUMB].strength == pytest.approx(4.0, rel=0.4)


def test_it_learns_what_people_want(router: Router, model: Model) -> None:
    """The prior follows a population that dislikes cost far more than was believed, and not by two users' word."""
    log = world(router, model, 60, {RATING: 0.03}, shift=-0.3)
    before = prior_of(router)
    wanted = before.mean[:, COST] @ before.weight - 0.3

    def learned(users: int) -> float:
        fitted = fit_prior(router, model, log, np.arange(users), before)
        return float(fitted.mean[:, COST] @ fitted.weight)

    start = float(before.mean[:, COST] @ before.weight)
    # A belief worth thirty users keeps a third of the way back, at sixty.
    assert abs(learned(60) - wanted) < 0.45 * abs(start - wanted)
    assert abs(learned(2) - start) < 0.2 * abs(start - wanted)


def test_a_better_prior_predicts_better(router: Router, model: Model) -> None:
    log = world(router, model, 90, {RATING: 0.03}, shift=-0.3)
    changed = copy_of(router)
    write_prior(changed.user_node, fit_prior(router, model, log, np.arange(60), prior_of(router)))
    others = np.arange(60, 90)
    llm = log.answers.llm.astype(int)

    def error(of: Model) -> float:
        found = replay(of, log, answers_of(log, others))
        early = found.rewards < 5
        by_row = dict(zip(log.edges.row.tolist(), log.edges.value.tolist(), strict=True))
        given = np.array([by_row[a] for a in found.answer.tolist()])
        predicted = found.mean[np.arange(len(given)), llm[found.answer]]
        return float(((predicted - given)[early] ** 2).mean())

    assert error(replace(model, runner=TorchRunner(changed))) < 0.9 * error(model)


def test_ratings_without_noise_are_not_believed_to_the_letter(router: Router, model: Model) -> None:
    log = world(router, model, 60, {RATING: 0.0})
    fitted = fit_readings(copy_of(router), log, log.edges, beliefs(router, model, log, answers_of(log, np.arange(60))))
    assert fitted[RATING].strength == pytest.approx(LEAST_NOISE)


def test_quality_is_calibrated_on_judged_answers(router: Router, model: Model) -> None:
    log = world(router, model, 60, {JUDGE: 0.0})
    changed = copy_of(router)
    with torch.no_grad():  # over-confident, and too optimistic
        changed.features.quality_scale.fill_(2.0)
        changed.features.quality_shift.fill_(0.7)
    found = beliefs(changed, replace(model, runner=TorchRunner(changed)), log, answers_of(log, np.arange(60)))
    _, _, judged = calibrate_on_judged(changed, log, log.edges, found)
    assert judged == 60 * REQUESTS
    assert changed.features.quality_scale.item() == pytest.approx(1.0, abs=0.2)
    assert changed.features.quality_shift.item() == pytest.approx(0.0, abs=0.2)


def test_evidence_is_the_sum_of_messages(router: Router, model: Model) -> None:
    log = world(router, model, 4, {RATING: 0.03, JUDGE: 0.0})
    found = llm_evidence(model, log, log.edges)
    half = log.edges.user < 2
    apart = llm_evidence(model, log, log.edges.only(half)) + llm_evidence(model, log, log.edges.only(~half))
    assert_near(found, apart)
    assert found.shape == (LLMS, SIZES.llm_message)


def test_what_somebody_says_again_and_again_of_an_llm_counts_less(router: Router, model: Model) -> None:
    log = world(router, model, 4, {RATING: 0.03})
    edges = log.edges
    count = repeats(log, edges)
    llm = log.answers.llm[edges.row]
    for user in range(4):
        for one in range(LLMS):
            mine = np.flatnonzero((edges.user == user) & (llm == one))
            assert count[mine[np.argsort(edges.ts[mine], kind="stable")]].tolist() == list(range(len(mine)))
    assert count.max() > 1
    # An edge after all others of the same user about the same LLM adds its message divided by how many they are.
    last = int(np.flatnonzero(count == count.max())[0])
    added = llm_evidence(model, log, edges) - llm_evidence(model, log, edges.only(np.arange(len(edges)) != last))
    alone = llm_evidence(model, log, edges.only(np.array([last])))
    assert_near(added, alone / (1 + count.max()), scale=llm_evidence(model, log, edges))


def test_users_of_a_key_that_nobody_vouches_for_are_one_voice(router: Router, model: Model) -> None:
    log = world(router, model, 40, {RATING: 0.03})
    edges = log.edges
    share = 1 / (1 + repeats(log, edges))
    said = np.bincount(log.answers.llm[edges.row].astype(np.int64), share, minlength=LLMS)
    one_key = replace(log, answers=replace(log.answers, key=np.zeros(len(log.answers.llm), np.int64)))
    vouched = replace(log, answers=replace(log.answers, key=np.full(len(log.answers.llm), -1, np.int64)))
    own = llm_evidence(model, log, edges)
    assert_near(llm_evidence(model, vouched, edges), own)
    assert said.min() > KEY_WEIGHT
    assert_near(llm_evidence(model, one_key, edges), own * (KEY_WEIGHT / (KEY_WEIGHT + said))[:, None], scale=own)


def test_what_a_key_says_in_a_users_name_takes_nothing_from_their_word(router: Router, model: Model) -> None:
    log = world(router, model, 4, {RATING: 0.03})
    edges = log.edges
    order = np.argsort(edges.ts, kind="stable")
    key = np.full(len(log.answers.llm), -1, np.int64)
    key[edges.row[order[::2]]] = 0
    own = key[edges.row] < 0
    mixed = replace(log, answers=replace(log.answers, key=key))
    count = repeats(mixed, edges)
    for some in (own, ~own):
        assert count[some].tolist() == repeats(log, edges.only(some)).tolist()
    assert 0 < own.sum() < len(edges)


def test_what_one_tenants_users_tell_says_nothing_of_anothers(router: Router, model: Model) -> None:
    people = with_people(router)
    of_people = replace(model, runner=TorchRunner(people))
    one = world(router, model, 8, {RATING: 0.03})
    users = np.arange(8)

    def learned(tenants: list[str]) -> np.ndarray:
        made = copy_of(people)
        named = [(tenant, name) for tenant, (_, name) in zip(tenants, one.users, strict=True)]
        learn_tenant(made, of_people, replace(one, users=named), users)
        return made.user_node.log_tenant.double().exp().numpy()

    before = people.user_node.log_tenant.double().exp().numpy()
    acme, each = learned(["acme"] * 8), learned([f"tenant-{user}" for user in users])
    for shares in (before, acme, each):
        assert_near(shares.sum(), 1.0, 1e-6)
    alone = [copy_of(people) for _ in users]
    for user, made in zip(users, alone, strict=True):
        learn_tenant(made, of_people, one, np.array([user]))
    posteriors = [made.user_node.log_tenant.double().exp().numpy() for made in alone]
    assert_near(each, (before + sum(posteriors)) / 9, 1e-6)
    # Sure of one tenant of which eight users tell the same; not of eight of which one does each.
    assert acme.max() > each.max()


def test_users_who_count_dollars_say_less_of_who_is_liked(router: Router) -> None:
    base, said = np.zeros((2, 5)), np.array([[1.0, 2, 3, 700, 140], [1, 2, 3, 0, 0]])
    made = with_people(router)
    assert_near(as_popular(made, base, said), said, 0.02, scale=said.max(0))
    with torch.no_grad():
        made.user_node.log_tenant.copy_(torch.tensor([-20.0, -20.0, -20.0, 0.0, -20.0]))
    counted = as_popular(made, base, said)
    assert_near(counted[:, :3], said[:, :3], 1e-12)
    assert counted[0, 3] < 30
    assert counted[0, 4] / counted[0, 3] == pytest.approx(0.2)
    # What was known before is no user's word.
    assert_near(as_popular(made, said, said), said, 1e-12)


def test_a_log_draws_the_prior(router: Router) -> None:
    prior = prior_of(router)
    other = replace(prior, mean=prior.mean + 1, covariance=prior.covariance * 1e-4)
    few, many = pulled(prior, other, 30), pulled(prior, other, 3000)
    assert_near(few.mean, prior.mean + 0.5, 1e-12)
    spread = np.sqrt(np.diagonal(many.covariance, axis1=1, axis2=2) / np.diagonal(prior.covariance, axis1=1, axis2=2))
    assert (spread < 0.011).all(), "no share of an old spread stays for ever"
    np.linalg.cholesky(few.covariance)


def test_the_same_users_are_held_out_each_time() -> None:
    users = [("acme", f"user-{i}") for i in range(2000)]
    mask = held_out(users, 0.2)
    assert mask.mean() == pytest.approx(0.2, abs=0.03)
    np.testing.assert_array_equal(held_out(users[::-1], 0.2), mask[::-1])
    assert held_out(users, 0.3)[mask].all(), "a larger share keeps those of a smaller one"


def test_choices_are_where_the_router_was_free(router: Router, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    log = world(router, model, 3, {RATING: 0.03, JUDGE: 0.0})
    d = log.decisions
    d.reason[0] = REASONS.index("explicit")
    d.reason[1] = REASONS.index("sticky")
    d.propensity[2] = [1, 0, 0, 0, 0]  # exploration was off
    d.tried[3] = -1
    d.reason[4] = REASONS.index("fallback")
    d.propensity[5] = [0.5, 0.5, np.nan, np.nan, np.nan]
    d.tried[5] = 1
    everybody = np.ones(3, bool)
    found = choices_of(log, everybody)
    assert len(found.answer) == 3 * REQUESTS - 5
    assert (found.kind == RATING).all(), "a rating goes before a judge"
    assert set(range(5)).isdisjoint(found.answer.tolist())
    assert found.candidate[found.answer == 5].tolist() == [[True, True, False, False, False]]
    assert len(choices_of(log, np.array([False, True, False])).answer) == REQUESTS
    fewer = choices_of(log, everybody, most=20, generator=np.random.default_rng(0))
    assert sorted(np.bincount(fewer.sample.cluster)) == [6, 7, 7]
    assert set(fewer.answer.tolist()) < set(found.answer.tolist())
    assert len(choices_of(log, everybody, most=100).answer) == len(found.answer)
    with monkeypatch.context() as patch:
        patch.setattr("router_model.retrain.judgement.FREE_AT_ONCE", 7)
        np.testing.assert_array_equal(choices_of(log, everybody).answer, found.answer)
    d.reason[:] = REASONS.index("explicit")
    with pytest.raises(JudgeError, match="exploration on"):
        choices_of(log, everybody)


def test_a_long_history_is_gone_through_in_parts(router: Router, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    log = world(router, model, 2, {RATING: 0.03})
    whole = replay(model, log, answers_of(log, np.arange(2)))
    monkeypatch.setattr("router_model.retrain.replay.STATE_BATCH", 7)
    monkeypatch.setattr("router_model.retrain.replay.EDGE_BATCH", 4)
    parts = replay(model, log, answers_of(log, np.arange(2)))
    assert parts.answer.tolist() == whole.answer.tolist()
    assert parts.rewards.tolist() == whole.rewards.tolist()
    assert_near(parts.mean, whole.mean)
    assert_near(parts.std, whole.std)


def test_some_answers_alone_are_predicted_as_among_all(router: Router, model: Model) -> None:
    log = world(router, model, 3, {RATING: 0.03})
    whole = replay(model, log, answers_of(log, np.arange(3)))
    some = np.array([5, 40, 41, 80])
    part = replay(model, log, some)
    assert part.answer.tolist() == some.tolist()
    place = [int(np.flatnonzero(whole.answer == a)[0]) for a in some]
    assert_near(part.mean, whole.mean[place])
    assert part.rewards.tolist() == whole.rewards[place].tolist()


@pytest.mark.parametrize("indefinite", [False, True])
def test_expectation_is_that_of_each_user_and_component_by_itself(indefinite: bool) -> None:
    generator, users, size = np.random.default_rng(0), 6, 4
    parts = generator.normal(size=(users, size, 3))
    precision = parts @ parts.transpose(0, 2, 1)
    if indefinite:  # as what rounding may leave of sums from which ratings were taken back
        precision[1] -= 30 * np.eye(size)
    information = generator.normal(size=(users, size))
    prior = MixturePrior(
        np.array([0.7, 0.3]),
        np.stack([np.zeros(size), np.full(size, 3.0)]),
        np.stack([np.eye(size), 0.5 * np.eye(size)]),
    )
    share, mean, pooled, log_evidence = _expect(precision, information, prior)
    expected = np.zeros_like(pooled)
    for user in range(users):
        logs = []
        for j in range(2):
            inverse = np.linalg.inv(prior.covariance[j])
            covariance = np.linalg.inv(inverse + precision[user])
            target = information[user] + inverse @ prior.mean[j]
            np.testing.assert_allclose(mean[user, j], covariance @ target)
            scale = np.linalg.slogdet(inverse @ covariance)[1]
            fit = target @ covariance @ target - prior.mean[j] @ inverse @ prior.mean[j]
            logs.append(np.log(prior.weight[j]) + 0.5 * (scale + fit))
            expected[j] += share[user, j] * covariance
        np.testing.assert_allclose(log_evidence[user], np.logaddexp(*logs))
        np.testing.assert_allclose(share[user], np.exp(np.array(logs) - np.logaddexp(*logs)), atol=1e-12)
    np.testing.assert_allclose(pooled, expected, atol=1e-9)
