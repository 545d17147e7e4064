"""One ability from whatever figures there are, and what figures of one kind share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router_model.abilities.dates import date_of, read_dates
from router_model.abilities.fit import fit_abilities
from router_model.data.ability import AbilitySpec, Aspect, FigureSpec, infer, thinks
from router_model.data.cards import Card, card_for, known_ability, plain_name, years

VOTES = [f"votes_{i}" for i in range(7)]


def spec(shared: float) -> AbilitySpec:
    """Seven figures by the same voters and one by others; `shared`: what the seven have in common."""
    figure = lambda name: FigureSpec(field=name, transform="identity", offset=0, load=1, noise=1)  # noqa: E731
    return AbilitySpec(
        mean=0,
        variance=1,
        terms=(),
        figures=tuple(figure(name) for name in [*VOTES, "test"]),
        aspects={"chat": Aspect(figures=dict.fromkeys(VOTES, shared))},
        effort={"none": -0.2},
    )


def card(**benchmarks: float) -> Card:
    return Card("one", "somebody", benchmarks=benchmarks)


def test_figures_of_one_kind_count_as_little_more_than_one() -> None:
    many = card(**dict.fromkeys(VOTES, 1.0))
    apart, together = infer(many, spec(0.0)), infer(many, spec(0.85))
    assert apart.mean == pytest.approx(7 / 8)
    assert apart.sd == pytest.approx(8**-0.5)
    assert together.mean < 0.7 * apart.mean
    assert together.sd > 1.6 * apart.sd


def test_what_another_figure_contradicts_is_the_voters_own() -> None:
    told = infer(card(test=-1.0, **dict.fromkeys(VOTES, 1.0)), spec(0.7))
    agreed = infer(card(test=1.0, **dict.fromkeys(VOTES, 1.0)), spec(0.7))
    assert told.mean < agreed.mean
    assert told.aspects["chat"] > agreed.aspects["chat"] > 0
    assert infer(card(), spec(0.7)).aspects["chat"] == 0


def test_a_fitted_ability_stands_in_place_of_the_figures() -> None:
    known = Card("one", "somebody", benchmarks={"test": 3.0}, ability=0.5, ability_sd=0.1, aspects={"chat": -1.0})
    told = infer(known, spec(0.7))
    assert (told.mean, told.sd, told.aspects) == (0.5, 0.1, {"chat": -1.0})
    thoughtless = Card("one", "somebody", reasoning=True, thinking=False, ability=0.5)
    assert infer(thoughtless, spec(0.7)).mean == pytest.approx(0.3)


def test_a_fit_finds_ability_and_aspects_again() -> None:
    rng = np.random.default_rng(3)
    n = 120
    ability, agentic = rng.normal(size=n), rng.normal(size=n)
    fields = {
        **{f: (1.0, 0.0) for f in ("mmlu", "mmlu_pro", "humaneval", "livecodebench", "simpleqa")},
        **{f: (1.0, 0.7) for f in ("aider_polyglot", "terminal_bench", "swe_bench_verified", "tau2_retail")},
    }
    cards = []
    for i in range(n):
        kept = [f for f in fields if rng.random() < 0.7]
        logit = {f: fields[f][0] * ability[i] + fields[f][1] * agentic[i] + 0.3 * rng.normal() for f in kept}
        shares = {f: float(1 / (1 + np.exp(-v))) for f, v in logit.items()}
        told = {"output_price": 10 ** rng.normal(), "size_b": 7.0 + i, "context_window": 2**14, "reasoning": i % 2 == 0}
        cards.append(Card(f"llm-{i}", "x", benchmarks=shares, **told))  # type: ignore[arg-type]
    fitted = fit_abilities(cards, {})
    found = np.array([fitted.ability[c.name][0] for c in cards])
    hands = np.array([fitted.aspects[c.name]["agentic"] for c in cards])
    assert np.corrcoef(found, ability)[0, 1] > 0.9
    assert np.corrcoef(hands, agentic)[0, 1] > 0.7
    # what the table says and what the specification reads in the same figures is the same
    for c in cards[:20]:
        again = infer(c, fitted.spec)
        assert again.mean == pytest.approx(fitted.ability[c.name][0], abs=0.02)
        assert again.aspects["agentic"] == pytest.approx(fitted.aspects[c.name]["agentic"], abs=0.1)


def test_what_nobody_has_measured_is_as_able_as_others_of_its_time() -> None:
    rng = np.random.default_rng(5)
    cards = []
    for i in range(60):
        ability = (i - 30) / 15 + 0.2 * rng.normal()
        share = float(1 / (1 + np.exp(-ability - 0.2 * rng.normal())))
        figures = {f: share for f in ("gpqa", "mmlu", "humaneval")} if i % 6 else {}
        cards.append(Card(f"llm-{i}", "x", output_price=1.0, benchmarks=figures, released=2023.0 + i / 20))
    fitted = fit_abilities(cards, {})
    unmeasured = [fitted.ability[f"llm-{i}"] for i in range(0, 60, 6)]
    assert np.all(np.diff([mean for mean, _ in unmeasured]) > 0)
    assert unmeasured[-1][0] > fitted.ability["llm-31"][0]
    assert [term.field for term in fitted.spec.terms] == ["output_price", "released"]
    newer = infer(Card("met later", "x", output_price=1.0, released=2026.5), fitted.spec)
    older = infer(Card("met later", "x", output_price=1.0, released=2023.5), fitted.spec)
    assert newer.mean > older.mean + 2
    undated = fit_abilities([Card(c.name, "x", output_price=1.0, benchmarks=c.benchmarks) for c in cards], {})
    assert unmeasured[-1][1] < undated.ability["llm-54"][1]


def test_the_maker_tells_when_a_model_came_out_else_the_host_in_the_middle(tmp_path: Path) -> None:
    told = {
        "models/openai/gpt-9.toml": "2030-02-01",
        "providers/somebody/models/openai/gpt-9.toml": "2028-01-01",
        "providers/xai/models/grok-9.toml": "2030-03",
        "providers/somebody/models/grok-9.toml": "2030-05-01",
        "providers/a/models/other-7b.toml": "2020-01-01",
        "providers/b/models/other-7b-instruct.toml": "2029-06-01",
        "providers/c/models/vendor/other-7b.toml": "2029-07-01",
        "providers/c/models/undated.toml": "soon",
    }
    for name, date in told.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'release_date = "{date}"\n')
    dates = read_dates(tmp_path)
    assert [dates[name] for name in ("gpt-9", "grok-9", "other-7b")] == ["2030-02-01", "2030-03", "2029-06-01"]
    assert "undated" not in dates
    assert dates["gpt-5-6-sol"] == "2026-07"  # by hand
    assert date_of(["somebody/other-7b", "gpt-9"], dates) == "2029-06-01"
    assert date_of(["nobody"], dates) is None
    assert years("2026-07-01") == 2026.5
    assert years("2026-07") == pytest.approx(2026.54, abs=0.01)
    assert years(None) is None
    assert card_for({"name": "nobody-knows-9", "released": "2026-07-01"}).released == 2026.5
    assert card_for({"name": "nobody-knows-9"}).released is None
    assert card_for({"name": "claude-3-5-haiku"}).released == years("2024-10-22")
    with pytest.raises(ValueError, match="release_date"):
        read_dates(tmp_path / "models" / "nothing")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-opus-4-8", False),
        ("claude-3-7-sonnet-20250219", False),
        ("claude-opus-4-20250514", False),
        ("claude-sonnet-5", True),
        ("anthropic/claude-opus-5.5", True),
    ],
)
def test_from_claude_5_on_a_claude_thinks_untold(model: str, *, expected: bool) -> None:
    assert thinks(Card(model, "anthropic", reasoning=True)) == expected
    assert thinks(Card(model, "anthropic", reasoning=True, thinking=not expected)) != expected


@pytest.mark.parametrize(
    ("hosted", "plain"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama-3.3-70b"),
        ("llama-3.1-8b-instant", "llama-3.1-8b"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "llama-3.1-8b"),
        ("qwen3-coder-plus", "qwen3-coder-480b"),
        ("together/deepseek-v3.1-turbo", "deepseek-v3.1"),
    ],
)
def test_a_model_is_found_by_what_hosts_call_it(hosted: str, plain: str) -> None:
    assert known_ability(hosted) is not None
    assert known_ability(hosted) == known_ability(plain)


def test_names_alike_are_not_taken_for_one_another() -> None:
    assert known_ability("gpt-5-mini") != known_ability("gpt-5")
    assert known_ability("kimi-k2-0905-preview") != known_ability("kimi-k2-0711-preview")
    assert known_ability("no-such-model-fp8") is None
    assert known_ability("z-ai/glm-5-turbo") is None
    assert known_ability("grok-4-fast") != known_ability("grok-4")
    assert plain_name("") == ""
    assert card_for({"name": "gpt-4-turbo"}).ability != card_for({"name": "gpt-4"}).ability
