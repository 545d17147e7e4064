from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router_model.data.cards import Card, known_ability, years
from router_model.retrain.consent import (
    ConsentError,
    GatewayConfig,
    cards_of,
    choose_tenants,
    may_serve_all,
    read_config,
)

SHARING = GatewayConfig({"acme": True, "bell": True, "cole": False}, {})


def test_alone_is_always_allowed() -> None:
    assert choose_tenants(["acme"], [], False, None) == ["acme"]
    assert choose_tenants(["acme", "cole"], ["cole"], False, SHARING) == ["cole"]


def test_together_only_if_all_opted_in() -> None:
    assert choose_tenants(["acme", "bell", "cole"], ["bell", "acme"], False, SHARING) == ["acme", "bell"]
    assert choose_tenants(["acme", "bell", "cole"], [], True, SHARING) == ["acme", "bell"]
    with pytest.raises(ConsentError, match="cole did not opt in"):
        choose_tenants(["acme", "cole"], ["acme", "cole"], False, SHARING)
    with pytest.raises(ConsentError, match="acme, bell did not opt in"):
        choose_tenants(["acme", "bell"], ["acme", "bell"], False, None)
    with pytest.raises(ConsentError, match="--shared needs --config"):
        choose_tenants(["acme", "bell"], [], True, None)


def test_nobody_is_chosen_by_accident() -> None:
    with pytest.raises(ConsentError, match="name one with --tenant"):
        choose_tenants(["acme", "bell"], [], False, SHARING)
    with pytest.raises(ConsentError, match="no rows of dole; there are rows of acme"):
        choose_tenants(["acme"], ["dole"], False, None)
    with pytest.raises(ConsentError, match="no tenant"):
        choose_tenants([], [], False, None)


def test_a_model_goes_to_others_only_if_everybody_shares() -> None:
    assert may_serve_all(["acme"], ["acme"], None)
    assert not may_serve_all(["acme"], ["acme", "bell"], None)
    assert not may_serve_all(["acme", "bell"], ["acme", "bell"], SHARING), "cole is served, too"
    assert may_serve_all(["acme"], ["acme"], GatewayConfig({"acme": True, "bell": True}, {}))


def test_the_configuration_is_read_with_its_includes(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        "candidates:\n  - { name: big, provider: p, model: gpt-big, price: { input: 1, output: 2 }, size_b: 70,\n"
        "      capabilities: [tools], description: Large. }\n  - { name: own, provider: p, vendor: Other }\n"
    )
    (tmp_path / "gateway.yaml").write_text(
        "include: [models.yaml]\nproviders: { p: { kind: openai-compatible, api_key: '${KEY}' } }\n"
        "candidates: [{ name: own, provider: p, vendor: Ours }]\n"
        "router: { gamma: { base: 10 } }\n"
        "tenants:\n  - { name: acme, share_training: true }\n  - { name: bell }\n"
    )
    config = read_config(tmp_path / "gateway.yaml")
    assert config.sharing == {"acme": True, "bell": False}
    assert (config.gamma.base, config.gamma.per_reward) == (10, 8)
    big = config.cards["big"]
    assert (big.vendor, big.input_price, big.size_b, big.tools, big.vision) == ("openai", 1, 70, True, False)
    assert config.cards["own"].vendor == "ours", "the file itself goes before what it includes"
    with pytest.raises(ConsentError, match=r"none\.yaml"):
        read_config(tmp_path / "none.yaml")


def test_cards_come_from_the_configuration_then_from_what_is_known() -> None:
    config = GatewayConfig({}, {"mine": Card("mine", "us", input_price=1.0, output_price=2.0)})
    prices = np.array([[9, 9], [0.1, 0.2], [0.3, np.nan], [np.nan, np.nan]], np.float32)
    mine, known, fitted, bare = cards_of(["mine", "Meta-Llama-3-8B-Instruct", "gpt-x", "what"], prices, config)
    assert (mine.input_price, known.vendor, known.size_b) == (1.0, "meta", 8)
    assert (known.input_price, known.output_price) == pytest.approx((0.1, 0.2))
    assert (fitted.vendor, bare.vendor, bare.input_price) == ("openai", "community", None)


def test_what_is_known_of_an_llm_is_of_its_model_and_of_its_name_where_that_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(
        "candidates:\n  - { name: claude-3-5-haiku, provider: p, model: gpt-5 }\n"
        "  - { name: gpt-4o, provider: p, model: prod-7 }\n"
        "  - { name: dated, provider: p, model: gpt-5, released: 2026-07-01 }\n"
        "  - { name: bare, provider: p, model: prod-7 }\n"
    )
    cards = read_config(tmp_path / "gateway.yaml").cards
    for name, of in {"claude-3-5-haiku": "gpt-5", "gpt-4o": "gpt-4o"}.items():
        known = known_ability(of)
        assert known is not None
        assert (cards[name].ability, cards[name].released) == (known["ability"], years(known["released"]))
    assert (cards["dated"].released, cards["bare"].released) == (2026.5, None)
    assert cards["claude-3-5-haiku"].thinking is cards["dated"].thinking
