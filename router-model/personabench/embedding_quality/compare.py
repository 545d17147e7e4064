"""Embedder x routing quality: the table of `docs/embedding.md`.

Run: `python -m personabench.embedding_quality.compare [--data DIR]` (some minutes on one core; the transformer's
vectors are kept in `.cache`). Choose on the validation columns; the test columns are there to be reported.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from personabench.embedding_quality.quality import PREDICTORS, Floats, Score, cross_validated, held_out
from router_model.data.pools import Pool, load_pool
from router_model.embedding.distil import DEFAULT_MAX_CHARS, TokenVectors, quantise, reduce, teacher_path, token_vectors
from router_model.embedding.features import text_features
from router_model.embedding.static import StaticEmbedder
from router_model.embedding.text import clip_text, utf16_units
from router_model.places import DATA, EMBEDDERS, HOME

Embed = Callable[[Sequence[str]], Floats]

POOLS = ("zeroeval", "llmrouter")
VALIDATION = range(8)
TRAIN, TEST = range(8), 8
GAIN = 0.2
CACHE = HOME / ".cache"


def embedders(tokens: TokenVectors, reference: Sequence[str]) -> Iterator[tuple[str, Embed]]:
    """Yield what is compared, by name; `reference`: training questions that give centre and axes."""
    yield "hashed TF-IDF, 256", hashed_words
    yield "features alone, 16", features
    yield "static-1: PCA of the vocabulary, SIF, 256", lambda texts: _float(_committed("static-1").embed(texts))
    for columns in (64, 128, 240):
        yield f"centred, {columns}", static(tokens, reference, columns)
    for columns in (48, 112, 240, 368):
        yield f"centred, {columns} + 16 features", with_features(static(tokens, reference, columns))
    yield "centred, 240 + 16 features, float32", with_features(static(tokens, reference, 240, int8=False))
    for size in (20_000, 10_000, 5_000):
        yield (
            f"centred, 240 + 16 features, {size:,} tokens",
            with_features(static(token_vectors(size), reference, 240)),
        )
    yield "MiniLM, 384", transformer
    yield "MiniLM, 384 + 16 features", with_features(transformer)


def static(tokens: TokenVectors, reference: Sequence[str], columns: int, *, int8: bool = True) -> Embed:
    """Return a static embedder that is not written to disk."""
    from tokenizers import Tokenizer

    vectors = reduce(tokens, reference, columns, DEFAULT_MAX_CHARS)
    if int8:
        table = quantise(vectors)
        vectors = table.rows.astype(np.float64) * table.scale
    tokenizer = Tokenizer.from_str(tokens.tokenizer)

    def embed(texts: Sequence[str]) -> Floats:
        clipped = [clip_text(text, DEFAULT_MAX_CHARS) for text in texts]
        sums = np.zeros((len(texts), columns))
        for row, encoding in enumerate(tokenizer.encode_batch_fast(clipped, add_special_tokens=False)):
            sums[row] = vectors[encoding.ids].sum(axis=0)
        return _unit(sums)

    return embed


def with_features(embed: Embed) -> Embed:
    """Append the text features."""
    return lambda texts: np.hstack([embed(texts), features(texts)])


def features(texts: Sequence[str]) -> Floats:
    """Return the text features alone."""
    return GAIN * np.stack([text_features(clip_text(t, DEFAULT_MAX_CHARS), utf16_units(t)) for t in texts])


def hashed_words(texts: Sequence[str], dim: int = 256) -> Floats:
    """Hash words and word pairs to signed buckets, log counts: the floor that a trained embedder has to beat."""
    from sklearn.feature_extraction.text import HashingVectorizer

    counts = HashingVectorizer(n_features=dim, norm=None, ngram_range=(1, 2)).transform(texts).toarray()
    return _unit(np.sign(counts) * np.log1p(np.abs(counts)))


def transformer(texts: Sequence[str]) -> Floats:
    """Embed by the teacher itself (256 tokens), kept in `.cache`."""
    key = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    path = CACHE / f"minilm-{key}.npy"
    if not path.exists():
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(teacher_path()), device="cpu")
        model.max_seq_length = 256
        CACHE.mkdir(exist_ok=True)
        np.save(path, model.encode(list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False))
    return _float(np.load(path))


def training_texts(pools: Sequence[Pool]) -> list[str]:
    """Questions of the training folds: what `distil` takes centre and axes from."""
    return [pool.queries[i] for pool in pools for i in pool.rows(pool.folds.train)]


def table(pools: Sequence[Pool]) -> Iterator[str]:
    """Yield the lines of the markdown table."""
    columns = [f"{pool.name} {name}" for pool in pools for name in PREDICTORS]
    tests = [f"{pool.name} test" for pool in pools]
    yield f"| embedder | {' | '.join(columns + tests)} |"
    yield f"|---|{'---|' * len(columns + tests)}"
    for name, embed in embedders(token_vectors(), training_texts(pools)):
        vectors = [embed(pool.queries) for pool in pools]
        cells = [_cell(_validate(fit, pool, x)) for pool, x in zip(pools, vectors, strict=True) for fit in PREDICTORS]
        cells += [_cell(_test(pool, x)) for pool, x in zip(pools, vectors, strict=True)]
        yield f"| {name} | {' | '.join(cells)} |"


def _validate(fit: str, pool: Pool, x: Floats) -> Score:
    """Cross-validated; but the network, which takes long, on one fold."""
    if fit == "network":
        return held_out(PREDICTORS[fit], x, _float(pool.quality), pool.fold, range(7), 7)
    return cross_validated(PREDICTORS[fit], x, _float(pool.quality), pool.fold, VALIDATION)


def _test(pool: Pool, x: Floats) -> Score:
    return held_out(PREDICTORS["ridge"], x, _float(pool.quality), pool.fold, TRAIN, TEST)


def _cell(result: Score) -> str:
    return f"{result.log_loss:.4f} / {result.auc:.3f} / {result.gap:.2f}"


def _committed(version: str) -> StaticEmbedder:
    return StaticEmbedder.load(EMBEDDERS / version)


def _float(x: NDArray[np.float32]) -> Floats:
    return np.asarray(x, dtype=np.float64)


def _unit(x: Floats) -> Floats:
    unit: Floats = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description="Embedder x routing quality.")
    parser.add_argument("--data", type=Path, default=DATA)
    for line in table([load_pool(name, parser.parse_args().data) for name in POOLS]):
        print(line, flush=True)
