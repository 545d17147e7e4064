"""Writes the golden texts that TypeScript must embed alike: `test/fixtures/embedding/golden.json`.

Run: `python -m router_model.embedding.golden [FOLDER]`, after the embedder or the texts changed.
"""

import base64
import hashlib
import json
import random
import sys
from pathlib import Path

from router_model.embedding.static import StaticEmbedder

ROOT = Path(__file__).parents[3]
TARGET = ROOT / "test" / "fixtures" / "embedding" / "golden.json"
EMBEDDER = ROOT / "router-model" / "embedders" / "static-2"

TEXTS: dict[str, str] = {
    "empty": "",
    "white space": " \t\r\n\u00a0\u2003\u3000",
    "question": "What is the capital of France?",
    "upper case": "WHAT IS THE CAPITAL OF FRANCE?",
    "accents": "Où est la bibliothèque? Ångström, naïve, Łódź, ÿ, ǆ, İstanbul, ſ, K",
    "combining": "e\u0301 a\u030a\u0323 n\u0303 q\u0300\u0301\u0302 \u0301alone",
    "german": "Weißt du, wie groß die Straße ist? ẞ",
    "greek": "Ποια είναι η πρωτεύουσα της Ελλάδας; ΟΔΟΣ ὀξύς \u037e \u0387",
    "russian": "Какая столица России? Ёжик й",
    "chinese": "法国的首都是哪里？请用三句话回答。豈更\U00020bb7",
    "japanese": "フランスの首都はどこですか？がぎぐ ﾊﾝｶｸ １２３",
    "korean": "프랑스의 수도는 어디입니까? 각",
    "arabic": "ما هي عاصمة فرنسا؟ مُحَمَّد",
    "hebrew": "מהי בירת צרפת? שָׁלוֹם",
    "hindi": "फ्रांस की राजधानी क्या है?",
    "thai": "เมืองหลวงของฝรั่งเศสคืออะไร",
    "tamil, georgian, armenian": "பிரான்சின் ქართული Ⴀ Հայերեն Ա",
    "new unicode": "a\u08d4b c\u0c04d e\U0001e944f \u2e52g \U00016d6dh \u1b4ei",
    "emoji": "I ❤️ this 😀👩‍👩‍👧‍👦🇫🇷🏽 1️⃣ done",
    "controls": "a\u0000b\u0007c\u001bd\u007fe\u0085f\u00adg\u200bh\u200di\ufeffj\ufffdk\u2028l",
    "private use": "a\ue000b \U000f0000 c\U0010fffd",
    "surrogate pair": "\ud83d\ude00 smile",
    "lone surrogates": "high \ud83d low \ude00 both \ude00\ud83d end\ud83d",
    "special tokens": "[CLS] [PAD] [UNK] ##ing [SEP] [MASK]",
    "long word": "x" * 100 + " " + "y" * 101 + " " + "é" * 100,
    "numbers": "12345 3.14 1,000,000 ½ ² ٣ Ⅷ 10^-3",
    "code": "def add(a, b):\n    # sums\n\treturn a + b  # a_b[0] = {'x': 1};\n",
    "latex": "Solve $\\frac{x^2}{2} = \\sqrt{7}$ for $x \\in \\mathbb{R}$.",
    "choices": "Which is a planet?\nA. Sun\nB) Moon\n(C) Mars\nd: Io\nk. none\n(e. no",
    "symbols": "~`!@#$%^&*()_+-={}[]|\\:;\"'<>,.?/ €£¥©®™°±×÷",
    "limit": "ab " * 682 + "cd",
    "limit + 1": "ab " * 682 + "cde",
    "just over the limit, astral": "😀" * 1537 + "é" * 512,
    "under the limit in code points": "😀" * 2000,
    "100 KB": "first words " + "filler text goes on. " * 4800 + "What is the last question?",
    "100 KB, no spaces": "a" * 100_000,
    "100 KB of emoji": "é😀" * 17_000,
}


BLOCK = 4096
RANDOM_TEXTS = 300


def code_point_hashes(embedder: StaticEmbedder) -> list[str]:
    """For each block of code points: a hash of the ids of every one of them, inside a word and alone."""
    texts = [
        " ".join(f"e{chr(c)}s {chr(c)}" for c in range(start, start + BLOCK) if not 0xD800 <= c <= 0xDFFF)
        for start in range(0, 0x110000, BLOCK)
    ]
    return [
        hashlib.sha256(repr(ids).replace(" ", "").encode()).hexdigest()[:16]
        for ids in embedder.token_ids(texts, whole=True)
    ]


def random_texts(vocabulary: list[str]) -> list[str]:
    """Mixtures of known pieces, marks, and characters of all scripts; the same ones each time."""
    rng = random.Random(7)
    marks = ["\u0301", "\u0323", "\u064b", "\u3099", "\u200d", " ", "\n", "\u00a0", ""]
    draws = [
        lambda: rng.choice(vocabulary).removeprefix("##"),
        lambda: rng.choice(vocabulary).removeprefix("##").upper(),
        lambda: rng.choice(marks),
        lambda: chr(rng.randrange(0x20, 0x3000)),
        lambda: chr(rng.choice([rng.randrange(0x3000, 0xD800), rng.randrange(0xE000, 0x30000)])),
    ]
    return ["".join(rng.choice(draws)() for _ in range(rng.randrange(1, 24))) for _ in range(RANDOM_TEXTS)]


def golden(embedder: StaticEmbedder) -> dict[str, object]:
    """Embed the texts; vectors as base64 of little-endian float32."""
    vectors = embedder.embed(list(TEXTS.values()))
    ids = embedder.token_ids(list(TEXTS.values()))
    mixtures = random_texts(embedder.tokens())
    return {
        "embedder": embedder.version,
        "code_points": {"block": BLOCK, "hashes": code_point_hashes(embedder)},
        "random": [[text, ids] for text, ids in zip(mixtures, embedder.token_ids(mixtures), strict=True)],
        "cases": [
            {
                "name": name,
                "text": _packed(text),
                "ids": ids[i],
                "vector": base64.b64encode(vectors[i].tobytes()).decode(),
            }
            for i, (name, text) in enumerate(TEXTS.items())
        ],
    }


def _packed(text: str) -> list[object]:
    """Text as parts: a string, or [string, times]. Keeps the file small without hiding what is in it."""
    for unit in ("filler text goes on. ", "ab ", "é😀", "😀", "a"):
        times = text.count(unit)
        if times > 600 and unit * times in text:
            before, after = text.split(unit * times, 1)
            return [before, [unit, times], after]
    return [text]


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else EMBEDDER
    text = json.dumps(golden(StaticEmbedder.load(source)), separators=(",", ":"))
    TARGET.write_text(text.replace('{"name"', '\n{"name"') + "\n", "utf-8")
