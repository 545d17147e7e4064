"""What a rank correlation can reach."""

from __future__ import annotations

import numpy as np
import pytest

from personabench.ceilings import (
    RIDGE,
    best_figure,
    half_against_half,
    like_with_like,
    on_other_folds,
    spearman,
    told_figures,
    told_others,
    told_questions,
    true_order,
)
from router_model.data.cards import abilities, known_ability


def outcomes(queries: int, spread: float) -> np.ndarray:
    return outcomes_of_seed(queries, spread, 1)


def outcomes_of_seed(queries: int, spread: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-spread * np.linspace(-1, 1, 12)))
    return (rng.random((queries, 12)) < chance).astype(np.float32)


def test_few_questions_of_llms_alike_tell_little() -> None:
    here = np.arange(600) < 60
    llms = np.ones(12, dtype=np.bool_)
    many, few = outcomes(600, 2.0), outcomes(600, 0.2)
    assert on_other_folds(many, here, llms) > 0.85
    assert on_other_folds(few, here, llms) < on_other_folds(many, here, llms)
    assert half_against_half(few) < half_against_half(many)
    assert np.isnan(on_other_folds(many, np.ones(600, dtype=np.bool_), llms))


def test_an_llm_that_was_asked_easy_questions_alone_is_no_better_for_it() -> None:
    rng = np.random.default_rng(2)
    easy = np.arange(400) % 2 == 0
    quality = (rng.random((400, 3)) < np.where(easy, 0.9, 0.2)[:, None] + np.array([-0.1, 0.0, 0.1])).astype(np.float32)
    quality[~easy, 0] = np.nan  # the weakest
    assert on_other_folds(quality, np.arange(400) < 200, np.ones(3, dtype=np.bool_)) > 0.9


def test_the_best_single_figure_is_named() -> None:
    models = ["gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "no-such-model"]
    gpqa = [(known_ability(model) or {"figures": {}})["figures"].get("gpqa", {}).get("value") for model in models[:4]]
    real = np.array([*gpqa, 0.9], dtype=np.float32)
    name, rho = best_figure(models, real)
    assert rho == pytest.approx(1.0)
    assert name != "none"
    assert best_figure(["no-such-model"] * 3, real[:3])[0] == "none"
    assert np.isnan(spearman(real[:2], real[:2]))


def test_the_true_order_reaches_less_where_questions_are_few_or_llms_alike() -> None:
    many, few, alike = outcomes(3000, 2.0), outcomes(40, 2.0), outcomes(3000, 0.05)
    assert true_order(many) > 0.95
    assert true_order(few) < true_order(many)
    assert true_order(alike) < true_order(many)
    truth = np.linspace(-1, 1, 12).astype(np.float32)
    found = [spearman(truth, q.mean(0)) for q in (outcomes_of_seed(60, 0.7, seed) for seed in range(40))]
    told = [true_order(outcomes_of_seed(60, 0.7, seed)) for seed in range(0, 40, 8)]
    assert np.mean(told) == pytest.approx(np.mean(found), abs=0.1)
    assert np.isnan(true_order(many[:, :2]))


def test_questions_that_some_were_not_asked_do_not_hide_the_true_order() -> None:
    quality = outcomes(1500, 2.0)
    quality[np.random.default_rng(3).random(quality.shape) < 0.5] = np.nan
    assert true_order(quality) > 0.9


def test_llms_run_in_another_way_are_not_compared() -> None:
    x = np.array([1, 2, 3, 1.5, 2.5, 3.5], dtype=np.float32)
    y = np.array([4, 5, 6, 1, 2, 3], dtype=np.float32)
    assert spearman(x, y) < 0.5
    assert like_with_like(x, y, ["all"] * 3 + ["paper"] * 3) == pytest.approx(1.0)
    assert np.isnan(like_with_like(x[:2], y[:2], ["all", "paper"]))


def test_figures_tell_of_an_llm_what_they_told_of_the_others_and_no_more() -> None:
    rng = np.random.default_rng(4)
    figures = rng.normal(size=(30, 5)).astype(np.float32)
    figures[:, 4] = 1.0
    real = 0.5 + 0.1 * figures[:, 0] + 0.01 * rng.normal(size=30).astype(np.float32)
    assert told_others(figures, real) > 0.95
    assert told_others(figures, rng.permutation(real)) < 0.4

    def alone(i: int) -> float:
        """Of the i-th LLM by a regression that never saw it, with the same mean and scale of figures."""
        kept = np.arange(30) != i
        x = figures[:, :4].astype(float)
        x = np.c_[np.ones(30), (x - x.mean(0)) / x.std(0)]
        ridge = np.diag([0.0, *[RIDGE] * 4])
        weights = np.linalg.solve(x[kept].T @ x[kept] + ridge, x[kept].T @ real[kept])
        return float(x[i] @ weights)

    by_hand = np.array([alone(i) for i in range(30)], dtype=np.float32)
    assert told_others(figures, real) == pytest.approx(spearman(by_hand, real))


def test_public_figures_tell_of_an_llm_beside_its_card() -> None:
    known = {name: entry for name, entry in abilities().items() if {"gpqa", "mmlu_pro"} <= set(entry["figures"])}
    models = list(known)[:24]
    assert len(models) > 12
    real = np.array([known[name]["figures"]["gpqa"]["value"] for name in models], dtype=np.float32)
    cards = np.zeros((len(models), 2), dtype=np.float32)
    assert told_figures(cards, models, real) > 0.8
    assert np.isnan(told_figures(cards, [f"no-such-model-{i}" for i in range(len(models))], real))


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_texts_tell_what_they_hold_of_what_an_llm_solves_and_no_more(missing: float) -> None:
    rng = np.random.default_rng(6)
    texts = rng.normal(size=(300, 4)).astype(np.float32)
    quality = (texts[:, :1] + 0.3 * rng.normal(size=(300, 5)) > 0).astype(np.float32)
    quality[rng.random(quality.shape) < missing] = np.nan
    assert told_questions(texts, quality) > 0.9
    assert told_questions(texts, rng.permutation(quality)) < 0.65
    assert np.isnan(told_questions(texts, np.ones_like(quality)))
