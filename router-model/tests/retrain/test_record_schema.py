import ast
import inspect
from typing import Any

from router_model.kinds import KINDS
from router_model.retrain import candidates, logbook
from router_model.retrain.record import SCHEMA, fields


def names_of(schema: Any) -> set[str]:
    """Every name of a property, however deep."""
    if isinstance(schema, list):
        return set().union(*map(names_of, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {}))
    return own.union(*(names_of(part) for part in schema.values()))


def asked_for(module: Any, may_be_absent: bool = True) -> set[str]:
    """What a module reads of a record by name: texts in brackets and, if wanted, in `get`."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.Subscript(value=ast.Name(of), slice=ast.Constant(str(name))):
                pass
            case ast.Call(func=ast.Attribute(ast.Name(of), "get"), args=[ast.Constant(str(name)), *_]) if may_be_absent:
                pass
            case _:
                continue
        if of in {"row", "usage", "kept", "one", "scored"}:
            found.add(name)
    return found


def test_readers_ask_only_for_fields_that_a_record_has() -> None:
    read = asked_for(logbook) | asked_for(candidates)
    assert {"chosen", "attempts", "embedding", "prompt_tokens", "preferred_model", "float32"} <= read
    assert read <= names_of(SCHEMA)


def test_what_may_be_absent_is_not_taken_for_granted() -> None:
    for kind in ("interaction", "reward"):
        optional = set(fields(kind)) - set(SCHEMA["$defs"][kind]["required"])
        assert not optional & asked_for(logbook, may_be_absent=False)


def test_every_kind_of_reward_is_one_of_the_models() -> None:
    kinds = set(fields("reward")["kind"]["enum"])
    assert kinds - {"rating"} <= set(KINDS)
    # A rating is a thumb where it is binary.
    assert {"rating", "thumb"} <= set(KINDS)


def test_columns_of_the_stored_table_are_those_that_are_read() -> None:
    table = next(one for one in fields("interaction")["candidates"]["anyOf"] if one["type"] == "object")
    assert tuple(table["properties"]["columns"]["items"]["enum"]) == candidates.Column.__args__  # type: ignore[attr-defined]
