"""Writes `src/embedding/character-classes.ts`: what the `tokenizers` library does with each code point.

The library's tables are of an older Unicode than JavaScript's, and Node's change with its version; so the classes are
read off the library itself, one code point after the other. Run: `python -m router_model.embedding.characters`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

TARGET = Path(__file__).parents[3] / "src" / "embedding" / "character-classes.ts"
FIRST = 0x80
LAST = 0x10FFFF

_HEADER = """// Written by `python -m router_model.embedding.characters`; do not edit.
// First and last code point of each range above ASCII, in pairs, as the `tokenizers` library classifies them.
"""


class Classes(NamedTuple):
    """Ranges of code points above ASCII: first and last of each, in a row."""

    removed: list[int]
    """Characters that the BERT normaliser deletes: controls, format characters, private use, accents."""
    punctuation: list[int]
    """Characters that the BERT splitter makes a token of their own."""


def character_classes() -> Classes:
    """Ask the library about every code point (some seconds)."""
    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    return Classes(
        removed=_ranges(lambda c: normalizer.normalize_str(f"a{c}b") == "ab"),
        punctuation=_ranges(lambda c: [part for part, _ in splitter.pre_tokenize_str(f"a{c}b")] == ["a", c, "b"]),
    )


def render(classes: Classes) -> str:
    """Return the TypeScript file."""
    return _HEADER + _constant("REMOVED", classes.removed) + _constant("PUNCTUATION", classes.punctuation)


def _ranges(belongs: Callable[[str], bool]) -> list[int]:
    out: list[int] = []
    for code in range(FIRST, LAST + 1):
        if 0xD800 <= code <= 0xDFFF or not belongs(chr(code)):
            continue
        if out and out[-1] == code - 1:
            out[-1] = code
        else:
            out += [code, code]
    return out


def _constant(name: str, ranges: list[int]) -> str:
    lines = [", ".join(f"0x{code:x}" for code in ranges[i : i + 12]) for i in range(0, len(ranges), 12)]
    body = "".join(f"  {line},\n" for line in lines)
    return f"\n// biome-ignore format: a table\nexport const {name}: readonly number[] = [\n{body}]\n"


if __name__ == "__main__":
    TARGET.write_text(render(character_classes()), "utf-8")
