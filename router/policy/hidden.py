"""Header fields that policies read and are never shown: to them such a field is never there, so a rule about it never holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from adapters.rego.reads import SETTINGS, named_by, places
from adapters.rego.syntax import Module
from router.faults import Fault
from router.policy.folder import PolicyFolder

HEADERS = ("request", "headers")


def hidden(folder: PolicyFolder, modules: Sequence[Module], visible: Collection[str]) -> Iterator[Fault]:
    """Each name once: where it is written out in a policy, or in the data from which a policy takes it."""
    found: dict[str, Fault] = {}
    for place in places(modules):
        if place.path[:2] == HEADERS and len(place.path) > len(HEADERS):
            found.setdefault(place.path[2], Fault(place.file, place.line, _sentence(place.path[2])))
    for setting in sorted(named_by(modules, HEADERS)):
        name = folder.value(setting[1:]) if setting[: len(SETTINGS)] == SETTINGS else None
        if isinstance(name, str):
            found.setdefault(name, folder.data_fault(setting[1:], _sentence(name)))
    yield from (fault for name, fault in found.items() if name not in visible)


def _sentence(name: str) -> str:
    return f"The header field '{name}' is not in 'gateway.forward_headers', so to the policies it is never there; name it there, too."
