"""Queries that stand for others of which only the reading was kept: the router reads them the same.

Nothing that retraining fits or judges depends on more of a query than its reading. The graphs for judging take queries,
though; so one is made for each reading, the shortest as far as the steps find it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from router_model.network import GAIN, QueryEncoder

Floats = NDArray[np.float32]

STEPS = 12
DAMPING = 1e-4
LEAST = 2e-3  # probability: less is as good as none
ENOUGH = 1e-3  # a reading is kept in steps ten times as coarse
CHUNK = 1024


def queries_read_as(encoder: QueryEncoder, readings: Floats) -> Floats:
    """[n, E] of readings [n, Q], by steps of Gauss and Newton from zero."""
    parts = [
        _read_as(encoder, torch.from_numpy(readings[start : start + CHUNK])) for start in range(0, len(readings), CHUNK)
    ]
    empty = torch.zeros(0, encoder.sizes.query)
    return torch.cat([empty, *parts]).numpy()


def _read_as(encoder: QueryEncoder, reading: Tensor) -> Tensor:
    s = encoder.sizes
    tasks, width = s.known_tasks, s.hidden + s.query
    with torch.no_grad():
        wanted = torch.cat([_centred(reading[:, :tasks].clamp(min=LEAST).log()), reading[:, tasks:]], -1).double()
        seen = torch.cat([_centred(encoder.task.weight.T).T, encoder.latent.weight[:, :width]]).double()
        bias = torch.cat([_centred(encoder.task.bias), encoder.latent.bias]).double()
        hidden, shift = encoder.hidden.weight.double() * GAIN, encoder.hidden.bias.double()
        linear = seen[:, s.hidden :] * GAIN
        query = torch.zeros(len(reading), s.query, dtype=torch.float64)
        left = torch.arange(len(reading))  # that are not there yet
        for _ in range(STEPS):
            at = query[left]
            before = at @ hidden.T + shift
            missing = wanted[left] - (torch.relu(before) @ seen[:, : s.hidden].T + at @ linear.T + bias)
            far = missing.abs().amax(-1) > ENOUGH
            left, at, before, missing = left[far], at[far], before[far], missing[far]
            if not len(left):
                break
            slope = ((before > 0).double().unsqueeze(1) * seen[:, : s.hidden]) @ hidden + linear  # [n, Q, E]
            square = slope @ slope.transpose(-1, -2)
            damped = square + DAMPING * torch.eye(len(bias)) * square.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
            step = torch.linalg.solve(damped, missing.unsqueeze(-1))
            query[left] = at + (slope.transpose(-1, -2) @ step).squeeze(-1)
        return query.float()


def _centred(logits: Tensor) -> Tensor:
    """A softmax does not see what all logits have in common."""
    return logits - logits.mean(-1, keepdim=True)
