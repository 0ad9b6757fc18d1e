"""Header fields that policies read and are never shown: to them such a field is never there, so a rule about it never holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from adapters.rego.reads import SETTINGS, named_by, places
from adapters.rego.syntax import Module
from router.faults import Fault
from router.policy.folder import PolicyFolder

HEADERS = ("request", "headers")
GET = ("object", "get")


def hidden(folder: PolicyFolder, modules: Sequence[Module], visible: Collection[str]) -> Iterator[Fault]:
    """Each name once: where it is written out in a policy, or in the data from which a policy takes it."""
    found: dict[str, Fault] = {}
    for place in places(modules):
        if place.path[:2] == HEADERS and len(place.path) > len(HEADERS):
            found.setdefault(place.path[2], Fault(place.file, place.line, _sentence(place.path[2])))
    for fault, gotten in _gotten(modules):
        found.setdefault(gotten, fault)
    for setting in sorted(named_by(modules, HEADERS)):
        name = folder.value(setting[1:]) if setting[: len(SETTINGS)] == SETTINGS else None
        if isinstance(name, str):
            found.setdefault(name, folder.data_fault(setting[1:], _sentence(name)))
    yield from (fault for name, fault in found.items() if name not in visible)


def _gotten(modules: Sequence[Module]) -> Iterator[tuple[Fault, str]]:
    """By `object.get`, of the fields, of the request or of all, under whatever name a function has it."""
    for module in modules:
        aliases = {each.alias: each.path for each in module.imports}
        for call in (call for rule in module.rules for call in rule.uses.calls if call.name == GET):
            of = call.given[0].path if call.given and call.given[0] is not None else ()
            keys = call.keys or ((call.key,) if call.key is not None else ())
            path = (*aliases.get(of[0], of[:1]), *of[1:], *keys) if of and keys else ()
            if path[-3:-1] == HEADERS:
                yield Fault(module.file, call.line, _sentence(path[-1])), path[-1]


def _sentence(name: str) -> str:
    if name != name.lower():
        return f"The names of header fields are in lower case, so '{name}' is never there; write '{name.lower()}'."
    return f"The header field '{name}' is not in 'gateway.forward_headers', so to the policies it is never there; name it there, too."
