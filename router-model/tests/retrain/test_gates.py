from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from router_model.retrain import gates
from router_model.retrain.gates import GATES, GateResult, Limits, advice, golden, value
from router_model.retrain.judgement import Calibration, Judgement, Read
from router_model.retrain.ope import Estimate, PropensityCheck
from router_model.retrain.plausible import Extremes
from router_model.retrain.refit import KindReading
from router_model.retrain.report import Summary, metrics, render, write_report, write_run

LIMITS = Limits()


def calibration(error: float) -> Calibration:
    bins = np.linspace(-0.5, 0.8, 5)
    return Calibration(error, 0.88, bins, bins + error)


@pytest.fixture
def good() -> Judgement:
    e = Estimate(0.3, 0.25, 0.35, 2000, 100)
    gain = Estimate(0.02, 0.005, 0.035, 2000, 100)
    policies = ("current", "new", "cold", "best_single")
    return Judgement(
        propensities=PropensityCheck(0.5, 0.6, 0.7, 1.01, 900.0, np.array([0.5, -1.2])),
        logged=e,
        values={policy: {"dr": e, "snips": e, "ips": e} for policy in policies},
        gain=gain,
        cold_gain=gain,
        best_single="big",
        tenants={"acme": gain, "bell": replace(gain, rows=500)},
        calibration_current=calibration(0.05),
        calibration_new=calibration(0.04),
        effective=900.0,
        unsupported=0.01,
        latency_ms=0.06,
        extremes=Extremes(0.9, 0.5),
    )


def run(judgement: Judgement) -> dict[str, GateResult]:
    return {gate.__name__: gate(judgement, LIMITS) for gate in GATES}


def test_a_refusal_says_where_more_rewards_can_be_had(good: Judgement) -> None:
    refused = [value(replace(good, gain=Estimate(0.02, -0.03, 0.07, 10, 5)), LIMITS)]
    assert "wait for more; or look" in advice(refused, 1_000)
    # Of a longer log no more would be read.
    assert ": read more than 9% of the users (--most-rows); or" in advice(refused, 1_000, 0.09)
    judge_or_read = ": judge by more of them (--judged-rows), or read more than 9% of the users (--most-rows); or"
    assert judge_or_read in advice(refused, 1_000, 0.09, 0.3)
    assert "judge by more of them (--judged-rows); or" in advice(refused, 1_000, 1.0, 0.3)


@pytest.mark.parametrize(
    ("rows", "there", "share", "says"),
    [
        (20_000, 60_000, 0.1, "; --judged-rows 56000 of the 60000 that there are would do, if"),
        (20_000, 40_000, 0.1, "; --most-rows 1400000 and --judged-rows 56000 would do, if"),
        (20_000, 20_000, 0.1, "; --most-rows 2777778 and --judged-rows 56000 would do, if"),
        (10, 10, 0.1, "; --most-rows 2777778 would do, if"),
        (
            20_000,
            40_000,
            0.8,
            "; a log 1.1 times as long, and --most-rows 1400000 and --judged-rows 56000, would do, if",
        ),
        (10, 10, 0.9, "; a log 2.5 times as long, and --most-rows 2777778, would do, if"),
        (20_000, 20_000, 1.0, "; a log 2.8 times as long, and --judged-rows 56000, would do, if"),
    ],
)
def test_of_a_sampled_log_more_users_are_asked_for_first(
    good: Judgement, rows: int, there: int, share: float, says: str
) -> None:
    read = Read(share, 1_000_000, 50_000)
    changed = replace(good, gain=Estimate(0.02, -0.03, 0.07, rows, 5), there=there, read=read)
    assert says in value(changed, LIMITS).says


def test_a_good_one_passes(good: Judgement) -> None:
    assert all(result.passed and result.short == 0 for result in run(good).values())


@pytest.mark.parametrize(
    ("gate", "change", "short", "says"),
    [
        ("propensities", {"propensities": PropensityCheck(1e-9, 0.5, 0.5, 1.0, 9.0, np.array([5.0]))}, 1e-4, "+5.0 sd"),
        ("evidence", {"effective": 150.0}, 50, "150 effective rewards"),
        ("evidence", {"effective": 150.0}, 50, "; a log 1.3 times as long would do"),
        ("value", {"gain": Estimate(0.02, -0.03, 0.07, 10, 5)}, 0.02, "95 % from -0.0300"),
        (
            "value",
            {"gain": Estimate(0.02, -0.03, 0.07, 10, 5)},
            0.02,
            "a log 2.8 times as long would do, if",
        ),
        (
            "value",
            {"gain": Estimate(0.02, -0.03, 0.07, 20_000, 5), "there": 60_000},
            0.02,
            "; --judged-rows 56000 of the 60000 that there are would do, if",
        ),
        (
            "value",
            {"gain": Estimate(0.02, -0.03, 0.07, 20_000, 5), "there": 40_000},
            0.02,
            "; a log 1.4 times as long, and --judged-rows 56000, would do, if",
        ),
        ("cold_start", {"cold_gain": Estimate(-0.05, -0.2, 0.1, 10, 5)}, 0.03, "always big: -0.0500"),
        ("cold_start", {"cold_gain": Estimate(-0.015, -0.02, -0.01, 10, 5)}, 0.01, "always big: -0.0150"),
        ("calibration", {"calibration_new": calibration(0.17)}, 0.07, "off by 0.170"),
        ("latency", {"latency_ms": 1.5}, 0.5, "1.500 ms"),
    ],
)
def test_a_refusal_says_which_gate_and_by_how_much(
    good: Judgement, gate: str, change: dict[str, object], short: float, says: str
) -> None:
    results = run(replace(good, **change))  # type: ignore[arg-type]
    assert [name for name, result in results.items() if not result.passed] == [gate]
    assert results[gate].short == pytest.approx(short, rel=1e-3)
    assert says in str(results[gate])
    assert "REFUSED" in str(results[gate])


def test_no_log_is_long_enough_for_what_is_worse(good: Judgement) -> None:
    worse = gates.value(replace(good, gain=Estimate(-0.02, -0.05, 0.01, 1000, 50)), LIMITS)
    assert not worse.passed
    assert "would do" not in worse.says
    assert "would do" not in run(good)["value"].says + run(good)["evidence"].says


def test_the_tenant_that_loses_most_counts(good: Judgement) -> None:
    gain = good.gain
    losing = {"acme": gain, "bell": Estimate(-0.05, -0.08, -0.02, 500, 20), "cole": Estimate(-0.9, -1, 1, 5, 2)}
    result = gates.tenants(replace(good, tenants=losing), LIMITS)
    assert result.short == pytest.approx(0.03)
    assert "bell changes by -0.0500" in result.says, "cole has too few rewards to tell"
    few = gates.tenants(replace(good, tenants={"cole": losing["cole"]}), LIMITS)
    assert few.passed
    assert "in the whole only" in few.says


def test_nan_never_passes(good: Judgement) -> None:
    nan = Estimate(np.nan, np.nan, np.nan, 10, 5)
    changed = replace(
        good,
        gain=nan,
        cold_gain=nan,
        tenants={"acme": replace(nan, rows=500)},
        calibration_new=calibration(np.nan),
        effective=np.nan,
    )
    failed = {name for name, result in run(changed).items() if not result.passed}
    assert failed == {"evidence", "value", "cold_start", "tenants", "calibration"}


def test_as_good_as_the_current_calibration_will_do(good: Judgement) -> None:
    changed = replace(good, calibration_current=calibration(0.2), calibration_new=calibration(0.19))
    assert gates.calibration(changed, LIMITS).passed


def test_a_waived_gate_is_measured_all_the_same() -> None:
    refused = GateResult("value", -1.0, 0.0, 1.0, "bad")
    assert not refused.passed
    waived = replace(refused, waived=True)
    assert waived.passed
    assert str(waived) == "value: WAIVED: bad, short by 1"


def test_no_artifact_is_no_golden_artifact(tmp_path: Path) -> None:
    result = golden(tmp_path)
    assert not result.passed
    assert "manifest.json" in result.says


def test_the_report_says_it_all(good: Judgement, tmp_path: Path) -> None:
    old = KindReading("rating", 0, True, 0.03, 0.03)
    results = [*run(replace(good, effective=150.0)).values()]
    summary = Summary(
        version="2026.11.25-1",
        current="2026.11.24-1",
        at=datetime(2026, 11, 25, 12, 30, tzinfo=UTC),
        source="log.jsonl",
        tenants=["acme", "bell"],
        interactions=5000,
        rewards=4000,
        users=200,
        held_out=40,
        left_out={"interactions logged twice": 3},
        readings=([old], [replace(old, rewards=3000, strength=0.05)]),
        quality_calibration=(0.9, 0.1, 120),
        prior_users=160,
        narrowed=0.8,
        judgement=good,
        gates=results,
        limits=LIMITS,
        seconds={"read": 1.0, "fit": 2.0},
        peak_mb=800.0,
        published=None,
    )
    text = render(summary)
    assert "# Retraining 2026.11.25-1: **refused**" in text
    assert "| evidence | **refused**, short by 50 | 150 | 200 |" in text
    assert "best single LLM (big)" in text
    assert "| rating | 3,000 | variance | 0.030 | 0.050 |" in text
    assert "- 3 interactions logged twice" in text
    assert "fitted to 160 users, and narrowed, so that what people expect of an answer spreads by at most 0.8." in text
    assert "fitted to 160 users. Quality" in render(replace(summary, narrowed=None))
    assert write_report(tmp_path, summary).read_text(encoding="utf-8") == text
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    published = replace(summary, gates=[], published=tmp_path)
    # What the gateway's console reads: refused ones, too, each by itself.
    paths = [write_run(tmp_path, summary), write_run(tmp_path, summary)]
    assert [path.name for path in paths] == ["2026.11.25-1.json", "2026.11.25-1-try-2.json"]
    run_of = json.loads(paths[0].read_text(encoding="utf-8"))
    assert (run_of["published"], run_of["accepted"], run_of["at"]) == (False, False, "2026-11-25T12:30:00Z")
    found = {gate["name"]: gate for gate in run_of["gates"]}
    assert (found["evidence"]["figure"], found["evidence"]["limit"], found["evidence"]["short"]) == (150, 200, 50)
    nothing = replace(summary, gates=[GateResult("value", math.nan, 0.0, math.inf, "no rewards")])
    again = json.loads(write_run(tmp_path, nothing).read_text(encoding="utf-8"))
    assert (again["gates"][0]["figure"], again["gates"][0]["short"]) == (None, None)
    assert f"published as `{tmp_path}`" in render(published)
    assert metrics(good)["effective_rewards"] == 900.0
