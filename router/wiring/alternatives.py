"""What policy is told of routes among which it may choose, from the catalog and the destinations that run."""

from __future__ import annotations

from typing import Protocol

from router.catalog import Catalog, Route
from router.pipeline import Choice
from router.ports import Clock, Destination
from router.stages.alternatives import NO_CHOICE, Alternatives, Offer, Standings
from router.wiring.destinations import Destinations


class Judged(Protocol):
    """A destination that knows of itself whether it may be asked now."""

    @property
    def usable(self) -> bool: ...


def make_alternatives(catalog: Catalog, destinations: Destinations | None, standings: Standings, clock: Clock) -> Choice:
    """`destinations` None: nothing is sent from here, and nothing known of how they are."""
    among = {name: route.alternatives for name, route in catalog.routes.items() if route.alternatives}
    if not among:
        return NO_CHOICE
    running = destinations.by_route if destinations is not None else {}
    offers = {name: _offer(route, running.get(name)) for name, route in catalog.routes.items()}
    return Alternatives(offers, among, standings, clock)


def _offer(route: Route, destination: Destination | None) -> Offer:
    latency, availability = (route.sla.latency, route.sla.availability) if route.sla is not None else (None, None)
    return Offer(route.destination, route.cost, latency, availability, lambda: getattr(destination, "usable", None))
