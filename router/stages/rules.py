"""Deterministic rules: method, path, header, JSON and text conditions that name an intent, or say that none is needed.

The first rule in catalog order whose conditions all hold decides. A tree over path segments finds the few rules whose path can match, and
of those with one path, or none, `rule_buckets` finds what may hold, so that the cost hardly follows the number of rules. `missing` is
three-valued logic: a condition on a body that was not or could not be read neither holds nor fails, and stops the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import re2

from router.decision import BodyView, RuleMatch
from router.stages.rule import Rule, at
from router.stages.rule_buckets import Fields, Methods


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
    ending: Methods | None = None
    resting: Methods | None = None

    def finish(self, rules: Sequence[Rule]) -> None:
        self.ending = Methods(rules, self.ends) if self.ends else None
        self.resting = Methods(rules, self.rests) if self.rests else None
        for child in (*self.literal.values(), *([self.single] if self.single is not None else ())):
            child.finish(rules)


class RuleIndex:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._regexes = {rule.regex: re2.compile(rule.regex) for rule in rules if rule.regex is not None}
        anywhere = [order for order, rule in enumerate(rules) if rule.path is None]
        self._anywhere = Methods(rules, anywhere) if anywhere else None
        self._root = _Node()
        for order, rule in enumerate(rules):
            if rule.path is not None:
                self._add(rule.path, order)
        self._root.finish(rules)

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
        buckets: list[Methods] = [] if self._anywhere is None else [self._anywhere]
        _collect(self._root, segments, 0, buckets)
        readable = None if body is None or body.truncated or body.problem is not None or _unread(body) else body
        found: list[int] = []
        for methods in buckets:
            methods.of(method).find(headers, readable, found)
        for order in sorted(found):
            rule = self._rules[order]
            if not _head_matches(rule, method, headers):
                continue
            if not rule.needs_body or (readable is not None and self._body_matches(rule, readable)):
                return Looked(RuleMatch(rule.name, rule.intent, rule.route, _params(rule.path, segments)))
            if readable is None:
                return Looked(undecided=True)
        return Looked()

    def _body_matches(self, rule: Rule, body: BodyView) -> bool:
        for path, expected in rule.json:
            found = at(body.json, path)
            if found != expected or isinstance(found, bool) is not isinstance(expected, bool):  # Python holds True for 1, JSON does not
                return False
        if rule.regex is None:
            return True
        return body.text is not None and self._regexes[rule.regex].search(body.text.encode("utf-8", "surrogatepass")) is not None


def _unread(body: BodyView) -> bool:
    """Of a kind that is not looked into: it may hold what the condition asks for under a name that hides it."""
    return bool(body.data) and body.text is None and body.json is None


def _collect(node: _Node, segments: Sequence[str], depth: int, found: list[Methods]) -> None:
    if node.resting is not None:
        found.append(node.resting)
    if depth == len(segments):
        if node.ending is not None:
            found.append(node.ending)
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
