"""The front doors of a worker, which outlive configurations."""

from __future__ import annotations

from dataclasses import dataclass

from router.config import GatewayLimits
from router.doors import following, held
from router.doors.answering import AnswerWriter
from router.doors.decide import DecideDoor
from router.doors.following import DeliveryReader
from router.doors.gate import Gate
from router.doors.gateway import Gateway
from router.doors.held import ReviewReader
from router.doors.onward import Onward
from router.doors.own_space import OwnSpace, Reader, Writer
from router.doors.runtime import Observer, Runtime
from router.doors.websocket import WebSocketDoor
from router.wiring.runtime import Services


@dataclass(frozen=True, slots=True)
class Doors:
    gate: Gate
    decide: DecideDoor

    def serve(self, runtime: Runtime) -> None:
        """From now on; requests under way keep the configuration that they began with."""
        self.gate.runtime = runtime


def own_space(services: Services) -> OwnSpace:
    """What its callers may look at, and say, below the gateway's own path."""
    found: dict[str, Reader] = {}
    taking: dict[str, Writer] = {}
    if services.fates is not None:
        found[following.SEGMENT] = DeliveryReader(services.fates)
    if services.waits is not None:
        found[held.SEGMENT] = ReviewReader(services.waits, services.clock.now_ns)
        taking[held.SEGMENT] = AnswerWriter(services.waits)
    return OwnSpace(found, taking)


def make_doors(limits: GatewayLimits, services: Services, observer: Observer, onward: Onward | None = None) -> Doors:
    own = own_space(services)
    gateway = Gateway(services.clock, services.ids, services.random, observer, onward=onward, own=own)
    sockets = WebSocketDoor(gateway, services.clock, observer)
    gate = Gate(gateway, sockets, observer, limits.concurrency, limits.queue, services.under_way)
    return Doors(gate, DecideDoor(gate.using, services.clock, services.ids, services.random, observer))
