"""What a rank correlation over LLMs can reach at all: with the truth itself, measured on other questions, with one
public figure alone, with all of them and the truth of other LLMs; and what a text can tell of who will solve it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from personabench.predictors import ridge
from router_model.data.cards import known_ability

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
HALVES = 100  # ways of dealing the queries into two
DRAWS = 300  # of a bootstrap over queries
LEAST_SHARE = 0.5  # of the LLMs that a figure must be known of
TRUTHS = 400  # ways that the true means may lie
LEAST_VARIANCE = 1e-6
LEAST_SPREAD = 1e-6
RIDGE = 3.0  # on figures of deviation 1
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0)
REACHES = (0.5, 1.0, 2.0)  # of a Gaussian process, in usual distances between LLMs
PARTS = 10  # of the questions, each predicted by all others


def spearman(x: Floats, y: Floats) -> float:
    """Rank correlation; NaN for fewer than three or without any spread."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def half_against_half(quality: Floats, seed: int = 0) -> float:
    """Mean rank correlation over LLMs of real means on one half of the queries and on the other: quality [Q, M], NaN
    where an LLM was not asked. Of a sparse set relative to those who answered the same queries.
    """
    rng = np.random.default_rng(seed)
    asked = np.isfinite(quality)
    left = quality if asked.all() else quality - np.nanmean(quality, 1, keepdims=True)
    found = []
    for _ in range(HALVES):
        first = rng.permutation(len(left)) < len(left) // 2
        both = asked[first].any(0) & asked[~first].any(0)
        means = [np.nanmean(left[half][:, both], 0) for half in (first, ~first)]
        found.append(spearman(*means))
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def true_order(quality: Floats, seed: int = 0) -> float:
    """Mean rank correlation of the LLMs' true means with those measured on these questions: what a prediction would
    reach that knew the truth. quality [Q, M], as for `half_against_half`.

    The noise of the measured means is a bootstrap over questions; how far true means lie apart is what is left of
    their variance; truths are drawn from the Gaussian posterior of both (empirical Bayes).
    """
    rng = np.random.default_rng(seed)
    relative = quality if np.isfinite(quality).all() else quality - np.nanmean(quality, 1, keepdims=True)
    left: Doubles = relative[:, np.isfinite(relative).sum(0) > 1].astype(np.float64)
    if left.shape[1] < 3:
        return float("nan")
    with np.errstate(invalid="ignore"):
        drawn = np.array([_means(left[rng.integers(0, len(left), len(left))]) for _ in range(DRAWS)])
    drawn = drawn[np.isfinite(drawn).all(1)]
    if len(drawn) < DRAWS // 4:
        return float("nan")
    measured = _means(left)
    many = np.eye(len(measured))
    noise = np.cov((drawn - drawn.mean(1, keepdims=True)).T) + LEAST_VARIANCE * many
    apart = max(float(measured.var() - np.diag(noise).mean()), LEAST_VARIANCE)
    covariance = np.linalg.inv(np.linalg.inv(noise) + many / apart)
    mean = measured.mean() + covariance @ np.linalg.solve(noise, measured - measured.mean())
    truths = rng.multivariate_normal(mean, covariance, TRUTHS)
    return float(np.nanmean([spearman(truth, measured.astype(np.float32)) for truth in truths.astype(np.float32)]))


def told_others(figures: Floats, real: Floats) -> float:
    """What cards' figures [M, F] tell of the order to who learns their weights on this very set: of each LLM's mean as
    a ridge regression on all others' predicts it. With few LLMs an underestimate: the mean of the others is lowest
    where the one left out is best.
    """
    apart = figures[:, figures.std(0) > LEAST_SPREAD].astype(np.float64)
    apart = (apart - apart.mean(0)) / apart.std(0)
    n, centred = len(apart), real - real.mean(dtype=np.float64)
    hat = apart @ np.linalg.solve(apart.T @ apart + RIDGE * np.eye(apart.shape[1]), apart.T) + 1 / n
    # What a regression without the i-th row misses of it.
    missed = (centred - hat @ centred) / (1 - np.diag(hat))
    return spearman((real - missed).astype(np.float32), real)


def told_figures(cards: Floats, models: Sequence[str], real: Floats) -> float:
    """As `told_others` from all public figures that may be passed on (`config/abilities.json`) beside those of cards
    [M, F]: the best of ridge regressions and Gaussian processes of several strengths, each leaving the LLM out that it
    predicts. Which is best is chosen with the truth at hand, so nobody could know it beforehand.
    """
    apart = np.hstack([_standard(cards.astype(np.float64)), _standard(_public(models))])
    distance = np.sqrt(np.square(apart[:, None] - apart[None]).sum(-1))
    if not (distance > LEAST_SPREAD).any():
        return float("nan")
    usual = float(np.median(distance[distance > LEAST_SPREAD]))
    linear = apart @ apart.T
    processes = [len(apart) * np.exp(-0.5 * np.square(distance / (reach * usual))) for reach in REACHES]
    found = [spearman(_left_out(kernel, real, ridge), real) for kernel in (linear, *processes) for ridge in RIDGES]
    known = [one for one in found if np.isfinite(one)]
    return max(known, default=float("nan"))


def told_questions(texts: Floats, quality: Floats) -> float:
    """What texts [Q, E] tell, within one LLM, of what it solves, to who knows the outcomes [Q, M] of all other
    questions of this very set: mean over LLMs of the AUC of ridge regressions, one for each LLM or one for the share of
    LLMs that solve a question, whichever strength and kind is best.
    """
    part = np.random.default_rng(0).permutation(len(texts)) % PARTS
    asked = np.isfinite(quality)
    many = np.flatnonzero([len(set((quality[asked[:, m], m] > 0.5).tolist())) > 1 for m in range(quality.shape[1])])
    if not len(many):
        return float("nan")
    relative = quality - np.nanmean(quality, 0)
    shared = np.where(asked.any(1), np.where(asked, relative, 0.0).sum(1) / np.maximum(asked.sum(1), 1), np.nan)
    found = []
    for strength in RIDGES:
        alike = _on_other_parts(texts, shared, part, strength)
        own = [_on_other_parts(texts, quality[:, m], part, strength) for m in many]
        for of in (own, [alike] * len(many)):
            each = [auc(x[asked[:, m]], quality[asked[:, m], m] > 0.5) for x, m in zip(of, many, strict=True)]
            found.append(float(np.mean(each)))
    return max(found)


def auc(score: Floats, good: NDArray[np.bool_]) -> float:
    """Probability that a solved query scores above an unsolved one."""
    n, m = int(good.sum()), int((~good).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(score)[good].sum() - n * (n + 1) / 2) / (n * m))


def _on_other_parts(texts: Floats, target: Floats, part: NDArray[np.int64], strength: float) -> Floats:
    """Predictions [Q] of a ridge regression that saw the targets of all other parts, NaN where not known."""
    made = np.zeros(len(texts), dtype=np.float32)
    known, scale = np.isfinite(target), float(texts.std(0).mean()) or 1.0
    for one in range(PARTS):
        there = known & (part != one)
        if there.sum() > 1:
            fitted = ridge(strength)(texts[there] / scale, target[there, None])
            made[part == one] = fitted(texts[part == one] / scale)[:, 0]
    return made


def _left_out(kernel: Doubles, real: Floats, strength: float) -> Floats:
    """What all others predict of each, from a kernel [M, M]."""
    n = len(real)
    centre = np.eye(n) - 1 / n
    kernel = centre @ kernel @ centre
    hat = kernel @ np.linalg.inv(kernel + strength * np.eye(n)) + 1 / n
    missed = (real - hat @ real) / (1 - np.diag(hat))
    return np.asarray(real - missed, dtype=np.float32)


def _standard(values: Doubles) -> Doubles:
    """Columns of mean 0 and deviation 1, 0 where not known; those that tell nothing apart are left out."""
    with np.errstate(invalid="ignore"):
        spread = np.nanstd(values, 0) if len(values) else np.zeros(values.shape[1])
    kept = values[:, np.isfinite(spread) & (spread > LEAST_SPREAD)]
    return np.nan_to_num((kept - np.nanmean(kept, 0)) / np.nanstd(kept, 0)) if kept.size else np.zeros((len(values), 0))


def _public(models: Sequence[str]) -> Doubles:
    """Public figures [M, figures], NaN where an LLM has none; of at least three LLMs each."""
    known = [(known_ability(model) or {}).get("figures", {}) for model in models]
    names = sorted({name for each in known for name in each})
    rows = [[float(each[name]["value"]) if name in each else np.nan for name in names] for each in known]
    made = np.array(rows, dtype=np.float64).reshape(len(models), len(names))
    return made[:, np.isfinite(made).sum(0) >= 3]


def _means(left: Doubles) -> Doubles:
    asked = np.isfinite(left)
    means: Doubles = np.where(asked, left, 0.0).sum(0) / asked.sum(0)
    return means


def like_with_like(x: Floats, y: Floats, conditions: Sequence[str]) -> float:
    """Mean rank correlation among LLMs that were measured under the same conditions, each group by its size."""
    groups = {name: np.flatnonzero(np.array(conditions) == name) for name in sorted(set(conditions))}
    found = [(len(rows), spearman(x[rows], y[rows])) for rows in groups.values() if len(rows) >= 3]
    known = [(n, rho) for n, rho in found if np.isfinite(rho)]
    return sum(n * rho for n, rho in known) / sum(n for n, _ in known) if known else float("nan")


def on_other_folds(quality: Floats, here: NDArray[np.bool_], llms: NDArray[np.bool_]) -> float:
    """Of LLMs' real means on the questions that are judged, `here` [Q], with those on all others: quality [Q, M]."""
    if here.all() or not here.any():
        return float("nan")
    asked = np.isfinite(quality)
    left = quality if asked.all() else quality - np.nanmean(np.where(asked, quality, np.nan), 1, keepdims=True)
    both = llms & asked[here].any(0) & asked[~here].any(0)
    return spearman(np.nanmean(left[~here][:, both], 0), np.nanmean(left[here][:, both], 0))


def best_figure(models: Sequence[str], real: Floats) -> tuple[str, float]:
    """The public figure of `config/abilities.json` that alone orders LLMs best, of those known of at least half of
    them, and its rank correlation; chosen with the truth at hand, so more than anybody could know beforehand.
    """
    figures: dict[str, dict[int, float]] = defaultdict(dict)
    for i, model in enumerate(models):
        for name, figure in (known_ability(model) or {}).get("figures", {}).items():
            figures[name][i] = float(figure["value"])
    found = [("none", float("nan"))]
    for name, values in figures.items():
        at = np.array(list(values))
        if len(at) >= max(3, LEAST_SHARE * len(models)):
            found.append((name, spearman(np.array(list(values.values()), dtype=np.float32), real[at])))
    known = [one for one in found if np.isfinite(one[1])]
    return max(known, key=lambda one: abs(one[1]), default=found[0])
