"""The artifact's files in one typed place: manifest, verification, running the graphs. ARTIFACT.md is the contract."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from router_model.data.ability import AbilitySpec, VerbositySpec
from router_model.data.codes import Codes

SCHEMA: Literal["persona-router/artifact/1"] = "persona-router/artifact/1"
GRAPHS = ("llm", "edge", "user", "score")
TOLERANCE = 1e-4
NOTHING = 1e-3
"""An output without a larger number is a zero that rounding left, such as what the silent tell of their tenant."""

Array = NDArray[Any]


class ArtifactError(ValueError):
    """An artifact that must not be served; the message names the file and what is wrong with it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class FileEntry(_Strict):
    """Hash and size of one file."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of its content, hexadecimal."""
    bytes: int = Field(ge=0)
    """Its size."""


class CardFeature(_Strict):
    """One entry of a card's numeric features."""

    field: str
    """Of the card; see *Card features*."""
    transform: Literal["log10", "identity", "flag", "logit"]
    """Of its value."""
    mean: float
    """Subtracted after that."""
    std: float = Field(gt=0)
    """Divided by."""


class Dims(_Strict):
    """The sizes named in ARTIFACT.md."""

    E: int
    """Query embedding, and embedded card."""
    Q: int = 0
    """What is read in a query, `reading`; 0 where it is missing."""
    F: int
    """Numeric features of a card."""
    P: int
    """Provider code."""
    C: int
    """Name code."""
    Z: int
    """LLM state `z`."""
    V: int
    """Message to an LLM, `llm_message`."""
    G: int
    """Message to a user, `user_message`."""
    H: int
    """A user's sums, `sums`; G where it is missing."""
    W: int = 1
    """Blocks of `sums`."""
    S: int
    """User state."""
    D: int = 0
    """What is said of a user's tastes: `tastes` of the manifest, then provider and name code; 0 where it is missing."""
    R: int
    """Parts of a score."""
    J: int = 0
    """Kinds of people, `people`; 0 where it is missing."""
    Y: int = 0
    """Kinds of tenants, `tenant`; 0 where it is missing."""

    @model_validator(mode="before")
    @classmethod
    def _one_block(cls, sizes: dict[str, int]) -> dict[str, int]:
        return sizes if "H" in sizes else {**sizes, "H": sizes["G"]}  # older artifacts


class Forget(_Strict):
    """How fast a user's older rewards fade."""

    per_reward: float = Field(gt=0, le=1)
    """Factor on a user's sums before a message is added."""
    block: int = Field(default=1, ge=1)
    """Rewards to a block of a user's sums, where there is more than one block."""


class EmbedderEntry(_Strict):
    """The embedder of the query vectors."""

    kind: Literal["static"]
    """`static` by this package; the gateway also serves `minilm` and `openai`."""
    version: str
    """That of `embedder.json`."""
    dim: int
    """E."""
    files: tuple[str, ...]
    """Paths in the artifact."""


class Source(_Strict):
    """Data that the artifact was trained on."""

    name: str
    """Of the pool or log."""
    licence: str
    """SPDX, or `private`."""


class Manifest(_Strict):
    """`manifest.json`."""

    schema_: Literal["persona-router/artifact/1"] = Field(alias="schema")
    """Of the artifact as a whole."""
    version: str
    """The artifact's name, that of its folder."""
    created: str
    """ISO 8601, UTC."""
    files: dict[str, FileEntry]
    """Every file but the manifest itself, by its path."""
    opset: int = Field(ge=18)
    """ONNX operator set of the graphs."""
    dims: Dims
    """Sizes by letter."""
    parts: tuple[str, ...]
    """Names of a score's parts, in order."""
    tastes: tuple[str, ...] = ()
    """Names of what `taste` of `user.onnx` begins with."""
    kinds: tuple[str, ...]
    """Names of the kinds of rewards, in order."""
    people: tuple[str, ...] = ()
    """Names of the kinds of people, in order, the usual ones first; none where there is but one kind."""
    card_features: tuple[CardFeature, ...]
    """Features that `card` holds, in order."""
    ability: AbilitySpec | None = None
    """How `ability`, `ability_sd` and the aspects among the card features are inferred from a card's figures."""
    verbosity: VerbositySpec | None = None
    """How `log_verbosity` is."""
    codes: Codes = "hashed"
    """How names and makers become codes; see *Codes*."""
    usual: str | None = None
    """Base64 of embeddings of usual questions, [n, E] float32: on these it is decided who is everybody's favourite."""
    tools: str | None = None
    """Base64 of [E] float32: what tools add to a query's embedding; see *Tools*."""
    forget: Forget
    """How older rewards fade, and how many share a block."""
    embedder: EmbedderEntry
    """The embedder of the query vectors."""
    reader: str | None = None
    """Tells readers of queries apart: a `reading` means nothing to the edge graph of another."""
    aliases: dict[str, tuple[str, ...]]
    """Other names of an LLM of the population."""
    starts: dict[str, dict[str, float]] | None = None
    """Information about single weights of a user, by their place in the state's mean, that a stated taste (`quality`,
    `frugal`) adds to the prior."""
    trained_on: tuple[Source, ...]
    """Data."""
    licence: str
    """SPDX, of the weights."""


def digest(path: Path) -> FileEntry:
    """Hash and size of a file."""
    data = path.read_bytes()
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def files_of(folder: Path) -> dict[str, FileEntry]:
    """Every file below `folder` but the manifest, by its path there."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    return {p.relative_to(folder).as_posix(): digest(p) for p in paths}


def seal_again(folder: Path, *names: str) -> None:
    """Puts hashes of files that were written anew into the manifest. Raises `ArtifactError`."""
    manifest = read_manifest(folder)
    files = manifest.files | {name: digest(folder / name) for name in names}
    text = manifest.model_copy(update={"files": files}).model_dump_json(by_alias=True, indent=2)
    (folder / "manifest.json").write_text(text + "\n")


def pack(array: Array) -> str:
    """Base64 of little-endian values."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def pack_tensor(array: Array) -> dict[str, object]:
    """A tensor as golden.json holds it."""
    return {"shape": list(array.shape), "dtype": str(array.dtype), "data": pack(array)}


def unpack_tensor(entry: Mapping[str, Any]) -> Array:
    """The inverse of `pack_tensor`."""
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(entry["data"]), dtype=dtype).reshape(entry["shape"]).astype(entry["dtype"])


def unpack_vector(data: str) -> Array:
    """Float32 vector from base64."""
    return np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32)


def read_manifest(folder: Path) -> Manifest:
    """Parses `manifest.json`. Raises `ArtifactError` where it is missing or not of this schema."""
    path = folder / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: no such file") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Raises `ArtifactError` unless the folder holds exactly the manifest's files, unchanged."""
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path}: named in the manifest but missing")
        if digest(path) != entry:
            raise ArtifactError(f"{path}: differs from the hash in the manifest")
    strangers = set(files_of(folder)) - set(manifest.files)
    if strangers:
        raise ArtifactError(f"{folder}: not in the manifest: {', '.join(sorted(strangers))}")


class Artifact:
    """A verified artifact with its graphs in ONNX Runtime on the CPU.

    Raises `ArtifactError` for missing, changed or foreign files, wrong sizes, and golden outputs that are not met.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Loads and verifies the folder."""
        import onnxruntime as ort

        self.folder = folder
        self.manifest = read_manifest(folder)
        verify_files(folder, self.manifest)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.sessions = {
            name: ort.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
            for name in GRAPHS
        }
        self.population = {
            name: unpack_vector(data) for name, data in json.loads((folder / "population.json").read_text()).items()
        }
        for name, vector in self.population.items():
            if vector.shape != (self.manifest.dims.V,):
                raise ArtifactError(f"{folder / 'population.json'}: {name} has {vector.size} values, not V")
        self.check_golden()

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of a graph by name. Without an `anchor`, a graph that takes one gets the first LLM; with a `query`,
        edge.onnx gets what is read in it; without a `share`, it gives each message by itself; without `tenant`,
        user.onnx takes one of which nothing is known. What a graph doesn't take, it isn't given.
        """
        session = self.sessions[graph]
        takes = {entry.name for entry in session.get_inputs()}
        if graph == "edge" and "query" in inputs and self.manifest.dims.Q:
            inputs = {name: value for name, value in inputs.items() if name != "query"} | {
                "reading": self.read(inputs["query"], inputs["z"])
            }
        if "anchor" in takes - inputs.keys():
            inputs = {**inputs, "anchor": inputs["z"][:1]}
        if "share" in takes - inputs.keys():
            inputs = {**inputs, "share": np.ones((len(inputs["z"]), 1), np.float32)}
        if "tenant" in takes - inputs.keys():
            inputs = {**inputs, "tenant": np.zeros((len(inputs["sums"]), self.manifest.dims.Y), np.float32)}
        fed = {name: value for name, value in inputs.items() if name in takes}
        names = [o.name for o in session.get_outputs()]
        return dict(zip(names, session.run(names, fed), strict=True))

    @property
    def reads(self) -> bool:
        """Whether edge.onnx takes what is read in queries; else it takes them."""
        return self.manifest.dims.Q > 0

    def read(self, query: Array, z: Array) -> Array:
        """What is read in queries [n, E], [n, Q]; `z` [.., Z]: of any LLM."""
        n = len(query)
        nobody = {"prompt_tokens": np.zeros(n, np.float32), "state": np.zeros((n, self.manifest.dims.S), np.float32)}
        given = {"query": query, **nobody, "z": z[:1], "cost_weight": np.full(n, -1.0, np.float32)}
        return self.run("score", given)["reading"]

    def check_golden(self) -> None:
        """Raises `ArtifactError` where a graph does not give the outputs of golden.json."""
        golden = json.loads((self.folder / "golden.json").read_text())
        for graph in GRAPHS:
            for number, case in enumerate(golden["graphs"][graph]):
                inputs = {name: unpack_tensor(entry) for name, entry in case["inputs"].items()}
                found = self.run(graph, inputs)
                for name, entry in case["outputs"].items():
                    error = largest_error(found[name], unpack_tensor(entry))
                    if not error <= TOLERANCE:
                        raise ArtifactError(
                            f"{graph}.onnx: output {name} of golden case {number} is off by {error:.2g}"
                        )


def largest_error(found: Array, expected: Array) -> float:
    """Largest difference as a share of the largest value expected; infinite where shapes differ.

    An output's entries are made of the same terms, and what rounding leaves is a share of these: a small entry of a
    message may be what large ones left of each other, and differ from one CPU to the next. So may all of them.
    """
    if found.shape != expected.shape:
        return float("inf")
    if found.size == 0:
        return 0.0
    scale = max(float(np.abs(expected).max()) or 1.0, NOTHING)
    return float(np.abs(found.astype(np.float64) - expected).max()) / scale
