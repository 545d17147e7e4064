"""Refitting a router to a log of rewards without new benchmark outcomes, by closed forms and empirical Bayes.

How queries are read (the encoder) stays: that needs outcomes of many LLMs on the same question. Learned are: evidence
on the tenant's LLMs, how each kind of reward speaks, calibration of quality, and the prior over users' tastes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from router_model.data.simulation import RATING_NOISE
from router_model.kinds import KINDS, OF_ANSWERS, TWO_SIDED
from router_model.linalg import unpack
from router_model.network import Router, predicted_tokens
from router_model.priors.people import popular_among
from router_model.priors.user import Blocks, MixturePrior, fit_mixture
from router_model.retrain.logbook import Edges, Logbook
from router_model.retrain.replay import (
    Doubles,
    Ints,
    Model,
    Visit,
    edges_of,
    llm_messages,
    user_sums,
    visit,
)

KIND_SPREAD = 0.3  # how far from its present value the log of a kind's noise or gain may well be
# Variance, that of simulated people. Ratings by a rule have less: and then a model that is never quite right would be
# sure of its mistakes.
LEAST_NOISE = RATING_NOISE**2
MOST_GAIN = 1.5
"""A yes or no tells at most so many times more than before: raters by a rule would tell without end (a logistic
regression of separable data has no maximum), and beliefs would grow with it."""
MOST_GROWTH = 1.5
"""Tastes spread at most so many times as far as in the prior so far."""
MOST_SHIFT = 6.0
"""A mean moves at most so many deviations of the prior so far: people may be quite unlike those of training."""
BEND_SPREAD = 0.1
"""Deviation that a non-linear taste is bounded by, where the prior so far has less: that nobody of training bends a
taste says nothing about this tenant, whose people may count dollars and not their logarithm."""
PRIOR_STRENGTH = 30.0  # users' worth of belief in the means of the prior so far
SPREAD_STRENGTH = 3.0  # and in its variances: a log of people unlike those of training must be able to shrink a taste
CALIBRATION_STRENGTH = 25.0  # curvature of about a hundred judged answers
ENOUGH_USERS = 200  # fewer determine no spread of sixty tastes: then a few steps, and most of the old spread
FIRST_ITERATIONS, EM_ITERATIONS = 8, 60
EM_GAIN = 1e-4  # log evidence a user: less, and it has converged
TASTE_REWARDS = 500  # of a user, the newest: as many as a gateway keeps one by one
ROUNDS = 2  # the second reads all rewards again, since a message takes the prior for granted


@dataclass(frozen=True)
class KindReading:
    """How a kind of reward speaks of u, what the user thought of the answer (see `RewardReading`).

    A dense kind is u plus Gaussian noise; any other is 1 with probability sigmoid(gain u), else -1.
    """

    kind: str
    rewards: int
    dense: bool
    strength: float
    """Variance of the noise, or gain."""
    spread: float
    """Variance of rewards around what a user well known should give: noise, and whether an answer turns out right."""

    def expected(self, mean: Doubles, std: Doubles) -> Doubles:
        """Expected reward of this kind where u is N(mean, std^2), each of any shape."""
        if self.dense:
            return np.clip(mean, -1.0, 1.0)
        # MacKay 1992: the average of a sigmoid over a Gaussian
        shrunk = self.strength * mean / np.sqrt(1 + np.pi / 8 * (self.strength * std) ** 2)
        expected: Doubles = 2 / (1 + np.exp(-shrunk)) - 1
        return expected


@dataclass(frozen=True)
class Beliefs:
    """Beliefs about n answers before they were rewarded. float64."""

    answer: Ints
    """[n]"""
    quality: Tensor
    """[n] probability of a right answer."""
    mean: Tensor
    """[n, 2] of the utility, if right and if wrong."""
    variance: Tensor
    """[n, 2]"""


def llm_evidence(
    model: Model, log: Logbook, edges: Edges, progress: Callable[[int, int], None] | None = None
) -> Doubles:
    """Sums [M, V] of the messages to the LLMs.

    As in the gateway, the n-th of a user about the same LLM counts 1/n: what a user says again and again is a taste.
    All users of a key that nobody vouches for are one voice, which saturates: their names cost nothing.
    """
    total: Doubles | None = None
    done = 0
    share = saturated(log, edges, 1 / (1 + repeats(log, edges)))
    for some, made in llm_messages(model, log, edges):
        if total is None:
            total = np.zeros((len(log.llms), made.shape[1]))
        added = made.astype(np.float64) * share[done : done + len(some), None]
        np.add.at(total, log.answers.llm[some.row].astype(np.int64), added)
        done += len(some)
        if progress is not None:
            progress(done, len(edges))
    if total is None:
        raise ValueError("no rewarded answers")
    return total


KEY_WEIGHT = 8.0
"""Ratings of an LLM that all users of such a key count as at most: `router.shared_evidence.key_weight`."""


def saturated(log: Logbook, edges: Edges, share: Doubles) -> Doubles:
    """Shares [E] of edges, where w ratings by one key about an LLM count as K w / (K + w)."""
    if log.answers.key is None:
        return share
    key = log.answers.key[edges.row]
    voice = np.where(key < 0, 0, 1 + key * len(log.llms) + log.answers.llm[edges.row].astype(np.int64))
    said = np.bincount(voice, share * edges.weight)
    return np.where(key < 0, share, share * KEY_WEIGHT / (KEY_WEIGHT + said[voice]))


def repeats(log: Logbook, edges: Edges) -> Ints:
    """[E]: how many earlier edges are of the same user about the same LLM.

    What was said in a user's name while nobody vouched for it takes nothing from what they say themselves.
    """
    llm = log.answers.llm[edges.row].astype(np.int64)
    key = log.answers.key
    named = np.zeros(len(edges), np.int64) if key is None else (key[edges.row] >= 0).astype(np.int64)
    who = (2 * edges.user + named) * len(log.llms) + llm
    order = np.lexsort((edges.ts, who))
    made = np.empty(len(edges), np.int64)
    made[order] = np.arange(len(edges)) - np.searchsorted(who[order], who[order])
    return made


def beliefs(
    router: Router, model: Model, log: Logbook, answers: Ints, progress: Callable[[int, int], None] | None = None
) -> Beliefs:
    """About some rewarded answers; realised cost and length are used, as in `Router.edge`."""
    parts = [
        (torch.from_numpy(some.answer), *_believed(router, model, log, some))
        for some in visit(model, log, answers, progress)
    ]
    answer, quality, mean, variance = (torch.cat(column) for column in zip(*parts, strict=True))
    return Beliefs(answer.numpy(), quality, mean, variance)


def _believed(router: Router, model: Model, log: Logbook, some: Visit) -> tuple[Tensor, Tensor, Tensor]:
    """Quality [n], means [n, 2], variances [n, 2]."""
    answers, rows = log.answers, some.answer
    with torch.no_grad():
        reading = torch.from_numpy(answers.queries.reading(rows, router.encoder))
        of_quality, of_length, task = router.encoder.of_reading(reading)
        z = torch.from_numpy(model.z[answers.llm[rows]])
        of_llm, talk, popularity, price, codes, _ = router.split_z(z)
        quality = router.features.quality((of_quality * of_llm).sum(-1))
        tokens, asked, paid = (
            torch.from_numpy(column[rows])
            for column in (answers.completion_tokens, answers.prompt_tokens, answers.cost_usd)
        )
        tokens = torch.where(tokens >= 0, tokens, predicted_tokens((of_length * talk).sum(-1)))
        usd = torch.where(paid >= 0, paid, (asked * price[:, 0] + tokens * price[:, 1]) * 1e-6)
        _, cost, length = router.features.standardise(quality, usd, tokens)
        one = torch.ones_like(cost)
        phi = torch.stack([router.features(side * one, cost, length, task, codes) for side in (1, -1)], 1).double()
        weights, covariance = (of[some.which] for of in router.believed(torch.from_numpy(some.sums))[:2])
        mean = (phi @ weights.unsqueeze(-1)).squeeze(-1) + popularity.double().unsqueeze(-1)
        variance = ((phi @ covariance) * phi).sum(-1)
    return quality.double().clamp(1e-6, 1 - 1e-6), mean, variance.clamp(min=1e-8)


def readings_of(router: Router) -> list[KindReading]:
    """How the router reads each kind now."""
    dense = (router.reading.dense > 0).tolist()
    noise, gain = router.reading.log_noise.exp().tolist(), router.reading.log_gain.exp().tolist()
    return [
        KindReading(kind, 0, dense[k], noise[k] if dense[k] else gain[k], noise[k] if dense[k] else 0.0)
        for k, kind in enumerate(KINDS)
    ]


def fit_readings(router: Router, log: Logbook, edges: Edges, found: Beliefs) -> list[KindReading]:
    """Noise and gain of each two-sided kind, by the likelihood of rewards under what was believed before they came.

    The likelihood is the router's own: over right or wrong, and over what is not known of the user. A normal prior
    around the present logarithms keeps a handful of rewards from meaning much. Changes the router.
    """
    edges = edges.only(np.isin(edges.row, found.answer) & np.isin(edges.kind, TWO_SIDED) & (edges.weight > 0))
    order = np.argsort(found.answer)
    place = torch.from_numpy(order[np.searchsorted(found.answer[order], edges.row)])
    kind = torch.from_numpy(edges.kind)
    reward, weight = torch.from_numpy(edges.value).double(), torch.from_numpy(edges.weight).double()
    chance = found.quality[place].clamp(0.02, 0.98)  # as in `Router.to_user`
    mean, variance = found.mean[place], found.variance[place]
    reading = deepcopy(router.reading).double()
    start = [reading.log_noise.detach().clone(), reading.log_gain.detach().clone()]
    parameters = [reading.log_noise, reading.log_gain]

    def loss() -> Tensor:
        right, wrong = (reading.moments(mean[:, i], variance[:, i], reward, kind)[0] for i in (0, 1))
        likelihood = torch.logaddexp(torch.log(chance) + right, torch.log(1 - chance) + wrong)
        pulls = [((p - p0) / KIND_SPREAD).square().sum() / 2 for p, p0 in zip(parameters, start, strict=True)]
        return sum(pulls, -(weight * likelihood).sum())

    optimiser = torch.optim.LBFGS(parameters, max_iter=50, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    if len(edges):
        optimiser.step(step)
    with torch.no_grad():
        router.reading.log_noise.copy_(reading.log_noise.clamp(min=math.log(LEAST_NOISE)))
        router.reading.log_gain.copy_(torch.minimum(reading.log_gain, start[1] + math.log(MOST_GAIN)))
    made = readings_of(router)
    expected = (chance * mean[:, 0] + (1 - chance) * mean[:, 1]).numpy()
    known = (chance * variance[:, 0] + (1 - chance) * variance[:, 1]).numpy()
    for k in TWO_SIDED:
        rows = edges.kind == k
        if rows.any():
            left = (edges.value[rows] - expected[rows]) ** 2 - known[rows]
            spread = max(float(left.mean()), made[k].spread)
            made[k] = replace(made[k], rewards=int(rows.sum()), spread=spread)
    return made


def calibrate_on_judged(router: Router, log: Logbook, edges: Edges, found: Beliefs) -> tuple[float, float, int]:
    """Platt scaling of predicted quality on judged answers: slope, shift and how many there were. Changes the router.

    Ridge towards no change.
    """
    judged = edges.only(np.isin(edges.kind, OF_ANSWERS) & np.isin(edges.row, found.answer))
    if len(judged) == 0:
        return 1.0, 0.0, 0
    order = np.argsort(found.answer)
    p = found.quality.numpy()[order[np.searchsorted(found.answer[order], judged.row)]]
    logit, good = np.log(p / (1 - p)), (judged.value.astype(float) + 1) / 2
    theta = np.array([1.0, 0.0])
    for _ in range(25):  # Newton
        predicted = 1 / (1 + np.exp(-(theta[0] * logit + theta[1])))
        design = np.stack([logit, np.ones_like(logit)], 1)
        gradient = design.T @ (predicted - good) + CALIBRATION_STRENGTH * (theta - [1.0, 0.0])
        hessian = design.T @ ((predicted * (1 - predicted))[:, None] * design) + CALIBRATION_STRENGTH * np.eye(2)
        theta = theta - np.linalg.solve(hessian, gradient)
    slope, shift = max(float(theta[0]), 0.1), float(theta[1])
    with torch.no_grad():
        features = router.features
        features.quality_scale.mul_(slope)
        features.quality_shift.mul_(slope).add_(shift)
    return slope, shift, len(judged)


def prior_of(router: Router) -> MixturePrior:
    """The user node's prior."""
    node = router.user_node
    with torch.no_grad():
        weight = torch.softmax(node.log_weight.double(), -1).numpy()
        covariance = torch.linalg.inv(node.prior_precision()).numpy()
        return MixturePrior(weight, node.mean.double().numpy(), covariance)


def fit_prior(
    router: Router,
    model: Model,
    log: Logbook,
    users: Ints,
    before: MixturePrior,
    progress: Callable[[int, int], None] | None = None,
) -> MixturePrior:
    """Empirical Bayes over users' histories until it has converged, drawn weakly towards the prior `before` any of it.

    Starts from the router's own, which an earlier round may have made; bounded by `before`, however many rounds.
    """
    k, blocks = router.sizes.user, Blocks.of(router.sizes)
    least = np.zeros(k)
    least[blocks.bends] = BEND_SPREAD
    sums = _sums_of(model, log, users, progress)
    packed, information = (
        router.leniency(torch.from_numpy(sums).unsqueeze(1)).squeeze(1).split((k * (k + 1) // 2, k), -1)
    )
    precision = unpack(packed, k).numpy()
    fitted, _ = fit_mixture(
        precision,
        information.numpy(),
        prior_of(router),
        router.sizes,
        EM_ITERATIONS if len(users) >= ENOUGH_USERS else FIRST_ITERATIONS,
        centred=blocks.liked if len(users) >= ENOUGH_USERS else None,
        progress=progress,
        enough=EM_GAIN,
        bound=lambda prior: bounded(before, prior, least),
    )
    return pulled(before, fitted, len(users))


def _sums_of(model: Model, log: Logbook, users: Ints, progress: Callable[[int, int], None] | None = None) -> Doubles:
    """Sums [U, G] of what users said, of each the newest `TASTE_REWARDS`."""
    made = []
    for user in users.tolist():
        edges = edges_of(log.edges, user)
        made.append(user_sums(model, log, edges.only(np.arange(max(0, len(edges) - TASTE_REWARDS), len(edges)))))
        if progress is not None:
            progress(len(made), len(users))
    return np.stack(made)


def learn_tenant(router: Router, model: Model, log: Logbook, users: Ints) -> None:
    """What users tell of their tenant goes into how frequent kinds of tenants are. Changes the router.

    Of one tenant: what is believed of it. Of several that share an artifact: how frequent kinds are among them, since
    what the users of one tell says nothing of another.
    """
    node = router.user_node
    sums = _sums_of(model, log, users)
    with torch.no_grad():
        # as one block: nobody is asked here whether they have changed
        blocks = torch.zeros(len(users), router.sizes.blocks, sums.shape[1], dtype=torch.double)
        blocks[:, 0] = torch.from_numpy(sums)
        *_, told = router.believed(blocks)
        before = node.log_tenant.double()
        names = sorted({log.users[user][0] for user in users.tolist()})
        of = torch.tensor([names.index(log.users[user][0]) for user in users.tolist()])
        each = torch.log_softmax(before + torch.zeros(len(names), len(before)).double().index_add(0, of, told), -1)
        if len(names) > 1:  # each is one tenant more beside what the base takes for one
            each = torch.logsumexp(torch.cat([torch.log_softmax(before, -1)[None], each]), 0, keepdim=True)
        node.log_tenant.copy_(torch.log_softmax(each[0], -1))


def as_popular(router: Router, base: Doubles, evidence: Doubles) -> Doubles:
    """Evidence on LLMs [M, V] of which all but `base` is what users said: counted as the gateway counts it among the
    people whom `learn_tenant` found.
    """
    sizes = router.sizes
    with torch.no_grad():
        silence = torch.zeros(1, sizes.blocks, sizes.belief, dtype=torch.double)
        people = router.user_node.believed(silence)[3][0].numpy()
    made: Doubles = base + popular_among(people, evidence - base)
    return made


def bounded(old: MixturePrior, new: MixturePrior, least: Doubles | float = 0.0) -> MixturePrior:
    """`new`, its deviations and means no further from the old prior as a whole than `MOST_GROWTH` and `MOST_SHIFT`
    allow; the old deviations count as `least` [K] where they are less."""
    centre = old.weight @ old.mean
    variance = np.einsum("j,jkk->k", old.weight, old.covariance) + old.weight @ (old.mean - centre) ** 2
    spread = np.maximum(np.sqrt(variance), least)
    reach = MOST_SHIFT * spread
    scale = np.minimum(1.0, MOST_GROWTH * spread / np.sqrt(np.diagonal(new.covariance, axis1=1, axis2=2)))
    return MixturePrior(
        new.weight,
        np.clip(new.mean, centre - reach, centre + reach),
        new.covariance * scale[:, :, None] * scale[:, None, :],
    )


def pulled(old: MixturePrior, new: MixturePrior, users: int) -> MixturePrior:
    """`new`, drawn towards `old` component by component (they correspond, since the fit started from the old).

    Means as if `PRIOR_STRENGTH` users had said the old ones; logarithms of variances as if `SPREAD_STRENGTH` had, from
    `ENOUGH_USERS` on: a mean of the variances themselves, as with fewer, would keep a share of every old spread.
    """
    share = users / (users + PRIOR_STRENGTH)
    if users < ENOUGH_USERS:
        return MixturePrior(
            (1 - share) * old.weight + share * new.weight,
            (1 - share) * old.mean + share * new.mean,
            (1 - share) * old.covariance + share * new.covariance,
        )
    kept = users / (users + SPREAD_STRENGTH)
    variance = np.diagonal(new.covariance, axis1=1, axis2=2)
    before = np.diagonal(old.covariance, axis1=1, axis2=2)
    scale = np.sqrt((before / variance) ** (1 - kept))
    return MixturePrior(
        (1 - share) * old.weight + share * new.weight,
        (1 - share) * old.mean + share * new.mean,
        new.covariance * scale[:, :, None] * scale[:, None, :],
    )


def copy_of(router: Router) -> Router:
    """A router to change."""
    return deepcopy(router).eval()


def held_out(users: list[tuple[str, str]], share: float) -> NDArray[np.bool_]:
    """Mask [U] of users kept for judging: by a hash of the name, so that every retraining keeps the same ones."""
    from router_model.retrain.logbook import key_of

    return np.array([key_of("held out", *user) % 10_000 < share * 10_000 for user in users], bool)
