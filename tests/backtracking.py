"""The steps that an engine like `re`'s takes over a text: as it backtracks, a pattern may read what follows anew from every character.

Counted, and not timed, so that a busy machine changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _compiler, _parser  # type: ignore[attr-defined]  # a pattern's parsed form is nowhere public
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

SHORT, LONG = 48, 192
LINEAR = 6.0  # between four and sixteen times the steps for four times the text
_WORD = re.compile(r"\b")
_NEW_LINE = ("\n", b"\n")
_KINDS = {op.CATEGORY_DIGIT: "7", op.CATEGORY_SPACE: " ", op.CATEGORY_WORD: "x", op.CATEGORY_NOT_WORD: "-"}
_CHARACTER = (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY)


class Backtracking:
    """Searches as `finditer` does, for patterns that name no group again. `steps` are those of the last search."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        self._parsed = _parser.parse(pattern.pattern, pattern.flags)
        self._flags = pattern.flags
        self._characters: dict[int, re.Pattern[Any]] = {}
        self._text: Any = ""
        self.steps = 0

    def spans(self, text: str | bytes) -> list[tuple[int, int]]:
        self._text, self.steps = text, 0
        found, start = list[tuple[int, int]](), 0
        while start <= len(text):
            end = next(self._ends(self._parsed, 0, start), None)
            if end is not None:
                found.append((start, end))
            start = start + 1 if end is None or end == start else end
        return found

    def _ends(self, items: Any, number: int, place: int) -> Iterator[int]:
        """Where what is left of `items` may end that begins at `place`, in the engine's order."""
        if number == len(items):
            yield place
            return
        for end in self._one(items[number], place):
            yield from self._ends(items, number + 1, end)

    def _one(self, item: Any, place: int) -> Iterator[int]:
        self.steps += 1
        code, told = item
        if code in _CHARACTER:
            if self._character(item).match(self._text, place):
                yield place + 1
        elif code is op.SUBPATTERN:
            yield from self._ends(told[3], 0, place)
        elif code is op.BRANCH:
            for each in told[1]:
                yield from self._ends(each, 0, place)
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT):
            yield from self._repeated(*told, place, lazy=code is op.MIN_REPEAT)
        elif code in (op.ASSERT, op.ASSERT_NOT):
            start = place if told[0] > 0 else place - told[1].getwidth()[0]
            if (start >= 0 and any(True for _ in self._ends(told[1], 0, start))) is (code is op.ASSERT):
                yield place
        elif self._anchored(told, place):
            yield place

    def _repeated(self, least: int, most: int, inner: Any, place: int, *, lazy: bool) -> Iterator[int]:
        if lazy and least <= 0:
            yield place
        if most > 0:
            for end in self._ends(inner, 0, place):
                if end > place:
                    yield from self._repeated(least - 1, most - 1, inner, end, lazy=lazy)
        if not lazy and least <= 0:
            yield place

    def _anchored(self, at: Any, place: int) -> bool:
        lines = self._flags & re.MULTILINE
        if at is op.AT_BEGINNING:
            return place == 0 or bool(lines and self._text[place - 1 : place] in _NEW_LINE)
        if at is op.AT_END:
            return place == len(self._text) or (self._text[place : place + 1] in _NEW_LINE and bool(lines or place + 1 == len(self._text)))
        if at is op.AT_BOUNDARY:
            return _WORD.match(self._text, place) is not None
        raise NotImplementedError(at)

    def _character(self, item: Any) -> re.Pattern[Any]:
        known = self._characters.get(id(item))
        if known is None:
            known = self._characters[id(item)] = _compiler.compile(_parser.SubPattern(self._parsed.state, [item]), self._flags)
        return known


def growth(pattern: re.Pattern[Any], text: str) -> float:
    """How many times the steps of a text of SHORT characters one of LONG takes, both of nothing but `text`, again and again; four where
    it is linear, sixteen where it is quadratic. Raises AssertionError where `re` itself finds something else."""
    counted, steps = Backtracking(pattern), list[int]()
    for length in (SHORT, LONG):
        written = (text * length)[:length]
        whole = written.encode("latin-1") if isinstance(pattern.pattern, bytes) else written
        assert counted.spans(whole) == [each.span() for each in pattern.finditer(whole)]
        steps.append(counted.steps)
    return steps[1] / steps[0]


def named(pattern: re.Pattern[Any]) -> set[str]:
    """The characters and words that stand in a pattern, and one of each kind that it takes: what it reads for long, if anything."""
    return set(_named(_parser.parse(pattern.pattern, pattern.flags)))


def _named(items: Any) -> Iterator[str]:
    word = ""
    for code, told in items:
        if code is op.LITERAL:
            word += chr(told)
            yield chr(told)
            continue
        yield from (word,) if word else ()
        word = ""
        if code is op.IN:
            yield from (_KINDS.get(each, "x") if kind is op.CATEGORY else chr(each) for kind, each in _members(told))
        elif code in (op.ANY, op.NOT_LITERAL):
            yield "x"
        elif code is op.BRANCH:
            yield from (each for inner in told[1] for each in _named(inner))
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT, op.SUBPATTERN, op.ASSERT, op.ASSERT_NOT):
            yield from _named(told[-1])
    yield from (word,) if word else ()


def _members(told: Any) -> Iterator[tuple[Any, Any]]:
    """Of a set: each character, the first one of each range, and what stands for many; what is not in it has `x`, mostly."""
    for kind, each in told:
        if kind is op.NEGATE:
            yield op.LITERAL, ord("x")
        else:
            yield kind, each[0] if kind is op.RANGE else each
