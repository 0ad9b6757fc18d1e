"""The upstreams of one destination: who may be asked now, and which of them is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.http_upstream.balancer import Balancing
from adapters.http_upstream.circuit import Circuit
from adapters.http_upstream.client import HttpClient
from adapters.http_upstream.failures import failure
from adapters.http_upstream.outliers import Outliers
from adapters.http_upstream.sharing import Shared, SharedCircuit, SharedEjection
from router.errors import DestinationError
from router.ports import Random

log = logging.getLogger("lockgate.destinations")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds; infinity where there is no bound."""

    connect: float
    idle: float
    total: float


MakeClient = Callable[[str, Bounds], HttpClient]


class Upstream:
    """One origin with its circuit, its health, its clients (one for each set of time-outs in use) and how many requests are under way."""

    __slots__ = ("_clients", "_make", "busy", "circuit", "healthy", "index", "origin")

    def __init__(self, origin: str, circuit: Circuit, make: MakeClient) -> None:
        self.origin = origin
        self.circuit = circuit
        self.healthy = True
        self.busy = 0
        self.index = 0
        self._make = make
        self._clients: dict[Bounds, HttpClient] = {}

    def __repr__(self) -> str:
        return f"Upstream({self.origin}, healthy={self.healthy}, {self.circuit})"

    def client(self, bounds: Bounds) -> HttpClient:
        client = self._clients.get(bounds)
        if client is None:
            client = self._clients[bounds] = self._make(self.origin, bounds)
        return client

    async def close(self) -> None:
        while self._clients:
            await self._clients.popitem()[1].close()


class Upstreams:
    """`outliers` None ejects nobody."""

    def __init__(self, upstreams: Sequence[Upstream], balancing: Balancing, outliers: Outliers | None = None) -> None:
        self.all = tuple(upstreams)
        for index, upstream in enumerate(self.all):
            upstream.index = index
        self._balancing = balancing
        self._outliers = outliers

    def pick(self, now: float, tried: frozenset[Upstream] = frozenset(), key: bytes = b"") -> Upstream:
        """Prefers upstreams this request has not tried. Raises DestinationError when none may be asked."""
        first = self.all[0]
        if len(self.all) == 1 and first.healthy and first.circuit.allows(now):
            return first
        usable = [index for index, upstream in enumerate(self.all) if upstream.healthy and upstream.circuit.allows(now)]
        if not usable:
            raise self.unusable()
        fresh = ([index for index in usable if self.all[index] not in tried] if tried else usable) or usable
        among = fresh if self._outliers is None else self._outliers.among(fresh, now)
        return self.all[self._balancing.pick(among, key, self.all)]

    def usable(self, now: float) -> bool:
        return any(upstream.healthy and upstream.circuit.allows(now) for upstream in self.all)

    def note(self, upstream: Upstream, failed: bool, now: Callable[[], float]) -> None:
        """How a request at it ended, where that is the upstream's doing."""
        if self._outliers is None:
            return
        lasts = self._outliers.note(upstream.index, failed, now())
        if lasts is not None:
            log.warning("%s answers worse than it may and is left alone for %g seconds", upstream.origin, lasts)

    def shared(self, destination: str, random: Random) -> list[Shared]:
        """By names that are the same on every node."""
        found: list[Shared] = [SharedCircuit(f"{destination} {each.origin}", each.circuit, random) for each in self.all]
        if self._outliers is not None:
            found += [SharedEjection(f"{destination} {each.origin}", each.index, self._outliers) for each in self.all]
        return found

    def unusable(self) -> DestinationError:
        if any(upstream.healthy for upstream in self.all):
            return failure("circuit_open", "every healthy upstream failed too often just now")
        return failure("no_healthy_upstream", "no upstream passes its health check")
