"""The files of a static embedder: one typed place for what is written and read.

A folder holds `tokenizer.json` (WordPiece, format of the `tokenizers` library), `vectors.bin` and `embedder.json`
(this model). `vectors.bin` is little-endian and has no header: `columns` float32 scales, one a dimension, then
`rows x columns` int8, row-major, row i for token id i. Value = int8 x scale of its column. A vector is the
normalised sum of its tokens' values [columns], followed by the text features, if there are any.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Literal["persona-router/embedder/1"] = "persona-router/embedder/1"
SPEC_FILE = "embedder.json"


class Table(NamedTuple):
    """Quantised token vectors."""

    scale: npt.NDArray[np.float32]
    """[columns]"""
    rows: npt.NDArray[np.int8]
    """[rows, columns]"""


class MaxChars(BaseModel):
    """Of a longer text only its first `head` and last `tail` code points are read, with one line feed between."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: int
    tail: int


class Feature(BaseModel):
    """A text feature that follows the token vectors' mean: clip((x - mean) / std, -clip, clip) x gain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    mean: float
    std: float


class Features(BaseModel):
    """Text features in the order of the vector; see `features.py` for what each counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip: float
    gain: float
    list: tuple[Feature, ...]


class Source(BaseModel):
    """Where the vectors come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    package: str
    method: str
    licence: str


class StaticSpec(BaseModel):
    """`embedder.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["persona-router/embedder/1"] = Field(default=SCHEMA, alias="schema")
    kind: Literal["static"] = "static"
    version: str
    dim: int
    """E = columns + number of features."""
    tokenizer: str = "tokenizer.json"
    vectors: str = "vectors.bin"
    dtype: Literal["int8"] = "int8"
    scale: Literal["per_column"] = "per_column"
    rows: int
    columns: int
    max_chars: MaxChars
    features: Features | None = None
    source: Source
    licence: str

    def dump(self) -> str:
        """Render as the text of `embedder.json`."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"

    @classmethod
    def load(cls, folder: Path) -> "StaticSpec":
        """Read and check `embedder.json` of a folder."""
        return cls.model_validate_json((folder / SPEC_FILE).read_text("utf-8"))


def write_table(path: Path, table: Table) -> None:
    """Write `vectors.bin`."""
    path.write_bytes(table.scale.astype("<f4").tobytes() + np.ascontiguousarray(table.rows, dtype=np.int8).tobytes())


def read_table(path: Path, rows: int, columns: int) -> Table:
    """Read `vectors.bin`; ValueError when its size is not what the spec says."""
    data = path.read_bytes()
    expected = 4 * columns + rows * columns
    if len(data) != expected:
        raise ValueError(f"{path} has {len(data)} bytes; {rows} x {columns} int8 with scales need {expected}")
    scale = np.frombuffer(data, dtype="<f4", count=columns)
    vectors = np.frombuffer(data, dtype=np.int8, offset=4 * columns).reshape(rows, columns)
    return Table(scale=scale, rows=vectors)
