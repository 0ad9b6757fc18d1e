"""Where a policy's reason comes from. Engines give codes and no places, so the place is found by the code in the policies' text: a rule
that writes its code out is found, one that puts it together is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HEAD = re.compile(r"^[a-z_]")
MOST_LINES = 24


@dataclass(frozen=True, slots=True)
class Place:
    """A rule: `line` is its first, from 1; `hit` the line in it that has the code."""

    file: str
    line: int
    hit: int
    text: tuple[str, ...]


def places(policies: Mapping[str, str], code: str, effect: str) -> list[Place]:
    """Of this reason, rules that lead to the effect first, and where there are such no others."""
    found = [place for file, text in sorted(policies.items()) for place in _in_file(file, text, f'"{code}"')]
    leading = [place for place in found if re.match(rf"{effect}\b", place.text[0])]
    return leading or found


def _in_file(file: str, text: str, written: str) -> Iterator[Place]:
    if written not in text:
        return
    lines, told = text.splitlines(), set[int]()
    for number, line in enumerate(lines):
        if written in line and not line.lstrip().startswith("#"):
            start = next((at for at in range(number, -1, -1) if HEAD.match(lines[at])), number)
            if start not in told:
                told.add(start)
                yield Place(file, start + 1, number + 1, tuple(lines[start : _end(lines, start) + 1]))


def _end(lines: list[str], start: int) -> int:
    """Of the rule: where its brackets are closed, or before the next."""
    for at in range(start, min(len(lines), start + MOST_LINES)):
        if at > start and HEAD.match(lines[at]):
            return at - 1
        if lines[at].startswith("}") or (at == start and not lines[at].rstrip().endswith(("{", "[", "("))):
            return at
    return min(len(lines), start + MOST_LINES) - 1
