"""Columns of integers in segments of 32,768 records: how one is packed, and where a condition is true in it.

A packed value is 0 for NULL, else its distance from the segment's smallest, plus one, in as few bytes as the largest needs. A segment
of one value, or of none, has no data at all; smallest and largest tell of most segments that nothing in them can match.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

SIZE = 1 << 15
NULL = -(2**63)
Integers: TypeAlias = NDArray[np.int64]
Truth: TypeAlias = "NDArray[np.bool_] | bool"
Places: TypeAlias = "Integers | None"
Data = Callable[[], bytes]
_WIDTHS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True, slots=True)
class Zone:
    """What is known of a segment of one column without its data. `low` and `high` are NULL where there is no value."""

    rows: int
    low: int
    high: int
    nulls: int
    width: int


def pack(values: Integers) -> tuple[Zone, bytes]:
    given = values[values != NULL]
    nulls = len(values) - len(given)
    if not len(given):
        return Zone(len(values), NULL, NULL, nulls, 0), b""
    low, high = int(given.min()), int(given.max())
    if low == high and not nulls:
        return Zone(len(values), low, high, 0, 0), b""
    width = next(width for width in _WIDTHS if high - low + 1 < 1 << (8 * width))
    stored = np.where(values == NULL, 0, values - low + 1).astype(_WIDTHS[width])
    return Zone(len(values), low, high, nulls, width), stored.tobytes()


def unpack(zone: Zone, data: bytes, places: Places = None) -> Integers:
    """Of all places, or of these."""
    if not zone.width:
        return np.full(zone.rows if places is None else len(places), zone.low, np.int64)
    stored = _stored(zone, data, places).astype(np.int64)
    return np.where(stored == 0, NULL, stored + (zone.low - 1))


def unpack_one(zone: Zone, data: bytes) -> int:
    """Of the bytes of one value."""
    stored = int.from_bytes(data, "little")
    return stored + zone.low - 1 if stored else NULL


def within(zone: Zone, data: Data, low: int, high: int, places: Places = None) -> Truth:
    """Where low ≤ value ≤ high; of `places` only, if any are given."""
    low, high = max(low, zone.low), min(high, zone.high)
    if zone.nulls == zone.rows or low > high:
        return False
    if (low, high, zone.nulls) == (zone.low, zone.high, 0):
        return True
    stored, first, last = _stored(zone, data(), places), low - zone.low + 1, high - zone.low + 1
    if first == last:
        return _truth(stored == first)
    if high == zone.high:
        return _truth(stored >= first)
    return _truth((stored >= first) & (stored <= last))


def chosen(zone: Zone, data: Data, codes: NDArray[np.bool_], places: Places = None) -> Truth:
    """Where the value is one of those that `codes` has True for."""
    if zone.nulls == zone.rows:
        return False
    here = codes[zone.low : zone.high + 1]
    hits = np.flatnonzero(here)
    if not len(hits):
        return False
    if hits[-1] - hits[0] + 1 == len(hits):  # side by side
        return within(zone, data, zone.low + int(hits[0]), zone.low + int(hits[-1]), places)
    return _truth(np.concatenate(([False], here))[_stored(zone, data(), places)])


def null(zone: Zone, data: Data, wanted: bool, places: Places = None) -> Truth:
    if zone.nulls in (0, zone.rows):
        return (zone.nulls > 0) == wanted
    missing = _truth(_stored(zone, data(), places) == 0)
    return missing if wanted else ~missing


def _truth(found: Any) -> NDArray[np.bool_]:
    truth: NDArray[np.bool_] = found
    return truth


def _stored(zone: Zone, data: bytes, places: Places = None) -> NDArray[Any]:
    stored = np.frombuffer(data, _WIDTHS[zone.width])
    return stored if places is None else stored[places]
