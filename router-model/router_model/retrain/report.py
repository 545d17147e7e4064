"""The report of a retraining: markdown for people, metrics for machines, a picture of both."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from router_model.retrain.gates import GateResult, Limits
from router_model.retrain.judgement import Judgement
from router_model.retrain.ope import Estimate
from router_model.retrain.refit import KindReading

POLICIES = {
    "current": "current artifact",
    "new": "new artifact",
    "cold": "new artifact, users unknown",
    "best_single": "best single LLM",
}
ESTIMATORS = {"dr": "doubly robust", "snips": "self-normalised", "ips": "inverse propensity"}


@dataclass(frozen=True)
class Summary:
    """Contents of a report."""

    version: str
    current: str
    at: datetime
    source: str
    tenants: Sequence[str]
    interactions: int
    rewards: int
    users: int
    held_out: int
    left_out: Mapping[str, int]
    readings: tuple[list[KindReading], list[KindReading]]
    quality_calibration: tuple[float, float, int]
    prior_users: int
    narrowed: float | None
    """What the prior over tastes was narrowed to; None where it was not."""
    judgement: Judgement
    gates: Sequence[GateResult]
    limits: Limits
    seconds: Mapping[str, float]
    peak_mb: float
    published: Path | None
    share_of_users: float = 1.0
    """Whose rows were read: below 1, of a log that is larger than `most_rows`."""
    report: Path | None = None
    """`report.md`, once it is written."""

    @property
    def accepted(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)


def metrics(judgement: Judgement) -> dict[str, object]:
    """For the artifact's metrics.json."""
    return {
        "off_policy": {
            policy: {name: e.as_dict() for name, e in found.items()} for policy, found in judgement.values.items()
        },
        "logged": judgement.logged.as_dict(),
        "gain": judgement.gain.as_dict(),
        "cold_gain": judgement.cold_gain.as_dict(),
        "calibration_error": judgement.calibration_new.error,
        "coverage_90": judgement.calibration_new.coverage,
        "effective_rewards": judgement.effective,
        "propensity_p": judgement.propensities.p_value,
        "score_ms": judgement.latency_ms,
        "largest_mean": judgement.extremes.mean,
        "largest_std": judgement.extremes.std,
    }


RUNS = "runs"  # beside the artifacts that retraining makes: there the gateway's console finds what came of it


def run_record(s: Summary) -> dict[str, object]:
    """What came of a retraining, for the gateway: gates and gain, published or refused."""
    gain = s.judgement.gain
    return {
        "version": s.version,
        "current": s.current,
        "at": s.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tenants": list(s.tenants),
        "accepted": s.accepted,
        "published": s.published is not None,
        "rewards": s.rewards,
        "users": s.users,
        "gain": {"value": gain.value, "low": gain.low, "high": gain.high},
        "gates": [
            {
                "name": gate.name,
                "figure": _number(gate.figure),
                "limit": _number(gate.limit),
                "short": _number(gate.short),
                "waived": gate.waived,
                "says": gate.says,
            }
            for gate in s.gates
        ],
    }


def _number(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if math.isfinite(value) else None


def write_run(out: Path, summary: Summary) -> Path:
    """Writes `run_record` to `out/runs`; a refused version leaves its number to the next: both are kept."""
    folder = out / RUNS
    folder.mkdir(parents=True, exist_ok=True)
    tries = 1
    while (path := folder / f"{summary.version}{'' if tries == 1 else f'-try-{tries}'}.json").exists():
        tries += 1
    path.write_text(json.dumps(run_record(summary), indent=2) + "\n", encoding="utf-8")
    return path


def write_report(folder: Path, summary: Summary) -> Path:
    """Writes `report.md` and `report.png` into `folder`; returns the former."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / "report.png", summary)
    path = folder / "report.md"
    path.write_text(render(summary), encoding="utf-8")
    return path


def _sampled(s: Summary) -> list[str]:
    if s.share_of_users == 1:
        return []
    told = (
        f"The log has more: {s.share_of_users:.1%} of its users were read, drawn by a hash, each with all of their rows"
    )
    return [f"{told} (`--most-rows`).", ""]


def _narrowed(deviation: float | None) -> str:
    if deviation is None:
        return ""
    return f", and narrowed, so that what people expect of an answer spreads by at most {deviation:g}"


def render(s: Summary) -> str:
    """The report as markdown."""
    j = s.judgement
    verdict = (
        f"published as `{s.published}`" if s.published else "accepted, not published" if s.accepted else "**refused**"
    )
    lines = [
        f"# Retraining {s.version}: {verdict}",
        "",
        f"From `{s.source}`, tenants {', '.join(s.tenants)}: {s.interactions:,} interactions, {s.rewards:,} rewards, "
        f"{s.users:,} users, {s.held_out:,} of them held out to judge by. Against artifact `{s.current}`.",
        "",
        *_sampled(s),
        "![values and calibration](report.png)",
        "",
        "## Gates",
        "",
        "| gate | | figure | limit | |",
        "|---|---|---|---|---|",
    ]
    for gate in s.gates:
        mark = "passed" if gate.short <= 0 else "waived" if gate.waived else f"**refused**, short by {gate.short:.3g}"
        lines.append(f"| {gate.name} | {mark} | {gate.figure:.4g} | {gate.limit:.4g} | {gate.says} |")
    lines += [
        "",
        "## Value",
        "",
        "Mean reward of a rated answer, from -1 to 1, with 95 % intervals over users. "
        f"As logged: {_shown(j.logged)} ({j.logged.rows:,} rewards of {j.logged.users:,} users).",
        "",
        f"| policy | {' | '.join(ESTIMATORS.values())} |",
        f"|---|{'---|' * len(ESTIMATORS)}",
    ]
    for policy, title in POLICIES.items():
        cells = [_shown(j.values[policy][name]) if name in j.values[policy] else "-" for name in ESTIMATORS]
        lines.append(f"| {title}{f' ({j.best_single})' if policy == 'best_single' else ''} | {' | '.join(cells)} |")
    lines += [
        "",
        f"New minus current, paired: {_shown(j.gain)}. Cold start minus best single: {_shown(j.cold_gain)}.",
        "",
    ]
    lines += ["| tenant | new minus current | rewards |", "|---|---|---|"]
    lines += [f"| {name} | {_shown(e)} | {e.rows:,} |" for name, e in j.tenants.items()]
    lines += [
        "",
        "## What was learned",
        "",
        "How rewards are read: a dense kind as utility plus noise of a variance, another as a yes with a gain.",
        "",
        "| kind | rewards | | before | after |",
        "|---|---|---|---|---|",
    ]
    for old, new in zip(*s.readings, strict=True):
        if new.rewards:
            what = "variance" if new.dense else "gain"
            lines.append(f"| {new.kind} | {new.rewards:,} | {what} | {old.strength:.3f} | {new.strength:.3f} |")
    slope, shift, judged = s.quality_calibration
    lines += [
        "",
        f"Prior over tastes: fitted to {s.prior_users:,} users{_narrowed(s.narrowed)}. "
        f"Quality: logit x {slope:.3f} {shift:+.3f}, from {judged:,} judged answers.",
        "",
        f"Propensities: p = {j.propensities.p_value:.2g}; mean weight {j.propensities.mean_weight:.3f} (1 = true). "
        "Calibration: off by "
        f"{j.calibration_current.error:.3f} → {j.calibration_new.error:.3f}, 90 % intervals hold "
        f"{_percent(j.calibration_current.coverage)} → {_percent(j.calibration_new.coverage)}.",
        "",
        "## Cost",
        "",
        f"{', '.join(f'{name} {seconds:.1f} s' for name, seconds in s.seconds.items())}; at most {s.peak_mb:,.0f} MB.",
    ]
    if s.left_out:
        lines += ["", "Left out:", "", *(f"- {count:,} {why}" for why, count in sorted(s.left_out.items()))]
    return "\n".join(lines) + "\n"


def draw(path: Path, s: Summary) -> None:
    """Left: values with intervals. Right: predicted against given rewards."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    j = s.judgement
    colours = dict(zip(ESTIMATORS, ("#1b6ca8", "#8fb8d8", "#c9c9c9"), strict=True))
    for row, policy in enumerate(POLICIES):
        for shift, name in enumerate(ESTIMATORS):
            if name in j.values[policy]:
                e = j.values[policy][name]
                y = -row + 0.22 - 0.22 * shift
                left.plot([e.low, e.high], [y, y], color=colours[name], linewidth=3, solid_capstyle="round")
                left.plot([e.value], [y], "o", color=colours[name], label=ESTIMATORS[name] if row == 0 else None)
    left.axvline(j.logged.value, color="#d08770", linestyle="--", linewidth=1, label="as logged")
    left.set_yticks([-row for row in range(len(POLICIES))], list(POLICIES.values()))
    left.set_xlabel("mean reward, 95 % interval over users")
    left.set_title("Value of each policy")
    left.legend(loc="best", fontsize=8)
    ends = (-1.0, 1.0)
    right.plot(ends, ends, color="#c9c9c9", linewidth=1)
    for title, found, colour in (("current", j.calibration_current, "#8fb8d8"), ("new", j.calibration_new, "#1b6ca8")):
        right.plot(found.predicted, found.given, "o-", color=colour, label=f"{title}: off by {found.error:.3f}")
    seen = [*j.calibration_new.given, *j.calibration_new.predicted, *j.calibration_current.given]
    right.set_xlim(min(seen) - 0.05, max(seen) + 0.05)
    right.set_ylim(min(seen) - 0.05, max(seen) + 0.05)
    right.set_xlabel("predicted reward")
    right.set_ylabel("given reward")
    right.set_title("Calibration on held-out users")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _shown(e: Estimate) -> str:
    return f"{e.value:+.4f} [{e.low:+.4f}, {e.high:+.4f}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
