"""Running destinations. Those whose settings a reload leaves alone go on, with their connections, circuits and health."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from pydantic import BaseModel

from router.catalog import Route
from router.errors import ConfigError
from router.ports import Clock, Destination, Random
from router.registry import ADAPTERS
from router.stages.signals import SignalDetector
from router.wiring.stages import recogniser
from router.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Running:
    """One destination and the settings that it was built from."""

    settings: BaseModel
    client: str
    destination: Destination


@dataclass(frozen=True, slots=True)
class Destinations:
    by_name: Mapping[str, Running]
    by_route: Mapping[str, Destination]
    others: Mapping[tuple[str, str], Destination] = field(default_factory=dict)  # by route and name, of routes that have a second one
    names: Mapping[str, str] = field(default_factory=dict)  # of the destinations that routes lead to, by route

    def at(self, route: str, name: str) -> Destination | None:
        """The destination of this name where the route leads there, else the one that it leads to."""
        return self.others.get((route, name)) or self.by_route.get(route)

    def exactly(self, route: str, name: str) -> Destination | None:
        """The destination of this name where the route leads there, else none: what was decided for one is not sent to another."""
        return self.others.get((route, name)) or (self.by_route.get(route) if self.names.get(route) == name else None)

    @property
    def alone(self) -> dict[str, Destination]:
        """By their own names, with their own time-outs."""
        return {name: running.destination for name, running in self.by_name.items()}

    async def close(self, keeping: Destinations | None = None) -> None:
        kept = {id(running.destination) for running in keeping.by_name.values()} if keeping is not None else set()
        for running in self.by_name.values():
            if id(running.destination) not in kept:
                await running.destination.close()


async def make_destinations(workspace: Workspace, clock: Clock, random: Random, before: Destinations | None = None) -> Destinations:
    """Opens what is new. Raises what a destination's `open` raises, after closing what was opened here."""
    client = workspace.config.gateway.client
    running: dict[str, Running] = {}
    opened: list[Destination] = []
    try:
        for name, settings in workspace.destinations.items():
            former = before.by_name.get(name) if before is not None else None
            if former is not None and former.settings == settings and former.client == client:
                running[name] = former
                continue
            made = _build(workspace, name, settings, client, clock, random)
            opened.append(made)
            await _opened(name, made)
            running[name] = Running(settings, client, made)
        names = {name: route.destination for name, route in workspace.catalog.routes.items()}
        return Destinations(running, _by_route(workspace, running), _others(workspace, running), names)
    except BaseException:
        for destination in opened:
            await destination.close()
        raise


async def _opened(name: str, destination: Destination) -> None:
    try:
        await destination.open()
    except ConfigError as error:
        raise ConfigError(f"destinations.{name}: {error}") from error


def _build(workspace: Workspace, name: str, settings: BaseModel, client: str, clock: Clock, random: Random) -> Destination:
    """A kind that asks for it is told where the workspace's files lie (`root`) and its state (`state`), and given what masks personal data
    and credentials in a text (`mask`)."""
    module = ADAPTERS.load("destination", workspace.catalog.destinations[name].adapter)
    places: dict[str, Callable[[], Any]] = {
        "root": lambda: workspace.root,
        "state": lambda: workspace.path(workspace.config.state),
        "mask": lambda: SignalDetector(recogniser=recogniser(workspace)).mask,
    }
    wanted = signature(module.build).parameters
    more = {place: given() for place, given in places.items() if place in wanted}
    made: Destination = module.build(_with_client(settings, client), name=name, clock=clock, random=random, **more)
    return made


def _with_client(settings: BaseModel, client: str) -> BaseModel:
    """The gateway's HTTP client, unless the destination names its own."""
    fields = type(settings).model_fields
    return settings.model_copy(update={"client": client}) if "client" in fields and "client" not in settings.model_fields_set else settings


def _by_route(workspace: Workspace, running: Mapping[str, Running]) -> dict[str, Destination]:
    return {name: _for_route(route, running[route.destination].destination) for name, route in workspace.catalog.routes.items()}


def _others(workspace: Workspace, running: Mapping[str, Running]) -> dict[tuple[str, str], Destination]:
    found: dict[tuple[str, str], Destination] = {}
    for name, route in workspace.catalog.routes.items():
        if route.canary is not None:
            found[name, route.canary.destination] = _for_route(route, running[route.canary.destination].destination)
    return found


def _for_route(route: Route, destination: Any) -> Destination:
    """With the route's time-outs."""
    made: Destination = destination
    if route.timeouts is not None:
        made = destination.with_timeouts(**route.timeouts.model_dump(exclude_none=True))
    return made
