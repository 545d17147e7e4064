"""What is known of queries: vectors and readings side by side, and queries that are made for readings once."""

from __future__ import annotations

import numpy as np
import torch
from tiny import SIZES, tiny_router

from router_model.retrain.queries import NOTHING, Queries, place_of_reading, quantised


def some() -> tuple[Queries, np.ndarray]:
    """Of four answers: a vector, nothing, a reading, the reading of the first one's vector."""
    encoder = tiny_router().encoder
    generator = np.random.default_rng(0)
    vectors = quantised(generator.standard_normal((2, SIZES.query)).astype(np.float32))
    with torch.no_grad():
        read = encoder.reading(torch.from_numpy(vectors.rows(np.arange(2)))).numpy()
    place = np.array([0, NOTHING, place_of_reading(0), place_of_reading(1)])
    return Queries(place, vectors, quantised(read[::-1].copy()), encoder), read


def test_a_reading_is_that_of_the_vector_or_the_one_that_was_kept() -> None:
    queries, read = some()
    assert queries.encoder is not None
    found = queries.reading(np.array([3, 2, 1, 0]), queries.encoder)
    np.testing.assert_allclose(found[0], read[0], atol=np.abs(read).max() / 200)
    np.testing.assert_allclose(found[1], read[1], atol=np.abs(read).max() / 200)
    assert not found[2].any()
    np.testing.assert_allclose(found[3], read[0], rtol=1e-5)


def test_a_query_is_made_once_and_read_the_same() -> None:
    queries, _ = some()
    assert queries.encoder is not None
    told: list[tuple[int, int]] = []
    made = queries.with_queries(np.array([3, 0, 2, 2]), lambda done, of: told.append((done, of)))
    assert told == [(2, 2)]
    everything = np.arange(4)
    now, kept = queries.vector(everything), made.vector(everything)
    np.testing.assert_array_equal(kept[0], queries.vectors.rows(np.array([0]))[0])
    assert not kept[1].any(), "nothing is known of it"
    np.testing.assert_allclose(kept, now, atol=np.abs(now).max() / 200)
    with torch.no_grad():
        again = queries.encoder.reading(torch.from_numpy(kept[2:])).numpy()
    np.testing.assert_allclose(again, queries.reading(np.array([2, 3]), queries.encoder), atol=0.1)
    before, after = (of.reading(everything, queries.encoder) for of in (queries, made))
    np.testing.assert_array_equal(after, before)


def test_none_are_none() -> None:
    queries, _ = some()
    assert queries.with_queries(np.zeros(0, np.int64)).vector(np.zeros(0, np.int64)).shape == (0, SIZES.query)
    assert Queries.of_vectors(quantised(np.zeros((0, 3), np.float32))).width == 3
