"""Bayes with the true population that reads a rating as it is: of a right answer or of a wrong one, nobody says which.

`TruePopulation` takes the predicted quality of an answer for its quality and calls the rest noise; a rating of a
right answer and one of a wrong one are then read alike. Here each rating is a mixture of both, and what else is known
of its user tells which: expectation propagation (Minka 2001, UAI), for each component of the population by itself. No
router has this prior, and no message that depends on no user's state can be read so.
Letters: U users, J components, N rewards, K weights.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from personabench.baselines.simple import TruePopulation
from personabench.bench.contestant import Known
from router_model.data.population import cost_units, length_units
from router_model.data.simulation import RATING_NOISE, THUMB_SHARPNESS, History
from router_model.evidence import RewardReading, inverse_2x2
from router_model.kinds import KINDS

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SWEEPS = 2
USERS_AT_ONCE = 50
SMALL = 1e-9


class ExactReading(TruePopulation):
    """What histories can tell at most of a router that reads queries as `known.heads`."""

    name = "Bayes with the true population, right and wrong told apart"

    def fit(self, known: Known) -> None:
        """As `TruePopulation`, in units of reward; rewards are read as the simulator makes them."""
        super().fit(known)
        scale = 1.0 if known.log.train.kind == "dense" else THUMB_SHARPNESS
        self.prior_mean = self.belief.mean / scale
        self.prior_covariance = self.belief.covariance / scale**2
        self.said = KINDS.index(known.log.train.kind_name)
        self.reading = RewardReading()
        with torch.no_grad():
            self.reading.log_noise.fill_(2 * math.log(RATING_NOISE))
            self.reading.log_gain.fill_(math.log(THUMB_SHARPNESS))

    def scores(self, rows: Ints, history: History) -> Floats:
        """Utility [U, R, M] expected under each user's posterior."""
        heads = self.heads
        cost, length = cost_units(heads.cost_usd), length_units(heads.completion_tokens)
        grid = self._phi(rows[:, None], np.arange(cost.shape[1])[None], cost[rows], length[rows])
        parts = np.array_split(np.arange(len(history.users)), max(1, -(-len(history.users) // USERS_AT_ONCE)))
        mean = np.concatenate([self.expected(history.of(part)) for part in parts])
        return np.asarray((mean @ grid.reshape(-1, grid.shape[-1]).T).reshape(len(mean), *grid.shape[:2]))

    @torch.no_grad()
    def expected(self, history: History) -> Floats:
        """Mean weights [U, K]."""
        users, n = history.query.shape
        planes, rated = self.planes(history), torch.as_tensor(history.rated)
        chance = torch.as_tensor(self.heads.quality[history.query, history.llm], dtype=torch.float64).clamp(0.02, 0.98)
        reward = torch.as_tensor(history.reward, dtype=torch.float64)
        belief = _Beliefs(self.prior_mean, self.prior_covariance, self.belief.log_weight, users, n)
        for sweep in range(SWEEPS):
            for step in range(n):
                mean, covariance = belief.without(step, planes[:, step].unsqueeze(1))
                right, told = (x[:, step, None].expand(mean.shape[:2]) for x in (chance, reward))
                kind = torch.full(mean.shape[:2], self.said)
                belief.update(step, rated[:, step], *self.reading(mean, covariance, right, told, kind))
                if sweep == 0:
                    likely = self._log_evidence(mean, covariance, right, told, kind)
                    belief.log_weight += torch.where(rated[:, step, None], likely, 0.0)
        return np.asarray(belief.expectation().numpy(), dtype=np.float32)

    def planes(self, history: History) -> Tensor:
        """Features [U, N, 2, K] of u and v: utility is u + v for a right answer, u - v for a wrong one."""
        seen = cost_units(history.cost_usd), length_units(history.completion_tokens)
        phi = torch.as_tensor(self._phi(history.query, history.llm, *seen), dtype=torch.float64)
        of_quality = torch.zeros(phi.shape[-1], dtype=torch.float64)
        of_quality[: 3 * len(self.tasks) : 3] = 1.0
        task = torch.as_tensor(self.pool.task[history.query][..., None] == self.tasks, dtype=torch.float64)
        v = torch.zeros_like(phi)
        v[..., : 3 * len(self.tasks) : 3] = task
        return torch.stack([phi * (1 - of_quality), v], -2)

    def _log_evidence(self, mean: Tensor, covariance: Tensor, chance: Tensor, reward: Tensor, kind: Tensor) -> Tensor:
        parts = []
        for sign, share in ((1.0, chance), (-1.0, 1 - chance)):
            direction = mean.new_tensor([1.0, sign])
            variance = (covariance @ direction) @ direction
            parts.append(torch.log(share) + self.reading.moments(mean @ direction, variance, reward, kind)[0])
        return torch.logsumexp(torch.stack(parts, -1), -1)


class _Beliefs:
    """A Gaussian of each user's weights for each component, and what each reward has told of it: all float64."""

    def __init__(self, mean: Tensor, covariance: Tensor, log_weight: Tensor, users: int, rewards: int) -> None:
        """The population: mean [J, K], covariance [J, K, K], log weight [J]."""
        j, k = mean.shape
        self.mean = mean.expand(users, j, k).clone()
        self.covariance = covariance.expand(users, j, k, k).clone()
        self.log_weight = log_weight.expand(users, j).clone()
        self.precision = mean.new_zeros(rewards, users, j, 2, 2)
        self.information = mean.new_zeros(rewards, users, j, 2)

    def without(self, step: int, plane: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [U, J, 2] and covariance [U, J, 2, 2] of (u, v) of a reward, `plane` [U, 1, 2, K], as if it were not."""
        self.pull = self.covariance @ plane.transpose(-1, -2)  # [U, J, K, 2]
        self.inside = plane @ self.pull + SMALL * torch.eye(2, dtype=plane.dtype)
        self.centre = (plane @ self.mean.unsqueeze(-1)).squeeze(-1)
        whole = inverse_2x2(self.inside)
        covariance = inverse_2x2(whole - self.precision[step])
        information = (whole @ self.centre.unsqueeze(-1)).squeeze(-1) - self.information[step]
        return (covariance @ information.unsqueeze(-1)).squeeze(-1), covariance

    def update(self, step: int, rated: Tensor, precision: Tensor, information: Tensor) -> None:
        """What the reward tells in place of what it told, where users [U] gave it; after `without`."""
        who = rated[:, None, None]
        precision = torch.where(who.unsqueeze(-1), precision, self.precision[step])
        information = torch.where(who, information, self.information[step])
        more = precision - self.precision[step]
        shift = information - self.information[step] - (more @ self.centre.unsqueeze(-1)).squeeze(-1)
        gain = torch.linalg.inv(torch.eye(2, dtype=more.dtype) + more @ self.inside)
        self.mean += (self.pull @ (gain @ shift.unsqueeze(-1))).squeeze(-1)
        self.covariance -= self.pull @ gain @ more @ self.pull.transpose(-1, -2)
        self.precision[step], self.information[step] = precision, information

    def expectation(self) -> Tensor:
        """[U, K]."""
        return (torch.softmax(self.log_weight, -1).unsqueeze(-1) * self.mean).sum(1)
