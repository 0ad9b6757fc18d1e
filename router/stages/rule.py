"""A rule of the catalog, and what its conditions name in a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Rule:
    """`path` is a template: `{name}` stands for one segment, a final `{name...}` for all the rest. `json` maps `$.a.b` to its value."""

    name: str
    intent: str | None = None
    route: str | None = None
    methods: frozenset[str] = frozenset()
    path: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    json: tuple[tuple[tuple[str, ...], Any], ...] = ()
    regex: str | None = None

    @property
    def needs_body(self) -> bool:
        return bool(self.json) or self.regex is not None


def at(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        elif isinstance(document, dict):
            document = document.get(key, ABSENT)
        else:
            return ABSENT
    return document


def json_path(expression: str) -> tuple[str, ...]:
    """`$.a.b.0` as its keys."""
    return tuple(part for part in expression.removeprefix("$").split(".") if part)
