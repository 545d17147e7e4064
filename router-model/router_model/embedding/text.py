"""The part of a text that is read at all: the same in `src/embedding/clip-text.ts`."""

from router_model.embedding.spec import MaxChars


def well_formed(text: str) -> str:
    """Join surrogate pairs, replace lone surrogates by U+FFFD: what JavaScript's `toWellFormed` gives."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def utf16_units(text: str) -> int:
    """Length of a text as JavaScript counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def clip_text(text: str, limit: MaxChars) -> str:
    """Keep the first `head` and the last `tail` code points of a text that has more than both together."""
    text = well_formed(text)
    if len(text) <= limit.head + limit.tail:
        return text
    return text[: limit.head] + "\n" + text[len(text) - limit.tail :]
