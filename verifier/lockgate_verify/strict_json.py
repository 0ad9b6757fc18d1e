"""JSON without its ambiguities, and the canonical form (RFC 8785) of what a leaf may hold.

Refused everywhere: duplicate keys, fractions, exponents, NaN and infinities, integers beyond 2^53 - 1, lone surrogates, nesting deeper
than 64. In a leaf keys are ASCII, so that sorting by code point is the sorting by UTF-16 units that RFC 8785 asks for.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1
# Ends with the text where nothing else ends it, and never goes back: on whatever there is, this takes linear time.
_STRING = re.compile(r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_INTEGER = re.compile(r"-?[0-9]{1,16}")
_SURROGATE = re.compile("[\ud800-\udfff]")


class StrictError(ValueError):
    pass


def parse(raw: bytes) -> Any:
    """Raises StrictError."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictError from error
    if _is_deep(text):
        raise StrictError
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_float=_refused, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise StrictError from error
    if not _encodable(value):
        raise StrictError
    return value


def canonical(value: Any) -> bytes:
    """Of what `parse` gave, with ASCII keys. Raises StrictError for other keys."""
    if not _ascii_keys(value):
        raise StrictError
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def _is_deep(text: str) -> bool:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise StrictError
    return made


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or abs(int(text)) > MAX_INTEGER:
        raise StrictError
    return int(text)


def _refused(text: str) -> Any:
    raise StrictError(text)


def _encodable(value: Any) -> bool:
    if isinstance(value, str):
        return _SURROGATE.search(value) is None
    if isinstance(value, dict):
        return all(_encodable(name) and _encodable(item) for name, item in value.items())
    return not isinstance(value, list) or all(map(_encodable, value))


def _ascii_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(name.isascii() and _ascii_keys(item) for name, item in value.items())
    return not isinstance(value, list) or all(map(_ascii_keys, value))
