"""Names in the shipped policies' data that the catalog has not: an intent that was renamed has no entry of its own any more, and goes by
what is granted for its risk level."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from adapters.rego.reads import SETTINGS
from router.faults import Fault, Loc, suggestion
from router.policy.folder import PolicyFolder

# Where the shipped policies look up what the catalog names; keys of a mapping, or items of a list.
PLACES: Mapping[tuple[str, ...], str] = {
    ("access", "intents"): "intent",
    ("access", "routes"): "route",
    ("confidence", "intents"): "intent",
    ("signals", "uninspected_routes"): "route",
    ("signals", "mask", "destinations"): "destination",
    ("review", "exempt"): "intent",
    ("review", "reviewers", "destinations"): "destination",
}


def misnamed(folder: PolicyFolder, known: Mapping[str, Collection[str]]) -> Iterator[Fault]:
    """`known` has the catalog's names by what they are of."""
    for path, kind in PLACES.items():
        for loc, name in _names(folder, (*SETTINGS[1:], *path)):
            if name not in known[kind]:
                sentence = f"The catalog has no {kind} '{name}', so this has no effect.{suggestion(name, known[kind])}"
                yield folder.data_fault(loc, sentence)


def _names(folder: PolicyFolder, path: Loc) -> Iterator[tuple[Loc, str]]:
    data = folder.value(path)
    if isinstance(data, Mapping):
        yield from (((*path, name), name) for name in data)
    elif isinstance(data, list):
        yield from (((*path, place), name) for place, name in enumerate(data) if isinstance(name, str))
