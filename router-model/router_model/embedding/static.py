"""The static embedder: the mean of token vectors, in microseconds, in any language that can add integers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from router_model.embedding.embedder import Vectors
from router_model.embedding.features import CLIP, FEATURES, text_features
from router_model.embedding.spec import Feature, StaticSpec, Table, read_table
from router_model.embedding.text import clip_text, utf16_units


class StaticEmbedder:
    """Embeds a text as the L2-normalised mean of its tokens' vectors, followed by a few text features.

    The mean is centred: what an average text has is subtracted in every token's vector. A token outside the vocabulary
    is skipped; a text without a known token has zeros there. The sum is over integers: exact, the same everywhere.
    """

    def __init__(self, spec: StaticSpec, tokenizer: Tokenizer, table: Table) -> None:
        """Build from parts; use `load` for a folder."""
        self.spec = spec
        self.table = table
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._features = spec.features
        _check_features(spec)
        self._unknown = tokenizer.token_to_id(tokenizer.model.unk_token)

    @classmethod
    def load(cls, folder: str | Path) -> "StaticEmbedder":
        """Read a folder that `distil` wrote; ValueError when its files do not fit together."""
        folder = Path(folder)
        spec = StaticSpec.load(folder)
        tokenizer = Tokenizer.from_file(str(folder / spec.tokenizer))
        if tokenizer.get_vocab_size() != spec.rows:
            raise ValueError(f"{folder}: {tokenizer.get_vocab_size()} tokens, but {spec.rows} vectors")
        return cls(spec, tokenizer, read_table(folder / spec.vectors, spec.rows, spec.columns))

    @property
    def version(self) -> str:
        """Name of this embedder."""
        return self.spec.version

    @property
    def dim(self) -> int:
        """Length E of a vector."""
        return self.spec.dim

    def tokens(self) -> list[str]:
        """Return the vocabulary, by id."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def token_ids(self, texts: Sequence[str], *, whole: bool = False) -> list[list[int]]:
        """Return the ids of each text's known tokens; `whole`: without clipping it."""
        return self._ids(list(texts) if whole else [clip_text(text, self.spec.max_chars) for text in texts])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text: [n, E] float32, always finite. Its first `columns` have length 1 or are zero."""
        clipped = [clip_text(text, self.spec.max_chars) for text in texts]
        sums = np.zeros((len(texts), self.spec.columns), dtype=np.int64)
        for row, ids in enumerate(self._ids(clipped)):
            sums[row] = self.table.rows[ids].sum(axis=0, dtype=np.int64)
        means = _normalised(sums.astype(np.float64) * self.table.scale)
        if self._features is None:
            return means
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        features = np.stack([text_features(c, utf16_units(t)) for c, t in zip(clipped, texts, strict=True)])
        return np.hstack([means, (features * self._features.gain).astype(np.float32)])

    def _ids(self, clipped: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(clipped, add_special_tokens=False)
        return [[token for token in encoding.ids if token != self._unknown] for encoding in encodings]


def _check_features(spec: StaticSpec) -> None:
    if spec.features is None:
        return
    wanted = [Feature(name=name, mean=mean, std=std) for name, (mean, std) in FEATURES.items()]
    if list(spec.features.list) != wanted or spec.features.clip != CLIP:
        raise ValueError(f"{spec.version} has other text features than this package computes")
    if spec.dim != spec.columns + len(wanted):
        raise ValueError(f"{spec.version}: dim {spec.dim} is not {spec.columns} + {len(wanted)} features")


def _normalised(rows: npt.NDArray[np.float64]) -> Vectors:
    norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
