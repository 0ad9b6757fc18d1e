"""Destinations that count, or find something out, together with those of other nodes, where state is shared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, runtime_checkable

from router.errors import ConfigError
from router.ports import Marks, Tallies
from router.wiring.destinations import Destinations
from router.wiring.shared_state import SharedState, make_shared_state
from router.workspace import Workspace

T = TypeVar("T")


@runtime_checkable
class Sharing(Protocol):
    def share(self, tallies: Tallies | None, endpoints: Marks | None) -> None:
        """None where each node keeps for itself, from now on."""


class _Unheard:
    """For who looks at no figures."""

    def state_asked(self, result: str) -> None:
        return

    def state_health(self, healthy: bool) -> None:
        return

    def answer_shared(self, tier: str, result: str) -> None:
        return


async def with_endpoints(workspace: Workspace, work: Callable[[Marks], Awaitable[T]]) -> T:
    """Of who runs beside Lockgate and shares state with it. Raises StateError, ConfigError."""
    shared = await make_shared_state(workspace, _Unheard())
    try:
        if shared.endpoints is None:
            raise ConfigError("The configuration shares no state.")
        return await work(shared.endpoints)
    finally:
        await shared.close()


def share_among_nodes(shared: SharedState, destinations: Destinations) -> None:
    """Call once all else stands: a destination may have served another configuration before."""
    for running in destinations.by_name.values():
        if isinstance(running.destination, Sharing):
            running.destination.share(shared.tallies, shared.endpoints)
