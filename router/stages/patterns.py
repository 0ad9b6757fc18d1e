"""Named RE2 expressions that are searched for all at once: one pass over the text says which of them occur, and only those are looked for.

RE2 runs in linear time whatever the text. Expressions read folded text (see `folding`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import re2

Place = tuple[int, int]
# From the place that an expression found to the places that hold: none where a check fails, several where one stretch holds several.
Verify = Callable[[bytes, int, int], Sequence[Place]]


class Hit(NamedTuple):
    """Bytes `start` to `end` of the folded text are a `name`."""

    name: str
    label: str
    start: int
    end: int


def accept(_data: bytes, start: int, end: int) -> Sequence[Place]:
    return ((start, end),)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`label` replaces the place when it is masked. A group in the expression, where there is one, is the place."""

    name: str
    label: str
    expression: bytes
    verify: Verify = accept


def options() -> re2.Options:
    chosen = re2.Options()
    chosen.encoding = re2.Options.Encoding.LATIN1
    chosen.log_errors = False
    return chosen


def search_set(expressions: Sequence[bytes]) -> re2.Set:
    found = re2.Set.SearchSet(options())
    for expression in expressions:
        found.Add(expression)
    found.Compile()
    return found


class Patterns:
    """Patterns in order of precedence: a place inside of what earlier ones took is left out unless `nested` says to keep it."""

    def __init__(self, patterns: Sequence[Pattern], nested: bool = False) -> None:
        self._patterns = tuple(patterns)
        self._nested = nested
        self._expressions = [re2.compile(pattern.expression, options()) for pattern in patterns]
        self._any = search_set([pattern.expression for pattern in patterns])

    @property
    def names(self) -> frozenset[str]:
        """Of all that may be found."""
        return frozenset(pattern.name for pattern in self._patterns)

    def named(self, data: bytes) -> set[str]:
        """Names of the patterns that occur, for who does not ask where; of patterns that verify nothing."""
        return {self._patterns[number].name for number in self._any.Match(data) or ()}

    def find(self, data: bytes) -> list[Hit]:
        matched = self._any.Match(data)
        if not matched:
            return []
        hits: list[Hit] = []
        taken = bytearray(len(data))
        for number in sorted(matched):
            for hit in self._hits(number, data):
                if self._nested or 0 in taken[hit.start : hit.end]:
                    taken[hit.start : hit.end] = b"\x01" * (hit.end - hit.start)
                    hits.append(hit)
        return hits

    def _hits(self, number: int, data: bytes) -> Iterator[Hit]:
        pattern, expression = self._patterns[number], self._expressions[number]
        group = 1 if expression.groups else 0
        for match in expression.finditer(data):
            for start, end in pattern.verify(data, *match.span(group)):
                yield Hit(pattern.name, pattern.label, start, end)
