"""Gates that an artifact must pass before it is published; docs/learning.md gives the reason for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from router_model.export.artifact import Artifact, ArtifactError
from router_model.retrain.judgement import Judgement


@dataclass(frozen=True)
class Limits:
    """How much each gate lets pass. Rewards lie between -1 and 1."""

    value_margin: float = 0.01
    """The new policy's value may be so much below the current one's, at the lower end of the interval."""
    cold_margin: float = 0.02
    """The same for new users, against the best single LLM."""
    tenant_loss: float = 0.02
    """No tenant may be estimated to lose more than this."""
    calibration_error: float = 0.1
    """Mean absolute difference of predicted and given rewards; more only where the current artifact is no better."""
    latency_ms: float = 1.0
    """Median of score.onnx for one request: it runs on the gateway's event loop."""
    propensity_p: float = 1e-4
    """Logged propensities less plausible than this are not believed."""
    effective: float = 200.0
    """Effective number of rewards behind the new policy's value."""
    largest_mean: float = 2.0
    """No expected reward may be further from zero: rewards are not, and a utility is little more."""
    largest_std: float = 2.0
    """No deviation of one may be larger."""
    tenant_rows: int = 100
    """Tenants with fewer rewards are judged in the whole only."""


@dataclass(frozen=True)
class GateResult:
    """`figure` and `limit` are what was compared; `short` is by how much it fell short, 0 when passed."""

    name: str
    figure: float
    limit: float
    short: float
    says: str
    waived: bool = False

    @property
    def passed(self) -> bool:
        """Whether the artifact may be published as far as this gate goes."""
        return self.short <= 0 or self.waived

    def __str__(self) -> str:
        """One line for people."""
        outcome = "passed" if self.short <= 0 else "WAIVED" if self.waived else "REFUSED"
        missing = "" if self.short <= 0 else f", short by {self.short:.3g}"
        return f"{self.name}: {outcome}: {self.says}{missing}"


def _at_least(name: str, figure: float, limit: float, says: str) -> GateResult:
    short = limit - figure
    return GateResult(name, figure, limit, short if not short <= 0 else 0.0, says)


def _at_most(name: str, figure: float, limit: float, says: str) -> GateResult:
    short = figure - limit
    return GateResult(name, figure, limit, short if not short <= 0 else 0.0, says)


def golden(folder: Path) -> GateResult:
    """Files, hashes, sizes, and ONNX Runtime's outputs against the golden ones."""
    try:
        Artifact(folder)
    except ArtifactError as error:
        return GateResult("golden", 1.0, 0.0, 1.0, str(error))
    return GateResult("golden", 0.0, 0.0, 0.0, "every file has its hash, every graph gives its golden outputs")


def longer(times: float, j: Judgement) -> str:
    """How many more rewards would do: of those that were read and not judged, of those of the log that were not read,
    or of a longer log. Nothing where there are enough.
    """
    if not 1 < times < 1e6:
        return ""
    wanted = math.ceil(times * j.gain.rows / 1000) * 1000
    if wanted <= j.there:
        return f"; --judged-rows {wanted} of the {j.there} that there are would do"
    all_judged = j.gain.rows >= j.there
    more = times if all_judged else wanted / j.there
    log = more * j.read.share  # as many times the log that there is
    flags = [f"--most-rows {math.ceil(more * j.read.most_rows)}"] if j.read.share < 1 else []
    if not all_judged or wanted > j.read.judged_rows > 0:
        flags.append(f"--judged-rows {wanted}")
    if log <= 1:
        return f"; {' and '.join(flags)} would do"
    also = f", and {' and '.join(flags)}," if flags else ""
    return f"; a log {log:.1f} times as long{also} would do"


def propensities(j: Judgement, limits: Limits) -> GateResult:
    """Without true propensities no value below means anything."""
    p = j.propensities.p_value
    worst = max(j.propensities.excess, key=abs)
    says = f"logged propensities: p = {p:.2g} (at least {limits.propensity_p:g}), largest deviation {worst:+.1f} sd"
    return _at_least("propensities", p, limits.propensity_p, says)


def evidence(j: Judgement, limits: Limits) -> GateResult:
    """Enough exploration to tell."""
    unseen = f"{j.unsupported:.1%} of choices were never explored"
    enough = longer(limits.effective / max(j.effective, 1e-9), j)
    says = f"{j.effective:.0f} effective rewards (at least {limits.effective:.0f}); {unseen}{enough}"
    return _at_least("evidence", j.effective, limits.effective, says)


def value(j: Judgement, limits: Limits) -> GateResult:
    """The policy's value against the current one's."""
    g = j.gain
    says = f"value of new minus current {g.value:+.4f}, 95 % from {g.low:+.4f} (at least {-limits.value_margin:+.4f})"
    room = g.value + limits.value_margin
    # Half the interval's width shrinks with the root of the number of users.
    says += longer(((g.value - g.low) / room) ** 2, j) + ", if the estimate holds" if 0 < room < g.value - g.low else ""
    return _at_least("value", g.low, -limits.value_margin, says)


def cold_start(j: Judgement, limits: Limits) -> GateResult:
    """New users against the best single LLM: not surely worse, nor estimated worse by more than the margin."""
    g = j.cold_gain
    figure = min(g.value, g.high - limits.cold_margin)
    range_ = f"{g.value:+.4f} [{g.low:+.4f}, {g.high:+.4f}]"
    says = f"cold start minus always {j.best_single}: {range_} (at least {-limits.cold_margin:+.4f})"
    return _at_least("cold_start", figure, -limits.cold_margin, says)


def tenants(j: Judgement, limits: Limits) -> GateResult:
    """The tenant that loses most."""
    large = {name: e for name, e in j.tenants.items() if e.rows >= limits.tenant_rows}
    if not large:
        says = f"no tenant has {limits.tenant_rows} judged rewards; judged in the whole only"
        return GateResult("tenants", 0.0, -limits.tenant_loss, 0.0, says)
    name, worst = min(large.items(), key=lambda item: item[1].value)
    says = f"{name} changes by {worst.value:+.4f} (no tenant below {-limits.tenant_loss:+.4f})"
    return _at_least("tenants", worst.value, -limits.tenant_loss, says)


def calibration(j: Judgement, limits: Limits) -> GateResult:
    """Predicted against given rewards."""
    limit = max(limits.calibration_error, j.calibration_current.error)
    error = j.calibration_new.error
    says = f"predicted rewards are off by {error:.3f} (at most {limit:.3f})"
    return _at_most("calibration", error, limit, says)


def latency(j: Judgement, limits: Limits) -> GateResult:
    """One request on one core."""
    says = f"scoring one request takes {j.latency_ms:.3f} ms (at most {limits.latency_ms:g})"
    return _at_most("latency", j.latency_ms, limits.latency_ms, says)


def possible(j: Judgement, limits: Limits) -> GateResult:
    """Predictions that can be, on the log's questions and on made-up ones."""
    e = j.extremes
    figure = max(e.mean / limits.largest_mean, e.std / limits.largest_std)
    says = (
        f"expected rewards up to {e.mean:.3g} ({e.mean_of}; at most {limits.largest_mean:g}), "
        f"deviations up to {e.std:.3g} ({e.std_of}; at most {limits.largest_std:g})"
    )
    return _at_most("possible", figure, 1.0, says)


GATES: tuple[Callable[[Judgement, Limits], GateResult], ...] = (
    propensities,
    evidence,
    value,
    cold_start,
    tenants,
    calibration,
    latency,
    possible,
)
NAMES = ("golden", *(gate.__name__ for gate in GATES))
FIRM = {
    "golden": "golden: not to be waived. The files are not what was just written: a full disk, or an ONNX Runtime that "
    "computes otherwise.",
    "possible": "possible: not to be waived. Of the LLM that is named there, users are predicted to think what no "
    "reward can say. Look at its price (dollars for a million tokens; --config gives the configuration's), at how it "
    "was rated (--tenant leaves other tenants out), and retrain from a longer log.",
}
"""Gates that can't be waived, since without them nothing that serves makes sense, and what to do where they refuse."""
WAIVABLE = tuple(name for name in NAMES if name not in FIRM)


def advice(results: Sequence[GateResult], rewards: int, share: float = 1.0, judged: float = 1.0) -> str:
    """What an operator may do about a refusal; nothing where every gate passed. `share`: of the users that were read;
    `judged`: of the rewards of held-out users.
    """
    failed = [result.name for result in results if not result.passed]
    firm = [FIRM[name] for name in failed if name in FIRM]
    if firm:
        return "\n".join(firm)
    lines = []
    if "propensities" in failed:
        lines.append("propensities: the log does not say truly how its answers were chosen; another log is needed.")
    few = [name for name in failed if name in ("evidence", "value", "cold_start", "calibration")]
    if few:
        ways = ["judge by more of them (--judged-rows)"] if judged < 1 else []
        if share < 1:  # of a longer log no more would be read
            ways.append(f"read more than {share:.0%} of the users (--most-rows)")
        more = ", or ".join(ways or ["wait for more"])
        lines.append(
            f"{rewards:,} rewards are too few to tell, or it got worse: {more}; or look at the report, and then "
            f"let it pass: {' '.join(f'--waive {name}' for name in few)}"
            + (" (or a wider --value-margin)" if "value" in few else "")
            + ". A canary shows what it is worth (docs/learning.md)."
        )
    if "tenants" in failed:
        lines.append("tenants: retrain that tenant alone (--tenant), or set --tenant-loss.")
    if "latency" in failed:
        lines.append("latency: this machine was busy, or the model is too large for one request a millisecond.")
    return "\n".join(lines)


def pass_gates(folder: Path, judgement: Judgement, limits: Limits, waived: Sequence[str] = ()) -> list[GateResult]:
    """All gates, in order; `waived` ones are measured and let pass."""
    results = [golden(folder), *(gate(judgement, limits) for gate in GATES)]
    return [replace(result, waived=result.name in waived and result.name in WAIVABLE) for result in results]
