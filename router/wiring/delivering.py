"""What sends deliveries in a worker, and what the doors make them with."""

from __future__ import annotations

from collections.abc import Callable

from router.delivery.running import DeliveryObserver, Running, Ways
from router.doors.onward import Onward
from router.doors.runtime import Observer
from router.wiring.runtime import Services


def make_delivering(
    services: Services, observer: Observer, counting: DeliveryObserver, ways: Callable[[], Ways | None]
) -> tuple[Running | None, Onward | None]:
    """None where there is nowhere to keep them."""
    if services.outbox is None:
        return None, None
    clock, random = services.clock, services.random
    running = Running(services.ids.new(), services.outbox, services.ledger, services.reviews, clock, random, ways, counting)
    return running, Onward(running, services.reviews, clock, observer)
