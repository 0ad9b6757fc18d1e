"""What one model alone cannot see: whether the parts of a catalog fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from router.catalog import Destination, Intent, Match, Route, Rule
from router.config.blocks import OnAbstain
from router.faults import Document, Fault, Loc, suggestion
from router.validation import Model, validate

# The words of `on_abstain`, which a route's name must not look like.
RESERVED = ("clarify", "deny")


@dataclass(frozen=True, slots=True)
class Parts:
    """The entries of a catalog that are valid by themselves, so that one faulty entry does not hide what is wrong with the others."""

    document: Document
    routes: Mapping[str, Route]
    intents: Mapping[str, Intent]
    rules: Mapping[int, Rule]
    destinations: Mapping[str, Destination]

    def names(self, section: str) -> list[str]:
        """All names in a section, those of faulty entries included."""
        return [str(name) for name, _ in _entries(self.document, section)]

    def weights(self) -> list[str]:
        risk = dict(_entries(self.document, "risk")).get("weights")
        return list(risk) if isinstance(risk, dict) else []


def parts(document: Document) -> Parts:
    return Parts(
        document,
        routes=dict(_valid(document, "routes", Route)),
        intents=dict(_valid(document, "intents", Intent)),
        rules=dict(_valid(document, "rules", Rule)),
        destinations=dict(_valid(document, "destinations", Destination)),
    )


def check_references(catalog: Parts) -> Iterator[Fault]:
    fault = catalog.document.fault
    for name, route in catalog.routes.items():
        if name in RESERVED:
            yield fault(("routes", name), f"A route cannot be named '{name}'; that word means something else in 'on_abstain'.")
        yield from _known(catalog, "destination", route.destination, ("routes", name, "destination"))
        yield from _abstain_route(catalog, route.on_abstain, ("routes", name, "on_abstain"))
        for key, other in (("canary", route.canary), ("mirror", route.mirror)):
            if other is not None:
                yield from _second(catalog, name, route.destination, key, other.destination)
        if route.resume is not None:
            yield from _known(catalog, "destination", route.resume.destination, ("routes", name, "resume", "destination"))
            if route.resume.refused is not None:
                yield from _known(catalog, "destination", route.resume.refused, ("routes", name, "resume", "refused"))
        for place, alternative in enumerate(route.alternatives):
            yield from _known(catalog, "route", alternative, ("routes", name, "alternatives", place))
            if alternative == name:
                yield fault(("routes", name, "alternatives", place), f"The route '{name}' cannot be its own alternative.")
        if route.cors is not None and name not in ruled(catalog):
            sentence = f"No rule leads to the route '{name}', and a browser that asks about 'cors' shows nothing but method and path."
            yield fault(("routes", name, "cors"), sentence)
    for name, intent in catalog.intents.items():
        yield from _known(catalog, "route", intent.route, ("intents", name, "route"))
        yield from _abstain_route(catalog, intent.on_abstain, ("intents", name, "on_abstain"))
    for index, rule in catalog.rules.items():
        if rule.intent is not None:
            yield from _known(catalog, "intent", rule.intent, ("rules", index, "intent"))
        if rule.route is not None:
            yield from _known(catalog, "route", rule.route, ("rules", index, "route"))


def _second(catalog: Parts, route: str, first: str, key: str, second: str) -> Iterator[Fault]:
    loc: Loc = ("routes", route, key, "destination")
    yield from _known(catalog, "destination", second, loc)
    if second == first:
        yield catalog.document.fault(loc, f"The route '{route}' already leads to '{first}'; name another destination.")


def ruled(catalog: Parts) -> set[str]:
    """Routes that a rule leads to by method and path alone."""
    found: set[str] = set()
    for rule in catalog.rules.values():
        intent = catalog.intents.get(rule.intent or "")
        if not (rule.match.header or rule.match.values or rule.match.regex):
            found.add(rule.route or (intent.route if intent is not None else ""))
    return found


def check_rewrites(catalog: Parts) -> Iterator[Fault]:
    """A harmless text must not carry a path or method of the caller's choice to a service: where a request's words decide where it goes,
    the route says what is called there."""
    for name, places in _by_words(catalog).items():
        route = catalog.routes.get(name)
        missing = [] if route is None else [key for key in ("path", "method") if getattr(route, key) is None]
        if missing:
            sentence = f"The route '{name}' takes requests by their words ({places[0]}), so it needs {' and '.join(missing)} of its own."
            yield catalog.document.fault(("routes", name), sentence)


def _by_words(catalog: Parts) -> dict[str, list[str]]:
    """Routes that a classification or an abstention may choose, with who names them."""
    found: dict[str, list[str]] = {}
    for name, intent in catalog.intents.items():
        if intent.examples or intent.examples_file:
            found.setdefault(intent.route, []).append(f"intent {name}")
        if intent.on_abstain is not None and intent.on_abstain.route is not None:
            found.setdefault(intent.on_abstain.route, []).append(f"on_abstain of intent {name}")
    for name, route in catalog.routes.items():
        if route.on_abstain is not None and route.on_abstain.route is not None:
            found.setdefault(route.on_abstain.route, []).append(f"on_abstain of route {name}")
    return found


def check_names(catalog: Parts) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for index, rule in catalog.rules.items():
        line = catalog.document.line(("rules", index, "name"))
        if rule.name in seen:
            yield catalog.document.fault(
                ("rules", index, "name"), f"A rule named '{rule.name}' is already there on line {seen[rule.name]}."
            )
        seen.setdefault(rule.name, line)
    packages: dict[str, str] = {}
    for name in catalog.names("intents"):
        package = re.sub(r"\W", "_", name)
        if package in packages:
            sentence = f"The intents '{packages[package]}' and '{name}' would share the policy package 'lockgate.intents.{package}'."
            yield catalog.document.fault(("intents", name), sentence)
        packages.setdefault(package, name)


def check_reachable(catalog: Parts) -> Iterator[Fault]:
    """A rule all of whose requests an earlier rule takes is a mistake: it looks as if it did something."""
    earlier: list[tuple[int, Rule]] = []
    for index, rule in catalog.rules.items():
        taker = next(((place, other) for place, other in earlier if covers(other.match, rule.match)), None)
        if taker is not None:
            line = catalog.document.line(("rules", taker[0]))
            sentence = f"The rule '{rule.name}' can never match: '{taker[1].name}' on line {line} takes every request that it would."
            yield catalog.document.fault(("rules", index), sentence)
        earlier.append((index, rule))


def covers(first: Match, second: Match) -> bool:
    """Whether every request that `second` matches is matched by `first` too, as far as their conditions tell."""
    if first.method and not (second.method and set(second.method) <= set(first.method)):
        return False
    if first.path is not None and not (second.path is not None and _path_covers(first.path, second.path)):
        return False
    if first.regex is not None and first.regex != second.regex:
        return False
    return first.header.items() <= second.header.items() and first.values.items() <= second.values.items()


def _path_covers(first: str, second: str) -> bool:
    ours, theirs = first.strip("/").split("/"), second.strip("/").split("/")
    for place, part in enumerate(ours):
        if part.endswith("...}"):
            return True
        if place >= len(theirs) or theirs[place].endswith("...}"):
            return False
        if not part.startswith("{") and part != theirs[place]:
            return False
    return len(ours) == len(theirs)


def _known(catalog: Parts, kind: str, name: str, loc: Loc) -> Iterator[Fault]:
    names = catalog.names(kind + "s")
    if name not in names:
        yield catalog.document.fault(loc, f"There is no {kind} '{name}'.{suggestion(name, names)}")


def _abstain_route(catalog: Parts, choice: OnAbstain | None, loc: Loc) -> Iterator[Fault]:
    if choice is not None and choice.route is not None:
        yield from _known(catalog, "route", choice.route, loc)


def _valid(document: Document, section: str, model: type[Model]) -> Iterator[tuple[Any, Model]]:
    for key, value in _entries(document, section):
        part, _ = validate(model, document, (section, key), value)
        if part is not None:
            yield key, part


def _entries(document: Document, section: str) -> list[tuple[Any, Any]]:
    value = document.value.get(section) if isinstance(document.value, dict) else None
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []
