import numpy as np
import pytest

from router_model.data.cards import (
    Card,
    card_for,
    card_matrix,
    known_card,
    price_matrix,
    size_in_billions,
    vendor_of,
)
from router_model.export.artifact import CardFeature

SPEC = (
    CardFeature(field="output_price", transform="log10", mean=0.0, std=1.0),
    CardFeature(field="open_weights", transform="flag", mean=0.5, std=0.5),
    CardFeature(field="benchmarks.mmlu", transform="identity", mean=0.5, std=0.1),
)


def test_features_are_value_and_presence_in_the_order_of_the_spec():
    card = Card("a", "b", output_price=100.0, open_weights=False, benchmarks={"mmlu": 0.6})
    assert card_matrix([card], SPEC) == pytest.approx(np.array([[2, 1, -1, 1, 1, 1]]))


def test_a_missing_field_is_zero_and_absent_and_values_are_clipped():
    card = Card("a", "b", output_price=0.0, benchmarks={"mmlu": 9.0})
    assert card_matrix([card], SPEC) == pytest.approx(np.array([[-3, 1, 0, 0, 4, 1]]))


def test_an_unknown_transform_is_refused():
    class Spec:
        field, transform, mean, std = "output_price", "sqrt", 0.0, 1.0

    with pytest.raises(ValueError, match="sqrt"):
        card_matrix([Card("a", "b", output_price=1.0)], [Spec()])


def test_a_known_card_has_no_price_of_its_own_but_takes_the_rows():
    known = known_card("GPT-4o-mini-2024-07-18")
    assert known is not None
    assert known.input_price is None
    card = card_for({"name": "gpt-4o-mini-2024-07-18", "input_price": 0.15, "output_price": 0.6})
    assert (card.vendor, card.tools, card.input_price) == ("openai", True, 0.15)
    assert card.text.startswith("openai gpt-4o-mini-2024-07-18: ")


def test_an_unknown_llm_gets_a_card_from_its_row():
    card = card_for({"name": "falcon-40b-chat", "size": "40B", "input_price": 0.8, "output_price": 0.8})
    assert (card.vendor, card.size_b, card.open_weights) == ("tii", 40.0, True)
    assert (vendor_of("nobody-knows"), size_in_billions("8x7B"), size_in_billions(None)) == ("community", 56.0, None)


def test_an_unknown_price_counts_as_nothing():
    assert price_matrix([Card("a", "b")]).tolist() == [[0.0, 0.0]]
