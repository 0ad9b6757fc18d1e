"""Which of the rules of one path may hold: those of a method by their headers, by their values in JSON, and by the words that their
expressions want. What is found holds all that match, and hardly more; whoever asks looks at each, in catalog order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import re2

from router.decision import BodyView
from router.stages.rule import Rule, at

Fields = Sequence[tuple[str, str]]
FEW = 4
"""So many are looked at one by one."""
TOGETHER = 1000
"""Expressions whose words are looked for in one pass of the text, where RE2 has room for them."""
END = b"\x00end of text\x00"


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
        starts = range(0, len(expressions), TOGETHER)
        self._expressions = [part for at in starts for part in _parts(rules, expressions[at : at + TOGETHER])]

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
        if self._expressions and body.text is not None:
            text = body.text.encode("utf-8", "surrogatepass") + END
            for part in self._expressions:
                part.find(text, found)


def _takes(rule: Rule, method: str) -> bool:
    return not rule.methods or method in rule.methods


def _first_hashable(rule: Rule) -> tuple[tuple[str, ...], Any] | None:
    return next(((path, value) for path, value in rule.json if not isinstance(value, (list, dict))), None)


def _kind(value: Any) -> tuple[bool, Any]:
    """Python holds True for 1, JSON does not."""
    return isinstance(value, bool), value


class _Expressions:
    """Most of them want words that a text lacks: RE2 finds in one pass which words are there, and so which expressions may hold. Those that
    want none may always."""

    def __init__(self, rules: Sequence[Rule], orders: Sequence[int]) -> None:
        """Raises `re2.error` where RE2 has no room for so many words."""
        self._orders = orders
        self._filter = re2.Filter()
        for order in orders:
            self._filter.Add(rules[order].regex)
        self._filter.Add(END)
        self._filter.Compile()

    def find(self, text: bytes, found: list[int]) -> None:
        """`text` has END at its end: the pass may run out of memory, and finds nothing then, without a word, so it has to find that."""
        places = self._filter.Match(text, True)  # which may, not which do
        if not places or places[-1] != len(self._orders):
            found.extend(self._orders)
            return
        found.extend(self._orders[place] for place in places[:-1])


class _Wordless:
    """An expression with more words than RE2 has room for: it may always hold."""

    def __init__(self, orders: Sequence[int]) -> None:
        self._orders = orders

    def find(self, text: bytes, found: list[int]) -> None:
        found.extend(self._orders)


def _parts(rules: Sequence[Rule], orders: Sequence[int]) -> Iterator[_Expressions | _Wordless]:
    """As few as RE2 has room for."""
    try:
        yield _Expressions(rules, orders)
    except re2.error:
        if len(orders) == 1:
            yield _Wordless(orders)
            return
        half = len(orders) // 2
        yield from _parts(rules, orders[:half])
        yield from _parts(rules, orders[half:])
