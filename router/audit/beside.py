"""What is durable beside records, in their transaction: events that they decide, deliveries that follow, and which of these they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.errors import EVENT_KNOWN, AuditError
from router.ports import Arrival, Delivery, Entry, Settled

MOST_BYTES = 16 * 2**20
"""Of what is sealed, in one call between the control process and a worker."""
BLOCKED_NS = 2**62
"""Instead of when somebody may take a delivery: another of its order is before it. Whoever ends that one lets the next be taken. Who looks
for what is due so never sees what is behind, however much that is."""
TOLD_BYTES = 32
"""So long is the order of a delivery as a door tells it (SHA-256). What is kept of one has another length (`router.audit.keys.lanes`);
releases of before kept it as it was told."""
REFUSED = -1
"""Instead of a record's index: another record decided its event, and nothing of it was written."""


@dataclass(frozen=True, slots=True)
class Extras:
    """Of one batch of records. `at_ns`: when they are written, Unix time."""

    arrivals: tuple[Arrival, ...]
    deliveries: tuple[Delivery, ...]
    settled: tuple[Settled, ...]
    at_ns: int


@dataclass(frozen=True, slots=True)
class Pending:
    """Deliveries that wait or are under way, when the oldest of them was decided (Unix nanoseconds, 0 where there is none), and how many
    were given up."""

    count: int
    oldest_ns: int
    dead: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery with its place in the order of decisions. `dead`: it was given up."""

    number: int
    dead: bool
    delivery: Delivery


def bounded(due: Sequence[tuple[int, int]]) -> list[int]:
    """Of (number, bytes) the numbers of the first that are not too many bytes for one call to a worker; at least one."""
    numbers, total = list[int](), 0
    for number, size in due:
        total += size
        if numbers and total > MOST_BYTES:
            break
        numbers.append(number)
    return numbers


class KnownArrivalsError(AuditError):
    """Entries at these `places` decide events that other records decided; nothing was written."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__("Another record decided this event.", EVENT_KNOWN)
        self.places = frozenset(places)


def extras(entries: Sequence[Entry], at_ns: int) -> Extras | None:
    """None where there is nothing beside the records, which is soon seen."""
    for entry in entries:
        if entry.arrival is not None or entry.delivery is not None or entry.settled is not None:
            break
    else:
        return None
    arrivals = tuple(entry.arrival for entry in entries if entry.arrival is not None)
    deliveries = tuple(entry.delivery for entry in entries if entry.delivery is not None)
    settled = tuple(entry.settled for entry in entries if entry.settled is not None)
    return Extras(arrivals, deliveries, settled, at_ns)


def known_places(entries: Sequence[Entry], known: set[bytes]) -> list[int]:
    """Places of entries whose event is known, or is another entry's before it."""
    seen, places = set(known), list[int]()
    for place, entry in enumerate(entries):
        if entry.arrival is None:
            continue
        if entry.arrival.key in seen:
            places.append(place)
        seen.add(entry.arrival.key)
    return places
