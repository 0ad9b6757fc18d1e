"""Which of the rules of one path may hold: those of a method by their headers, by their values in JSON, and by their expressions in groups
of which most are passed over at once. What is found holds all that match, and hardly more; whoever asks looks at each, in catalog order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import re2

from router.decision import BodyView
from router.stages.rule import Rule, at

Fields = Sequence[tuple[str, str]]
FEW = 4
"""So many are looked at one by one."""
TOGETHER, APART = 64, 8
"""Expressions of a group, and of its parts. RE2 looks for all of a group in one pass of the text, while the group's automaton is small."""
Search = Callable[[bytes], Any]


class Methods:
    """Rules of one path, for each method that any of them names and for all others."""

    def __init__(self, rules: Sequence[Rule], orders: Sequence[int]) -> None:
        named = frozenset[str]().union(*(rules[order].methods for order in orders))
        self._named = {method: Bucket(rules, [order for order in orders if _takes(rules[order], method)]) for method in named}
        self._other = Bucket(rules, [order for order in orders if not rules[order].methods])

    def of(self, method: str) -> Bucket:
        return self._named.get(method, self._other)


class Bucket:
    """`orders` are the places of its rules in the catalog, rising."""

    def __init__(self, rules: Sequence[Rule], orders: Sequence[int]) -> None:
        self._few = tuple(orders) if len(orders) <= FEW else None
        self._always: list[int] = []
        self._unread: list[int] = []  # need a body, and no header of their own
        self._headers: dict[tuple[str, str], list[int]] = {}
        self._values: dict[tuple[str, ...], dict[Any, list[int]]] = {}
        expressions: list[int] = []
        for order in orders if self._few is None else ():
            rule = rules[order]
            if rule.headers:
                self._headers.setdefault(rule.headers[0], []).append(order)
                continue
            if not rule.needs_body:
                self._always.append(order)
                break  # it holds for all that come here, and those after it for none
            self._unread.append(order)
            if (path := _first_hashable(rule)) is not None:
                self._values.setdefault(path[0], {}).setdefault(_kind(path[1]), []).append(order)
            elif rule.regex is not None:
                expressions.append(order)
            else:
                self._always.append(order)
        self._groups = list(_groups(rules, expressions, TOGETHER))

    def find(self, headers: Fields, body: BodyView | None, found: list[int]) -> None:
        """Adds those that may hold. `body` is None where nobody can say what is in it: then all that ask for something there may."""
        if self._few is not None:
            found.extend(self._few)
            return
        found.extend(self._always)
        if self._headers:
            for field in headers:
                found.extend(self._headers.get(field, ()))
        if body is None:
            found.extend(self._unread)
            return
        for path, values in self._values.items():
            value = at(body.json, path)
            if isinstance(value, (str, int, float, bool)) or value is None:
                found.extend(values.get(_kind(value), ()))
        if self._groups and body.text is not None:
            text = body.text.encode("utf-8", "surrogatepass")
            for group in self._groups:
                group.find(text, found)


def _takes(rule: Rule, method: str) -> bool:
    return not rule.methods or method in rule.methods


def _first_hashable(rule: Rule) -> tuple[tuple[str, ...], Any] | None:
    return next(((path, value) for path, value in rule.json if not isinstance(value, (list, dict))), None)


def _kind(value: Any) -> tuple[bool, Any]:
    """Python holds True for 1, JSON does not."""
    return isinstance(value, bool), value


class _Group:
    """Expressions of which most texts hold none. Where a text does, smaller groups tell which."""

    def __init__(self, rules: Sequence[Rule], orders: Sequence[int], search: Search) -> None:
        self._search = search
        self._orders = orders
        self._parts = list(_groups(rules, orders, APART)) if len(orders) > APART else None

    def find(self, text: bytes, found: list[int]) -> None:
        if self._search(text) is None:
            return
        if self._parts is None:
            found.extend(self._orders)
            return
        for part in self._parts:
            part.find(text, found)


def _groups(rules: Sequence[Rule], orders: Sequence[int], size: int) -> Iterator[_Group]:
    for start in range(0, len(orders), size):
        yield from _grouped(rules, orders[start : start + size])


def _grouped(rules: Sequence[Rule], orders: Sequence[int]) -> Iterator[_Group]:
    """Smaller ones where they are too large for one automaton, or names of groups clash."""
    quiet = re2.Options()
    quiet.log_errors = False
    try:
        search = re2.compile("|".join(f"(?:{rules[order].regex})" for order in orders), quiet).search
    except re2.error:
        if len(orders) == 1:
            raise
        half = len(orders) // 2
        yield from _grouped(rules, orders[:half])
        yield from _grouped(rules, orders[half:])
    else:
        yield _Group(rules, orders, search)
