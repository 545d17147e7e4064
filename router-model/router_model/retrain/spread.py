"""A prior under which what people think of an answer can be: rewards lie between -1 and 1, and what is expected of
them does, too.

Bounds on single weights don't see that a feature is large at some answers (the square of what a free or a very dear
one costs), nor that forty thumbs of one mind widen many tastes at once. So bounded is what the weights say of answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from router_model.network import Router
from router_model.priors.user import MixturePrior, write_prior
from router_model.retrain.logbook import Logbook
from router_model.retrain.options import Options
from router_model.retrain.plausible import made_up_questions, of_made_up, states_of_users
from router_model.retrain.replay import Doubles, Floats, Ints, Model

DEVIATIONS = (1.0, 0.8, 0.6, 0.45, 0.3)
"""Of an answer's expected reward over people, at most: as if half of them always gave 1 and the others -1. Less where
users who say the same again and again would be taken beyond what a reward can be."""
MOST_MEAN = 1.0
"""Of a stranger's expected reward."""
MARGIN = 0.85
"""Of what a gate lets pass: it looks at other users."""
LLMS, QUESTIONS, USERS = 32, 64, 48
ENOUGH = 1e-3  # relative
MOST_STEPS = 2000


@dataclass(frozen=True)
class Seen:
    """What users see of n answers that may come."""

    phi: Doubles
    """[n, K]"""

    @staticmethod
    def of(router: Router, z: Floats, queries: Floats, seed: int) -> Seen:
        """Of LLMs [M, Z], the dearest and the cheapest of many, to questions [n, E] and to made-up ones."""
        s = router.sizes
        order = np.argsort(z[:, s.quality + s.length + 2], kind="stable")  # by the price of a reply
        chosen = order if len(order) <= LLMS else np.r_[order[: LLMS // 2], order[-LLMS // 2 :]]
        made, tokens = made_up_questions(queries.shape[1], seed)
        asked = np.concatenate([queries, made])
        tokens = np.concatenate([np.resize(tokens, len(queries)), tokens])
        with torch.no_grad():
            phi, _, _ = router.phi(torch.from_numpy(asked), torch.from_numpy(tokens), torch.from_numpy(z[chosen]))
        return Seen(phi.flatten(0, 1).double().numpy())


def possible(prior: MixturePrior, seen: Seen, deviation: float) -> MixturePrior:
    """The prior closest to `prior` under which no answer's expected reward spreads further than `deviation`, nor is
    further from zero than `MOST_MEAN` (of one Gaussian: that with the least divergence from it). Itself where it is so.

    All components are moved and squeezed alike, along one answer at a time, the worst first: what says nothing of
    answers beyond the bounds stays.
    """
    wide = seen.phi
    first = centre = prior.weight @ prior.mean
    apart, covariance = prior.mean - centre, prior.covariance
    for _ in range(MOST_STEPS):
        whole = np.einsum("j,jkl->kl", prior.weight, covariance) + (apart * prior.weight[:, None]).T @ apart
        pulled = wide @ whole
        variance = (pulled * wide).sum(1)
        left = variance > (deviation * (1 + ENOUGH)) ** 2
        if not left.any():
            break
        wide, pulled, variance = wide[left], pulled[left], variance[left]  # what is narrow enough only gets narrower
        worst = int(variance.argmax())
        squeeze = 1 - deviation / np.sqrt(variance[worst])
        turn = np.eye(wide.shape[1]) - squeeze / variance[worst] * np.outer(pulled[worst], wide[worst])
        covariance = turn @ covariance @ turn.T
        apart = apart @ turn.T
    for _ in range(MOST_STEPS):
        mean = seen.phi @ centre
        worst = int(np.abs(mean).argmax())
        if abs(mean[worst]) <= MOST_MEAN * (1 + ENOUGH):
            break
        along = whole @ seen.phi[worst]
        excess = mean[worst] - np.sign(mean[worst]) * MOST_MEAN
        centre = centre - along * (excess / max(along @ seen.phi[worst], 1e-12))
    if covariance is prior.covariance and centre is first:
        return prior
    return MixturePrior(prior.weight, centre + apart, covariance)


def write_possible(
    router: Router, prior: MixturePrior, model: Model, log: Logbook, users: Ints, options: Options
) -> float | None:
    """Gives a router `prior`, or as much of it as keeps predictions for some `users` within what the gate lets pass.

    Returns how far an answer's expected reward spreads over people at most, where the prior had to be narrowed.
    """
    asked = np.unique(log.edges.row[np.isin(log.edges.user, users)])
    queries = log.answers.queries.vector(asked[_spread_evenly(len(asked), QUESTIONS)])
    seen = Seen.of(router, model.z, queries, options.seed)
    some, limits = users[_spread_evenly(len(users), USERS)], options.limits
    for deviation in DEVIATIONS:
        made = possible(prior, seen, deviation)
        write_prior(router.user_node, made)
        found = of_made_up(log, model, states_of_users(log, model, some), options.seed)
        if found.mean <= MARGIN * limits.largest_mean and found.std <= MARGIN * limits.largest_std:
            break
    return None if made is prior else deviation


def _spread_evenly(there: int, most: int) -> Ints:
    """At most so many places of `there`."""
    return np.unique(np.linspace(0, there - 1, min(most, there)).round().astype(np.int64))
