"""How many there were and how many of them were bad, over time: fine for an hour, by five minutes for three days, by the hour for thirty,
in rings that never grow (29 KB in all)."""

from __future__ import annotations

from array import array
from base64 import b85decode, b85encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import compress, decompress

TIERS = ((30, 140), (300, 960), (3600, 724))
"""Seconds of a slot, and how many there are: each tier reaches a little further than the windows that are asked of it."""
LARGEST = 2**53
AHEAD_S = 3600


@dataclass(frozen=True, slots=True)
class Tally:
    total: int
    bad: int

    @property
    def share(self) -> float | None:
        """That was bad; None of nothing."""
        return self.bad / self.total if self.total else None

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.total + other.total, self.bad + other.bad)


NOTHING = Tally(0, 0)


class Ring:
    def __init__(self, seconds: int, kept: int) -> None:
        self.seconds, self.kept = seconds, kept
        self.newest: int | None = None
        self._totals, self._bads = array("Q", bytes(8 * kept)), array("Q", bytes(8 * kept))

    def add(self, at: float, total: int, bad: int) -> None:
        """What is older than the ring reaches is left out."""
        slot = int(at // self.seconds)
        newest = slot if self.newest is None else self.newest
        for passed in range(max(newest, slot - self.kept) + 1, slot + 1):
            self._totals[passed % self.kept] = self._bads[passed % self.kept] = 0
        self.newest = max(newest, slot)
        if slot > self.newest - self.kept:
            self._totals[slot % self.kept] = min(LARGEST, self._totals[slot % self.kept] + total)
            self._bads[slot % self.kept] = min(LARGEST, self._bads[slot % self.kept] + bad)

    def reaches(self, since: float) -> bool:
        return self.newest is not None and since >= (self.newest - self.kept + 1) * self.seconds

    def between(self, since: float, until: float) -> Tally:
        """Of all slots that have a part in it."""
        if self.newest is None:
            return NOTHING
        first, last = max(int(since // self.seconds), self.newest - self.kept + 1), min(self.newest, int(until // self.seconds))
        places = [slot % self.kept for slot in range(first, last + 1)]
        return Tally(sum(self._totals[place] for place in places), sum(self._bads[place] for place in places))

    def dump(self) -> dict[str, Any]:
        return {"newest": self.newest, "counts": b85encode(compress(self._totals.tobytes() + self._bads.tobytes())).decode()}

    def load(self, kept: Mapping[str, Any]) -> None:
        """Raises ValueError, KeyError, TypeError for what no ring of this size wrote."""
        counts = array("Q")
        counts.frombytes(decompress(b85decode(kept["counts"])))
        if len(counts) != 2 * self.kept or not isinstance(kept["newest"], int | None):
            raise ValueError("counts of another ring")
        self.newest, self._totals, self._bads = kept["newest"], counts[: self.kept], counts[self.kept :]


class History:
    """`since`: Unix time from which on it is known; what was before is not, which is not the same as nothing."""

    def __init__(self, since: float) -> None:
        self.since = since
        self._rings = tuple(Ring(*tier) for tier in TIERS)

    def add(self, at: float, total: int, bad: int) -> None:
        for ring in self._rings:
            ring.add(at, total, bad)

    def window(self, until: float, seconds: float) -> Tally:
        """Of that time, and of no more before it than a slot."""
        since = until - seconds
        ring = next((ring for ring in self._rings if ring.reaches(since)), self._rings[-1])
        return ring.between(since + ring.seconds / 2, until)

    def steps(self, until: float, seconds: float, count: int) -> Iterator[Tally]:
        """As many equal parts of the time before `until`, each a multiple of five minutes, the oldest first."""
        ring, step = self._rings[1], seconds / count
        end = (int(until // step) + 1) * step
        for number in range(count):
            since = end - (count - number) * step
            yield ring.between(since, since + step - 1)

    def ahead_of(self, now: float) -> bool:
        """Whether the clock was put back since: what is written now would be taken for old."""
        return any(ring.newest is not None and ring.newest * ring.seconds > now + AHEAD_S for ring in self._rings)

    def dump(self) -> dict[str, Any]:
        return {"since": self.since, "rings": [ring.dump() for ring in self._rings]}

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> History:
        """Raises ValueError, KeyError, TypeError for what was not written by `dump`."""
        made = cls(float(kept["since"]))
        for ring, told in zip(made._rings, kept["rings"], strict=True):
            ring.load(told)
        return made


class Known(Protocol):
    """What is judged: a history, or one with more beside it."""

    @property
    def since(self) -> float: ...

    def window(self, until: float, seconds: float) -> Tally: ...

    def steps(self, until: float, seconds: float, count: int) -> Iterator[Tally]: ...


@dataclass(frozen=True, slots=True)
class Beside:
    """A history with what could not be written into it yet, which counts as of this moment."""

    history: History
    waiting: Tally
    now: float

    @property
    def since(self) -> float:
        return self.history.since

    def window(self, until: float, seconds: float) -> Tally:
        found = self.history.window(until, seconds)
        return found + self.waiting if until >= self.now else found

    def steps(self, until: float, seconds: float, count: int) -> Iterator[Tally]:
        found = list(self.history.steps(until, seconds, count))
        yield from (*found[:-1], found[-1] + self.waiting)
