"""Names in the data of the shipped policies and of the library's that the catalog has not. An intent that was renamed has no entry of
its own any more: it goes by what is granted for its risk level, and nobody else has to approve it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from adapters.rego.reads import SETTINGS
from router.faults import Fault, Loc, suggestion
from router.policy.folder import PolicyFolder

EACH, EVERY = "*", "*"
# Where policies look up what the catalog names: keys of a mapping, items of a list, or a name. EACH is whatever stands there.
PLACES: Mapping[tuple[str, ...], str] = {
    ("access", "intents"): "intent",
    ("access", "routes"): "route",
    ("confidence", "intents"): "intent",
    ("confidence", "abstained", EACH): "route",
    ("signals", "uninspected_routes"): "route",
    ("signals", "mask", "destinations"): "destination",
    ("review", "exempt"): "intent",
    ("review", "reviewers", "destinations"): "destination",
    ("abac", "rules", EACH, "intents"): "intent",
    ("break_glass", "ask", "intents"): "intent",
    ("break_glass", "grants", EACH, "intents"): "intent",
    ("geo_isolation", "destinations"): "destination",
    ("geo_isolation", "everywhere"): "destination",
    ("pii_egress", "regions"): "destination",
    ("pii_egress", "rules", EACH, "destinations"): "destination",
    ("route_choice", "unsure", "routes"): "route",
    ("route_choice", "unsure", "routes", EACH): "route",
    ("separation_of_duties", "kept_from"): "intent",
    ("separation_of_duties", "second_person"): "intent",
    ("working_hours", "intents"): "intent",
}


def misnamed(folder: PolicyFolder, known: Mapping[str, Collection[str]]) -> Iterator[Fault]:
    """`known` has the catalog's names by what they are of."""
    for path, kind in PLACES.items():
        for loc, name in _names(folder.value(SETTINGS[1:]), path, SETTINGS[1:]):
            if name not in known[kind]:
                sentence = f"The catalog has no {kind} '{name}', so this has no effect.{suggestion(name, known[kind])}"
                yield folder.data_fault(loc, sentence)


def _names(data: Any, path: tuple[str, ...], at: Loc) -> Iterator[tuple[Loc, str]]:
    """With where each stands. In a list EVERY is no name."""
    within: Sequence[tuple[Any, Any]] = ()
    if isinstance(data, Mapping):
        within = list(data.items())
    elif isinstance(data, list):
        within = list(enumerate(data))
    if path:
        for key, value in within:
            if path[0] in (EACH, key):
                yield from _names(value, path[1:], (*at, key))
    elif isinstance(data, str):
        yield at, data
    else:
        named = ((key, key if isinstance(data, Mapping) else value) for key, value in within)
        yield from (((*at, key), name) for key, name in named if isinstance(name, str) and (name != EVERY or isinstance(data, Mapping)))
