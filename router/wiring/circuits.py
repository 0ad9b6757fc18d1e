"""Circuits that nodes share, where they are configured to, and a destination has some."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from adapters.http_upstream.sharing import CircuitSharing, Shared
from router.ports import CircuitObserver, Clock, Random
from router.wiring.destinations import Destinations
from router.wiring.shared_state import SharedState

SECOND = 1e9


@runtime_checkable
class WithCircuits(Protocol):
    def shared(self, random: Random) -> list[Shared]: ...


def share_circuits(
    shared: SharedState, destinations: Destinations, clock: Clock, random: Random, observer: CircuitObserver
) -> CircuitSharing | None:
    """Started; None where there is nothing to share. Call once all else stands."""
    if shared.circuits is None:
        return None
    (board, interval), destined = shared.circuits, [running.destination for running in destinations.by_name.values()]
    circuits = [one for each in destined if isinstance(each, WithCircuits) for one in each.shared(random)]
    if not circuits:
        return None
    sharing = CircuitSharing(board, circuits, interval, lambda: clock.monotonic_ns() / SECOND, observer)
    sharing.start()
    return sharing
