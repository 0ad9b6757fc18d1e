"""Obligations that are written out in policies, held to what this version can do: one that it cannot denies every request it is put on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adapters.rego.syntax import Node
from router.errors import PolicyError
from router.faults import Fault
from router.obligations import KINDS, read

SHAPE = {"name", "params"}
UNKNOWN = object()  # a part that is not written out


def duty_faults(trees: Iterable[Node]) -> list[Fault]:
    """`trees` are the interpreter's syntax trees. Objects with nothing but a name and params are taken for obligations; of params only
    those are judged that are written out whole."""
    found = [Fault(tree["source"]["file"], line, sentence) for tree in trees for line, sentence in _wrong(tree["ast"]["rules"])]
    return sorted(set(found))


def _wrong(node: Any) -> Iterator[tuple[int, str]]:
    if isinstance(node, list):
        for item in node:
            yield from _wrong(item)
    elif isinstance(node, dict):
        for kind, value in node.items():
            if kind == "Object" and isinstance(value, dict) and (sentence := _sentence(_members(value))) is not None:
                yield value["span"]["line"], sentence
            yield from _wrong(value)


def _sentence(members: Mapping[Any, Any]) -> str | None:
    name, params = members.get("name"), members.get("params")
    if members.keys() != SHAPE or not isinstance(name, str):
        return None
    if name not in KINDS:
        return f"There is no obligation '{name[:64]}'; there are {', '.join(KINDS)}."
    if not isinstance(params, dict):
        return None
    try:
        read(name, params)
    except PolicyError:
        return f"The params of the obligation '{name}' are not as they are described."
    return None


def _members(value: Node) -> dict[Any, Any]:
    """By key; what is not written out is `UNKNOWN`."""
    return {_key(key): _value(member) for _, key, member in value["fields"]}


def _key(node: Node) -> Any:
    found = _value(node)
    return found if isinstance(found, str) else UNKNOWN


def _value(node: Node) -> Any:
    (kind, value), *_ = node.items()
    if kind in ("String", "RawString", "Number", "Bool"):
        return value["value"]
    if kind == "Null":
        return None
    if kind == "Array":
        items = [_value(item) for item in value["items"]]
        return UNKNOWN if UNKNOWN in items else items
    if kind == "Object":
        members = _members(value)
        return UNKNOWN if UNKNOWN in members or UNKNOWN in members.values() else members
    return UNKNOWN
