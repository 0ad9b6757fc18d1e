"""Places of a JSON document, by pointer (RFC 6901): which of them policy lets a reviewer change, and what stands there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from router.errors import ReviewError

MOST_PLACES = 50  # as many as a person can look through
KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "yes_or_no"),  # before numbers: Python counts it among them
    ((int, float), "number"),
    (str, "text"),
    (list, "list"),
    (dict, "object"),
)
NOTHING = "nothing"
SAID: Mapping[str, str] = {"yes_or_no": "true or false", "number": "a number", "text": "text", "list": "a list", "object": "an object"}


@dataclass(frozen=True, slots=True)
class Place:
    """`kind`: text, number, yes_or_no, list, object, or nothing for null."""

    pointer: str
    kind: str
    value: Any


def read(text: str | bytes) -> Any:
    """A document that comes out the same when it is written again. Raises ValueError, RecursionError."""
    return json.loads(text, parse_float=_exact, parse_constant=_none, object_pairs_hook=_once)


def places(document: Any, allowed: Sequence[str]) -> tuple[Place, ...]:
    """Those that may be changed: of an object its members, of a list the whole of it. One more than `MOST_PLACES` where there are more."""
    found: dict[str, Place] = {}
    for pattern in allowed:
        for place in _under(document, steps(pattern), ()):
            found.setdefault(place.pointer, place)
            if len(found) > MOST_PLACES:
                return tuple(found.values())
    return tuple(found.values())


def kind_of(value: Any) -> str:
    return next((kind for types, kind in KINDS if isinstance(value, types)), NOTHING)


def same(one: Any, other: Any) -> bool:
    """As JSON: to Python 1 is True."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def within(pointer: str, allowed: str) -> bool:
    """`*` stands for any one step, as where fields are redacted."""
    if not pointer.startswith("/"):
        return False
    found, wanted = steps(pointer), steps(allowed)
    return len(found) >= len(wanted) and all(each in ("*", step) for step, each in zip(found, wanted, strict=False))


def put(document: Any, pointer: str, value: Any) -> Any:
    """A copy with another value of the same kind in a place that there is; what is nothing may become anything. Raises ReviewError
    `modification_refused`."""
    return _put(document, steps(pointer), pointer, value)


def steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def _put(document: Any, left: Sequence[str], pointer: str, value: Any) -> Any:
    if not left:
        kind = kind_of(document)
        if kind not in (NOTHING, kind_of(value)):
            raise ReviewError(f"'{pointer[:64]}' is {SAID[kind]} and has to stay so.", "modification_refused")
        return value
    step, rest = left[0], left[1:]
    if isinstance(document, dict) and step in document:
        return {**document, step: _put(document[step], rest, pointer, value)}
    if isinstance(document, list) and step.isascii() and step.isdigit() and int(step) < len(document):
        at = int(step)
        return [*document[:at], _put(document[at], rest, pointer, value), *document[at + 1 :]]
    raise ReviewError("There is nothing in the place that is to be changed.", "modification_refused")


def _under(document: Any, left: Sequence[str], before: tuple[str, ...]) -> Iterator[Place]:
    if not left and isinstance(document, dict) and document:
        for name, value in document.items():
            yield from _under(value, (), (*before, name))
    elif not left:
        yield Place(_pointer(before), kind_of(document), document)
    else:
        for step, value in _at(document, left[0]):
            yield from _under(value, left[1:], (*before, step))


def _at(document: Any, step: str) -> Sequence[tuple[str, Any]]:
    if isinstance(document, dict):
        return list(document.items()) if step == "*" else [(step, document[step])] if step in document else []
    if isinstance(document, list):
        numbered = [(str(at), value) for at, value in enumerate(document)]
        return numbered if step == "*" else [each for each in numbered if each[0] == step]
    return []


def _pointer(found: Sequence[str]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in found)


def _exact(text: str) -> float:
    """A number that would become another one by being written again is not touched."""
    number = float(text)
    if Decimal(repr(number)) != Decimal(text):
        raise ValueError("inexact")
    return number


def _none(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
