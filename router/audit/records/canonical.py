"""Canonical JSON (RFC 8785) for leaves, and the few forms that values may take in one.

A leaf holds objects with ASCII keys, arrays, strings, booleans, null and integers of magnitude below 2^53; never a float. Under these
restrictions sorted orjson output is RFC 8785 byte for byte (UTF-16 and byte order agree on ASCII keys). Real numbers are decimal
strings with six places; instants are RFC 3339 in UTC with nine places, so that they sort as text; durations are integer nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

MAX_LEAF_BYTES = 65_535
MAX_INTEGER = 2**53 - 1
SHORT_LIST = 8
SHORT_TEXT = 64

canonical: Callable[[Any], bytes] = lambda value: orjson.dumps(value, option=orjson.OPT_SORT_KEYS)  # noqa: E731 - the hottest call here

_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))  # every digit becomes 0


def is_slug(text: str) -> bool:
    """Names of our own making have this form; what a caller sends may not, and then may not enter a leaf."""
    return _SLUG.fullmatch(text) is not None


def code(text: str) -> str:
    """A reason code as it may stand in a leaf. Free text, which may name a person, becomes `unnamed`."""
    return text if not text or _SLUG.fullmatch(text) is not None else "unnamed"


def decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def integer(value: int) -> int:
    """Clamped: a duration of more than 104 days says no more than that it was absurd."""
    return value if -MAX_INTEGER <= value <= MAX_INTEGER else (MAX_INTEGER if value > 0 else -MAX_INTEGER)


def timestamp(ns: int) -> str:
    """`2026-11-24T09:45:20.123456789Z`"""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest:09d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def shorten(value: Any) -> Any:
    """What becomes of a leaf that is too large: every list keeps its first 8 items, every string its first 64 characters."""
    if isinstance(value, str):
        return value[:SHORT_TEXT]
    if isinstance(value, Mapping):
        return {name: shorten(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [shorten(item) for item in value[:SHORT_LIST]]
    return value


def read_canonical(leaf: bytes) -> dict[str, Any] | None:
    """What a leaf says, for verifiers; None unless what is parsed and written again is the same bytes, without any number but an
    integer, and no longer than a leaf can be."""
    try:
        value = orjson.loads(leaf) if len(leaf) <= MAX_LEAF_BYTES else None
        if not isinstance(value, dict) or canonical(value) != leaf:
            return None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # what is nested deeply can be read, but not written
        return None
    return value if not has_unusual_numbers(leaf) or is_plain(value) else None


def is_canonical(leaf: bytes) -> bool:
    return read_canonical(leaf) is not None


def has_unusual_numbers(leaf: bytes) -> bool:
    """A quick look that never misses one, and also says yes where text with escapes or beyond ASCII makes looking less quick."""
    if b"\\" in leaf or not leaf.isascii():
        return True
    outside = b"".join(leaf.split(b'"')[::2])  # what is not a string
    if b"." in outside or b"e" in outside.replace(b"true", b"").replace(b"false", b""):
        return True
    return b"0" * 16 in outside.translate(_DIGITS)


def is_plain(value: Any) -> bool:
    """Only what a leaf may hold, all the way down."""
    if isinstance(value, dict):
        return all(name.isascii() and is_plain(item) for name, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, int):
        return -MAX_INTEGER <= value <= MAX_INTEGER
    return value is None or isinstance(value, str)
