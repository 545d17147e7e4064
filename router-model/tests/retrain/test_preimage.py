"""A query made for a reading is read the same, rounding and all."""

from __future__ import annotations

import numpy as np
import torch
from tiny import SIZES, tiny_router

from router_model.places import ARTIFACTS, find_artifact
from router_model.retrain.preimage import queries_read_as
from router_model.train.weights import WEIGHTS_FILE, load_weights


def test_a_query_is_found_for_readings_of_the_committed_artifact() -> None:
    encoder = load_weights(find_artifact("current", ARTIFACTS) / WEIGHTS_FILE).encoder
    generator = torch.Generator().manual_seed(1)
    queries = torch.nn.functional.normalize(torch.randn(60, encoder.sizes.query, generator=generator), dim=-1)
    with torch.no_grad():
        readings = encoder.reading(queries)
        scale = readings.abs().amax(-1, keepdim=True) / 127
        kept = (readings / scale).round() * scale
        found = encoder.reading(torch.from_numpy(queries_read_as(encoder, kept.numpy())))
        # What matters of a reading: features of quality and length, and the task group.
        for wanted, made in zip(encoder.of_reading(kept), encoder.of_reading(found), strict=True):
            assert (wanted - made).abs().max() < 0.05 * wanted.abs().max()
    tasks = encoder.sizes.known_tasks
    np.testing.assert_allclose(found[:, :tasks], kept[:, :tasks], atol=0.04)


def test_no_readings_are_no_queries() -> None:
    encoder = tiny_router().encoder
    assert queries_read_as(encoder, np.zeros((0, SIZES.reading), np.float32)).shape == (0, SIZES.query)
