"""Faults in configuration files: where each is, and one plain sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    file: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file. `lines` gives the 1-based line of each node; `written` the text of scalars that held a `${NAME}`,
    `unset` where such a scalar could not be filled in."""

    file: str
    value: Any
    lines: Mapping[Loc, int] = field(default_factory=dict)
    written: Mapping[Loc, str] = field(default_factory=dict)
    unset: frozenset[Loc] = frozenset()

    def line(self, loc: Loc) -> int:
        """The line of the nearest node that is really there. Parts of `loc` that name no node (union members) are passed over."""
        found = self.real(loc)
        return self.lines.get(found, 1)

    def real(self, loc: Loc) -> Loc:
        path: Loc = ()
        for part in loc:
            if (*path, part) in self.lines:
                path = (*path, part)
        return path

    def fault(self, loc: Loc, sentence: str) -> Fault:
        return Fault(self.file, self.line(loc), sentence)

    def at(self, loc: Loc) -> Any:
        value = self.value
        for part in self.real(loc):
            value = value[part]
        return value


def dotted(loc: Iterable[str | int]) -> str:
    """`('rules', 2, 'when')` is `rules[2].when`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def suggestion(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or what there is to choose from, or nothing."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known here: {', '.join(names)}." if 0 < len(names) <= 12 else ""
