"""Scores of an answer, 0 (wrong) to 1 (right)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping

from router_model.collect.questions import Metric, Question, letters
from router_model.collect.sandbox import passes

NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?%?")
FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
TOLERANCE = 1e-4


def exact(answer: str, question: Question) -> float:
    """The answer, or its last line, is a right one but for case, articles and punctuation."""
    given = {plain(answer), plain(last_line(answer))}
    return float(any(plain(truth) in given for truth in question.truth))


def f1(answer: str, question: Question) -> float:
    """Words in common with the nearest right answer (Rajpurkar et al. 2016, SQuAD)."""
    return max(_overlap(plain(answer).split(), plain(truth).split()) for truth in question.truth)


def numeric(answer: str, question: Question) -> float:
    """The last number of the answer equals that of a right one, to 1 in 10,000."""
    given = last_number(answer)
    if given is None:
        return 0.0
    wanted = [number for truth in question.truth if (number := last_number(truth)) is not None]
    return float(any(abs(given - number) <= TOLERANCE * abs(number) for number in wanted))


def choice(answer: str, question: Question) -> float:
    """The letter that the answer names, or the choice that it repeats, is the right one."""
    named = chosen_letter(answer, question.choices)
    right = {_letter_of(truth, question.choices) for truth in question.truth}
    return float(named is not None and named in right)


def code(answer: str, question: Question) -> float:
    """Share of the tests that run through with the answer's code before them."""
    program = "\n\n".join(FENCE.findall(answer)) or answer
    return sum(passes(f"{program}\n\n{test}\n") for test in question.truth) / len(question.truth)


SCORERS: Mapping[Metric, Callable[[str, Question], float]] = {
    "exact": exact,
    "f1": f1,
    "numeric": numeric,
    "choice": choice,
    "code": code,
}


def plain(text: str) -> str:
    """Lower case, without punctuation, articles, and more than single spaces."""
    words = text.lower().translate(str.maketrans("", "", string.punctuation)).split()
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def last_line(text: str) -> str:
    """The last line that isn't blank."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def last_number(text: str) -> float | None:
    """1234.5 of "about 1,234.5 m"; in LaTeX's \\boxed{…} if there is one. None where there is no number."""
    boxed = re.findall(r"\\boxed\{([^{}]*)\}", text)
    for found in reversed(NUMBER.findall(boxed[-1] if boxed else text)):
        digits = found.rstrip("%").replace(",", "")
        if any(c.isdigit() for c in digits):
            return float(digits)
    return None


def chosen_letter(answer: str, choices: tuple[str, ...]) -> str | None:
    """Letter of the choice that an answer means: "(B)", "Answer: b", "B. Paris", or the choice's own words."""
    allowed = letters(len(choices) or 5)
    text = answer.strip()
    alone = re.fullmatch(rf"\W*([{allowed}{allowed.lower()}])\W*", text)
    patterns = (
        rf"(?i:answer|choice|option)\W+(?:is\W+)?\(?([{allowed}{allowed.lower()}])\b",
        rf"^\W*([{allowed}])\b[.):]",
        rf"\(([{allowed}])\)",
        rf"\b([{allowed}])\b\W*$",
    )
    found = [alone] if alone else [match for p in patterns if (match := re.search(p, text, re.MULTILINE))]
    if found:
        return found[0][1].upper()
    repeated = [letter for letter, words in zip(allowed, choices, strict=False) if plain(words) == plain(text)]
    return repeated[0] if repeated else None


def _letter_of(truth: str, choices: tuple[str, ...]) -> str:
    """Truth may be a letter, a choice's words, or (of several choices) its number from 0."""
    if truth in choices:
        return letters(len(choices))[choices.index(truth)]
    if truth.isdigit() and int(truth) < len(choices):
        return letters(len(choices))[int(truth)]
    return truth.strip().upper()[:1]


def _overlap(given: list[str], wanted: list[str]) -> float:
    common = sum((Counter(given) & Counter(wanted)).values())
    if not given or not wanted:
        return float(given == wanted)
    return 2 * common / (len(given) + len(wanted))
