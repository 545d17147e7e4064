"""The tables of ARTIFACT.md, written from the code: `python -m router_model.export.contract`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import BaseModel

from router_model.export.artifact import Dims, Manifest
from router_model.export.onnx import INPUTS, OUTPUTS, example
from router_model.kinds import REWARD_KINDS
from router_model.network import Sizes

CONTRACT = Path(__file__).parents[2] / "ARTIFACT.md"
DYNAMIC = {
    "B": "Requests (or users) in a batch, dynamic.",
    "M": "Candidates, dynamic.",
    "N": "Edges in a batch, dynamic.",
    "U": "Sums of messages, dynamic; N where each message is asked for by itself.",
    "A": "Messages to a sum, dynamic: N = U A.",
}
RUNS = {
    "llm": "on load, and as outcomes arrive",
    "edge": "for each reward",
    "user": "after each reward",
    "score": "for each request",
}
_PLACE = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def contract(text: str) -> str:
    """ARTIFACT.md with its tables as the code has them. Raises `KeyError` for a table that nothing makes."""
    made = {"letters": letters, "graphs": graphs, "kinds": kinds, "manifest": manifest}
    return _PLACE.sub(lambda place: f"{place[1]}{made[place[2]]()}\n{place[3]}", text)


def letters() -> str:
    """Sizes by letter."""
    of_manifest = {name: field.description or "" for name, field in Dims.model_fields.items()}
    return _table(("letter", "size of"), {**DYNAMIC, **of_manifest}.items())


def graphs() -> str:
    """Inputs and outputs of each graph."""
    sizes = Sizes(people=1, tenants=1)

    def rows() -> Iterator[tuple[str, ...]]:
        for graph, inputs in INPUTS.items():
            made = example(graph, sizes, dict.fromkeys(DYNAMIC, 1))
            takes = ", ".join(_tensor(name, shape, made[name].dtype) for name, shape in inputs.items())
            gives = ", ".join(_tensor(name, shape) for name, shape in OUTPUTS[graph].items())
            yield f"`{graph}.onnx`", RUNS[graph], takes, gives

    return _table(("graph", "runs", "inputs", "outputs"), rows())


def kinds() -> str:
    """The table of kinds of rewards."""
    columns = ("index", "kind", "dense", "strength", "hint", "lenient", "to user", "to LLM", "fallback")

    def rows() -> Iterator[tuple[str, ...]]:
        for index, kind in enumerate(REWARD_KINDS):
            flags = ["yes" if flag else "" for flag in (kind.dense, kind.hint, kind.lenient)]
            fallback = f"`{kind.fallback}`" if kind.fallback else ""
            yield (
                str(index), f"`{kind.name}`", flags[0], f"{kind.strength:g}", flags[1], flags[2],
                f"{kind.to_user:g}", f"{kind.to_llm:g}", fallback,
            )  # fmt: skip

    return _table(columns, rows())


def manifest() -> str:
    """Fields of manifest.json, nested ones by their path."""
    return _table(("field", "type", "holds"), _fields(Manifest, ""))


def _fields(model: type[BaseModel], path: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        where = f"{path}{field.alias or name}"
        inner, shape, mark = _inner(field.annotation)
        if inner is Dims:
            yield f"`{where}`", "object", f"{field.description} H may be missing: then H = G."
        elif inner is not None:
            yield f"`{where}`", shape, field.description or ""
            yield from _fields(inner, f"{where}{mark}.")
        else:
            optional = "" if field.is_required() else f" Missing: {field.get_default()}."
            yield f"`{where}`", shape, f"{field.description}{optional}"


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str, str]:
    """The model within a field's type, the type in JSON's words, and what goes between the paths of both."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, "object", ""
    items = get_args(annotation)
    if type(None) in items:
        return _inner(next(item for item in items if item is not type(None)))
    kind = getattr(annotation, "__origin__", None)
    if kind is tuple:
        model = _inner(items[0])[0]
        return model, "list", "[]"
    if kind is dict:
        model = _inner(items[1])[0]
        return model, "object by name", ".*"
    if items:  # of a Literal
        return None, " or ".join(f'`"{item}"`' for item in items), ""
    return None, {str: "string", int: "integer", float: "number"}[annotation], ""


def _tensor(name: str, shape: tuple[str, ...], dtype: torch.dtype = torch.float32) -> str:
    exact = "" if dtype == torch.float32 else f" {str(dtype).removeprefix('torch.')}"
    return f"`{name}` [{','.join(shape)}]{exact}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    CONTRACT.write_text(contract(CONTRACT.read_text(encoding="utf-8")), encoding="utf-8")
