"""The teacher itself as an embedder: MiniLM as an ONNX graph, for those who have a GPU or milliseconds to spend.

The folder holds `model.onnx`, `tokenizer.json` and `embedder.json`; it is made on demand and not committed (90 MB, or
23 MB with int8 weights). Serving: `embedder: { kind: minilm, path: … }`, for artifacts trained with the same one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from router_model.embedding.distil import DEFAULT_MAX_CHARS, PACKAGE, TEACHER, feature_spec, teacher_path
from router_model.embedding.embedder import Vectors
from router_model.embedding.features import FEATURES, text_features
from router_model.embedding.spec import SCHEMA, SPEC_FILE, Features, MaxChars, Source
from router_model.embedding.text import clip_text, utf16_units

if TYPE_CHECKING:
    import torch

HIDDEN = 384
MAX_TOKENS = 256


class MinilmSpec(BaseModel):
    """`embedder.json` of a transformer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["persona-router/embedder/1"] = Field(default=SCHEMA, alias="schema")
    kind: Literal["minilm"] = "minilm"
    version: str
    dim: int
    """E = 384 + number of features."""
    tokenizer: str = "tokenizer.json"
    model: str = "model.onnx"
    columns: int = HIDDEN
    max_tokens: int = MAX_TOKENS
    """Begin and end token included; the rest of the text is not read."""
    begin_token: int
    end_token: int
    max_chars: MaxChars
    features: Features
    source: Source
    licence: str


class MinilmEmbedder:
    """Embeds by the exported transformer: mean of the last layer, length 1, then the text features."""

    def __init__(self, spec: MinilmSpec, tokenizer: Tokenizer, session: ort.InferenceSession) -> None:
        """Build from parts; use `load` for a folder."""
        self.spec = spec
        self._tokenizer = tokenizer
        self._session = session

    @classmethod
    def load(cls, folder: str | Path) -> MinilmEmbedder:
        """Read a folder that `export_minilm` wrote."""
        folder = Path(folder)
        spec = MinilmSpec.model_validate_json((folder / SPEC_FILE).read_text("utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(folder / spec.model, options, providers=ort.get_available_providers())
        return cls(spec, Tokenizer.from_file(str(folder / spec.tokenizer)), session)

    @property
    def version(self) -> str:
        """Name of this embedder."""
        return self.spec.version

    @property
    def dim(self) -> int:
        """Length E of a vector."""
        return self.spec.dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text: [n, E] float32; one text at a time, as when serving."""
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            clipped = clip_text(text, self.spec.max_chars)
            ids = self._tokenizer.encode(clipped, add_special_tokens=False).ids[: self.spec.max_tokens - 2]
            tokens = np.array([[self.spec.begin_token, *ids, self.spec.end_token]], dtype=np.int64)
            feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
            out[row, : self.spec.columns] = self._session.run(["vector"], feed)[0][0]
            out[row, self.spec.columns :] = text_features(clipped, utf16_units(text)) * self.spec.features.gain
        return out


def export_minilm(out: str | Path, *, int8: bool = False) -> MinilmSpec:
    """Write the transformer into the folder `out`; `int8`: quantised weights, a quarter of the size."""
    import torch

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(teacher_path() / "tokenizer.json"))
    spec = MinilmSpec(
        version="minilm-int8-1" if int8 else "minilm-1",
        dim=HIDDEN + len(FEATURES),
        begin_token=tokenizer.token_to_id("[CLS]"),
        end_token=tokenizer.token_to_id("[SEP]"),
        max_chars=DEFAULT_MAX_CHARS,
        features=feature_spec(),
        source=Source(
            model=TEACHER,
            package=f"{PACKAGE}=={metadata.version(PACKAGE)}",
            method="ONNX export with mean pooling" + (", int8 weights" if int8 else ""),
            licence="Apache-2.0",
        ),
        licence="Apache-2.0",
    )
    # Two tensors: the exporter would take one that is given twice for one input.
    tokens, mask = torch.full((2, 8), 1000), torch.ones((2, 8), dtype=torch.long)
    batch, length = torch.export.Dim("batch", max=4096), torch.export.Dim("length", max=512)
    torch.onnx.export(
        _pooled_teacher(),
        (tokens, mask),
        out / spec.model,
        input_names=["input_ids", "attention_mask"],
        output_names=["vector"],
        dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if int8:
        _quantise_weights(out / spec.model)
    (out / spec.tokenizer).write_text(_plain(tokenizer), "utf-8")
    (out / SPEC_FILE).write_text(spec.model_dump_json(indent=2, by_alias=True) + "\n", "utf-8")
    return spec


def _pooled_teacher() -> torch.nn.Module:
    import torch
    from transformers import AutoModel

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            path = str(teacher_path())
            self.model = AutoModel.from_pretrained(path, local_files_only=True).eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask[:, :, None].to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=1)

    return Pooled().eval()


def _quantise_weights(model: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(model, model, weight_type=QuantType.QInt8)


def _plain(tokenizer: Tokenizer) -> str:
    """The teacher's tokenizer; what it adds, cuts and pads is left to the embedder."""
    file = json.loads(tokenizer.to_str())
    file.update(truncation=None, padding=None, added_tokens=[], post_processor=None)
    return json.dumps(file, ensure_ascii=False, indent=0, separators=(",", ":")) + "\n"
