"""Deterministic rules: method, path, header, JSON and text conditions that name an intent, or say that none is needed.

The first rule in catalog order whose conditions all hold decides. A tree over path segments finds the few rules whose path can match, so
the cost follows the length of the path and not the number of rules. `missing` is three-valued logic: a condition on a body that was not
or could not be read neither holds nor fails, and stops the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2

from router.decision import BodyView, RuleMatch

Fields = Sequence[tuple[str, str]]


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


@dataclass(frozen=True, slots=True)
class Looked:
    """`match` decided; or, with `undecided`, an earlier rule's condition on the body could not be judged."""

    match: RuleMatch | None = None
    undecided: bool = False


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    single: _Node | None = None
    ends: list[int] = field(default_factory=list)
    rests: list[int] = field(default_factory=list)


class RuleIndex:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._regexes = {rule.regex: re2.compile(rule.regex) for rule in rules if rule.regex is not None}
        self._anywhere = [order for order, rule in enumerate(rules) if rule.path is None]
        self._root = _Node()
        for order, rule in enumerate(rules):
            if rule.path is not None:
                self._add(rule.path, order)

    def _add(self, path: str, order: int) -> None:
        node = self._root
        for segment in path.strip("/").split("/"):
            if segment.startswith("{") and segment.endswith("...}"):
                node.rests.append(order)
                return
            if segment.startswith("{"):
                node.single = node.single or _Node()
                node = node.single
            else:
                node = node.literal.setdefault(segment, _Node())
        node.ends.append(order)

    def look(self, method: str, path: str, headers: Fields, body: BodyView | None) -> Looked:
        """`body` None means that it has not been read yet; conditions on it are then undecided."""
        segments = path.strip("/").split("/")
        found = list(self._anywhere)
        _collect(self._root, segments, 0, found)
        for order in sorted(found):
            rule = self._rules[order]
            if not _head_matches(rule, method, headers):
                continue
            held = self._body_matches(rule, body) if rule.needs_body else True
            if held is None:
                return Looked(undecided=True)
            if held:
                return Looked(RuleMatch(rule.name, rule.intent, rule.route, _params(rule.path, segments)))
        return Looked()

    def _body_matches(self, rule: Rule, body: BodyView | None) -> bool | None:
        if body is None or body.truncated or body.problem is not None or _unread(body):
            return None
        for path, expected in rule.json:
            found = _at(body.json, path)
            if found != expected or isinstance(found, bool) is not isinstance(expected, bool):  # Python holds True for 1, JSON does not
                return False
        if rule.regex is None:
            return True
        return body.text is not None and self._regexes[rule.regex].search(body.text.encode("utf-8", "surrogatepass")) is not None


def _unread(body: BodyView) -> bool:
    """Of a kind that is not looked into: it may hold what the condition asks for under a name that hides it."""
    return bool(body.data) and body.text is None and body.json is None


def _collect(node: _Node, segments: Sequence[str], depth: int, found: list[int]) -> None:
    found.extend(node.rests)
    if depth == len(segments):
        found.extend(node.ends)
        return
    child = node.literal.get(segments[depth])
    if child is not None:
        _collect(child, segments, depth + 1, found)
    if node.single is not None and segments[depth]:
        _collect(node.single, segments, depth + 1, found)


def _head_matches(rule: Rule, method: str, headers: Fields) -> bool:
    if rule.methods and method not in rule.methods:
        return False
    return all(field in headers for field in rule.headers)


def _params(path: str | None, segments: Sequence[str]) -> Mapping[str, str]:
    if path is None or "{" not in path:
        return {}
    params: dict[str, str] = {}
    for place, segment in enumerate(path.strip("/").split("/")):
        if segment.endswith("...}"):
            params[segment[1:-4]] = "/".join(segments[place:])
        elif segment.startswith("{"):
            params[segment[1:-1]] = segments[place]
    return params


_ABSENT = object()


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        elif isinstance(document, dict):
            document = document.get(key, _ABSENT)
        else:
            return _ABSENT
    return document


def json_path(expression: str) -> tuple[str, ...]:
    """`$.a.b.0` as its keys."""
    return tuple(part for part in expression.removeprefix("$").split(".") if part)
