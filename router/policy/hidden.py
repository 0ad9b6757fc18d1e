"""Header fields that policies read and are never shown: to them such a field is never there, so a rule about it never holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from adapters.rego.reads import SETTINGS, named_by, places
from adapters.rego.syntax import Module
from router.faults import Document, Fault
from router.policy.folder import PolicyFolder

HEADERS = ("request", "headers")


def hidden(folder: PolicyFolder, modules: Sequence[Module], visible: Collection[str]) -> Iterator[Fault]:
    """Each name once: where it is written out in a policy, or in the data from which a policy takes it."""
    found: dict[str, Fault] = {}
    for place in places(modules):
        if place.path[:2] == HEADERS and len(place.path) > len(HEADERS):
            found.setdefault(place.path[2], Fault(place.file, place.line, _sentence(place.path[2])))
    for setting in sorted(named_by(modules, HEADERS)):
        name = _value(folder.data, setting[1:]) if setting[: len(SETTINGS)] == SETTINGS else None
        if isinstance(name, str):
            found.setdefault(name, _at(folder, setting[1:], _sentence(name)))
    yield from (fault for name, fault in found.items() if name not in visible)


def _sentence(name: str) -> str:
    return f"The header field '{name}' is not in 'gateway.forward_headers', so to the policies it is never there; name it there, too."


def _value(data: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = data
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _at(folder: PolicyFolder, path: tuple[str, ...], sentence: str) -> Fault:
    """In the document that has it, of several."""
    with_it = (each for each in folder.documents if _value(each.value, path) is not None)
    return next(with_it, Document(folder.data_file, None)).fault(path, sentence)
