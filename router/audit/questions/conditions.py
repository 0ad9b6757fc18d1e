"""Conditions on records as values. A condition is true, false, or unknown where a column is NULL; only what is true is found.

There is no NOT: `negated` carries it down to the comparisons (De Morgan's laws hold in three-valued logic too), where the negation of
what is unknown stays unknown. So a store only ever has to know where a condition is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from router.audit.questions.columns import COLUMNS, MILLIONTHS, RECORD, Kind, nanoseconds

Value = str | int
OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@dataclass(frozen=True, slots=True)
class Compare:
    """`operator`: = <> < <= > >=. `value` is as the column's kind keeps it."""

    column: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Among:
    column: str
    values: tuple[Value, ...]
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Like:
    """`%` any text, `_` one character; capitals matter, as in standard SQL."""

    column: str
    pattern: str
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Null:
    column: str
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Every:
    """Of none: true."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple[Condition, ...]


Test = Compare | Among | Like | Null
Condition = Test | Every | Some
Plain = tuple[str, str, Any]
"""(column, one of = <> < <= > >=, value as people read it: a time in RFC 3339, a score from 0 to 1)"""
Asked = Condition | Sequence[Plain]
"""A condition, or plain comparisons all of which must hold."""


def condition(asked: Asked) -> Condition:
    """Raises ValueError for a column or an operator that there is not."""
    return asked if isinstance(asked, Test | Every | Some) else every(map(_plain, asked))


def _plain(asked: Plain) -> Condition:
    name, operator, value = asked
    if operator not in OPPOSITE:
        raise ValueError(f"unknown operator {operator}")
    if name == RECORD.name:
        return Compare(name, operator, value)
    if name not in COLUMNS:
        raise ValueError(f"unknown column {name}")
    kind = COLUMNS[name].kind
    if kind is Kind.TIME:
        value = nanoseconds(value)
    return Compare(name, operator, round(value * MILLIONTHS) if kind is Kind.SCORE else value)


def negated(condition: Condition) -> Condition:
    match condition:
        case Every(parts):
            return Some(tuple(map(negated, parts)))
        case Some(parts):
            return Every(tuple(map(negated, parts)))
        case Compare(column, operator, value):
            return Compare(column, OPPOSITE[operator], value)
        case Among() | Like() | Null():
            return replace(condition, wanted=not condition.wanted)


def every(parts: Iterable[Condition | None]) -> Condition:
    kept = tuple(part for part in parts if part is not None)
    return kept[0] if len(kept) == 1 else Every(kept)


def tests(condition: Condition) -> Iterator[Test]:
    if isinstance(condition, Every | Some):
        for part in condition.parts:
            yield from tests(part)
    else:
        yield condition
