"""The static embedder: the mean of token vectors, in microseconds, in any language that can add integers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from router_model.embedding.embedder import Vectors
from router_model.embedding.spec import StaticSpec, Table, read_table
from router_model.embedding.text import clip_text


class StaticEmbedder:
    """Embeds a text as the L2-normalised mean of its tokens' vectors.

    Frequency weights are baked into the vectors; a token outside the vocabulary is skipped. A text without a known
    token has the zero vector, the centre of the vocabulary. The sum is over integers: exact, the same everywhere.
    """

    def __init__(self, spec: StaticSpec, tokenizer: Tokenizer, table: Table) -> None:
        """Build from parts; use `load` for a folder."""
        self.spec = spec
        self.table = table
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
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

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text's known tokens."""
        clipped = [clip_text(text, self.spec.max_chars) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(clipped, add_special_tokens=False)
        return [[token for token in encoding.ids if token != self._unknown] for encoding in encodings]

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text: [n, E] float32, of length 1, or zero for a text without a known token."""
        sums = np.zeros((len(texts), self.spec.columns), dtype=np.int64)
        for row, ids in enumerate(self.token_ids(texts)):
            sums[row] = self.table.rows[ids].sum(axis=0, dtype=np.int64)
        return _normalised(sums.astype(np.float64) * self.table.scale)


def _normalised(rows: npt.NDArray[np.float64]) -> Vectors:
    norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
