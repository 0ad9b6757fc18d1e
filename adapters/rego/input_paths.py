"""What policies read of the input, held to the JSON Schema of what they are told: a path that is never there is always undefined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters.rego.check import reached
from adapters.rego.reads import Place, places
from adapters.rego.syntax import Module, Path
from router.faults import Fault, suggestion

ADMISSION: Path = ("data", "lockgate", "admission", "result")
HEADERS: Path = ("request", "headers")
Schema = Mapping[str, Any]


def input_faults(modules: Sequence[Module], schema: Schema) -> list[Fault]:
    """Paths that no document of `schema` can have, and texts that are never there."""
    return [Fault(each.file, each.line, sentence) for each in places(modules) if (sentence := _fault(each, schema)) is not None]


def too_early(modules: Sequence[Module], schema: Schema) -> list[Fault]:
    """Paths that the rules of admission read, and that are known only after it. Undefined at admission, they may be meant so."""
    rules = reached(modules, ADMISSION)
    admission = schema["$defs"]["admission"]
    early = (each for each in places(modules) if each.rule in rules and each.text is None and _fault(each, schema) is None)
    return [
        Fault(each.file, each.line, f"Admission comes before 'input.{'.'.join(each.path)}' is known, which is undefined there.")
        for each in early
        if _missing(each.path, schema, admission) is not None
    ]


def _fault(place: Place, schema: Schema) -> str | None:
    found = _missing(place.path, schema, schema)
    if found is not None:
        depth, known = found
        wrong, near = ".".join(place.path[: depth + 1]), suggestion(place.path[depth], known)
        return f"The input never has 'input.{wrong}'.{near}"
    if place.text is not None:
        return _never(place.path, place.text, schema)
    if place.path[:2] == HEADERS and len(place.path) > 2 and place.path[2] != place.path[2].lower():
        return f"The input never has the header '{place.path[2]}': names are in lower case."
    return None


def _missing(path: Path, schema: Schema, root: Schema) -> tuple[int, frozenset[str]] | None:
    """Where the path leaves what the schema describes, and the names that it describes there; None where it does not."""
    for depth in range(len(path)):
        if not _at(path[: depth + 1], schema, root):
            return depth, frozenset(name for node in _at(path[:depth], schema, root) for name in node.get("properties", ()))
    return None


def _never(path: Path, text: str, schema: Schema) -> str | None:
    """A value that is none of those that the path can have, where they are listed."""
    values: set[Any] = set()
    for node in _at(path, schema, schema):
        if "enum" not in node and "const" not in node:
            return None
        values.update(node.get("enum", [node.get("const")]))
    return None if text in values else f"'input.{'.'.join(path)}' is never '{text}'.{suggestion(text, [str(each) for each in values])}"


def _at(path: Path, schema: Schema, root: Schema) -> list[Schema]:
    """What the schema says of a path; nothing where it describes none."""
    nodes = list(_meant(root, schema))
    for part in path:
        nodes = [found for node in nodes for child in _below(node, part) for found in _meant(child, schema)]
    return nodes


def _meant(node: Schema, schema: Schema) -> Iterator[Schema]:
    """The node itself, or those that it stands for."""
    others = [*node.get("oneOf", ()), *node.get("anyOf", ())]
    if "$ref" in node:
        target: Any = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        others.append(target)
    if not others:
        yield node
    for each in others:
        yield from _meant(each, schema)


def _below(node: Schema, part: str) -> Iterator[Schema]:
    if part in node.get("properties", ()):
        yield node["properties"][part]
    elif node.get("type", "object") == "object" and "enum" not in node and "const" not in node:
        more = node.get("additionalProperties", True)
        if more is not False:
            yield more if isinstance(more, dict) else {}
