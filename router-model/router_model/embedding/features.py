"""Sixteen plain features of a text that a bag of tokens cannot hold: its length, shape and symbols.

Counted over UTF-16 code units, which is what JavaScript strings are made of: `src/embedding/features.ts` computes the
same. A bag of subwords knows topics well and form badly; which LLM answers well depends on both (`docs/embedding.md`).
Chosen from twenty candidates by leaving out one after the other (log loss, cross-validation without the test fold).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Units = npt.NDArray[np.uint16]

CLIP = 3.0
"""A standardised feature stays within -CLIP..CLIP."""


class Standard(NamedTuple):
    """Rounded mean and standard deviation over questions to assistants; rare ones have a floor under the deviation."""

    mean: float
    std: float


FEATURES: dict[str, Standard] = {
    "length": Standard(5.5, 0.95),  # log1p of the units of the whole text, unclipped
    "lines": Standard(0.8, 0.9),  # log1p of the line feeds
    "upper": Standard(0.03, 0.025),  # share of A-Z
    "space": Standard(0.17, 0.035),  # share of space, tab, line feed
    "stops": Standard(0.05, 0.05),  # share of . , ; : ! '
    "code": Standard(1.2, 1.2),  # log1p of the number of { } [ ] ; = < > _
    "latex": Standard(0.15, 0.5),  # log1p of the backslashes before a letter
    "dollars": Standard(0.3, 0.75),  # log1p of the number of $
    "questions": Standard(0.5, 0.4),  # log1p of the number of ?
    "ends_question": Standard(0.3, 0.47),  # 1 where the last unit that is no white space is ?
    "non_ascii": Standard(0.01, 0.08),  # share of units above 127
    "options": Standard(0.4, 0.7),  # log1p of the lines that start like "A." "b)" "(C)" "D:", letters A-J
    "indent": Standard(0.25, 0.6),  # log1p of the line feeds before a space or tab
    "lower_start": Standard(0.1, 0.3),  # 1 where the first unit is a-z
    "numbers": Standard(1.0, 1.0),  # log1p of the runs of 0-9
    "operators": Standard(0.65, 0.95),  # log1p of the number of + - * / ^ =
}


def text_features(clipped: str, whole_units: int) -> npt.NDArray[np.float64]:
    """Return the standardised features [16] of the part of a text that is read; `whole_units`: length of all of it."""
    units = np.frombuffer(clipped.encode("utf-16-le"), dtype="<u2")
    raw = _raw(units, whole_units)
    standard = [(raw[name] - mean) / std for name, (mean, std) in FEATURES.items()]
    return np.clip(np.array(standard, dtype=np.float64), -CLIP, CLIP)


def _raw(units: Units, whole_units: int) -> dict[str, float]:
    share = 1 / max(len(units), 1)
    after = _shifted(units, -1)
    upper = _between(units, "A", "Z")
    digit = _between(units, "0", "9")
    line_feed = units == ord("\n")
    visible = np.flatnonzero(~_any_of(units, " \t\n\r"))
    return {
        "length": np.log1p(whole_units),
        "lines": np.log1p(_count(line_feed)),
        "upper": _count(upper) * share,
        "space": _count(_any_of(units, " \t\n")) * share,
        "stops": _count(_any_of(units, ".,;:!'")) * share,
        "code": np.log1p(_count(_any_of(units, "{}[];=<>_"))),
        "latex": np.log1p(_count((units == ord("\\")) & _between(_lower(after), "a", "z"))),
        "dollars": np.log1p(_count(units == ord("$"))),
        "questions": np.log1p(_count(units == ord("?"))),
        "ends_question": float(len(visible) > 0 and units[visible[-1]] == ord("?")),
        "non_ascii": _count(units > 127) * share,
        "options": np.log1p(_options(units)),
        "indent": np.log1p(_count(line_feed & _any_of(after, " \t"))),
        "lower_start": float(len(units) > 0 and bool(_between(units[:1], "a", "z")[0])),
        "numbers": np.log1p(_count(digit & ~_between(_shifted(units, 1), "0", "9"))),
        "operators": np.log1p(_count(_any_of(units, "+-*/^="))),
    }


def _options(units: Units) -> int:
    """Lines that start with a letter A-J (either case) and one of . ) :, or with such a letter in round brackets."""
    after, after_next = _shifted(units, -1), _shifted(units, -2)
    before = _shifted(units, 1)
    starts = before == ord("\n")
    starts[:1] = True
    plain = _between(_lower(units), "a", "j") & _any_of(after, ".):")
    bracketed = (units == ord("(")) & _between(_lower(after), "a", "j") & (after_next == ord(")"))
    return _count(starts & (plain | bracketed))


def _shifted(units: Units, by: int) -> Units:
    """Move to the right (by > 0) or left; zeros come in."""
    out = np.zeros_like(units)
    if by > 0:
        out[by:] = units[:-by]
    else:
        out[:by] = units[-by:]
    return out


def _lower(units: Units) -> Units:
    """Lower-case A-Z; other units may change, but never into a letter."""
    return units | np.uint16(32)


def _between(units: Units, low: str, high: str) -> npt.NDArray[np.bool_]:
    return (units >= ord(low)) & (units <= ord(high))


def _any_of(units: Units, characters: str) -> npt.NDArray[np.bool_]:
    return np.isin(units, [ord(c) for c in characters])


def _count(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
