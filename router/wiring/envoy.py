"""The door for Envoy of one worker, from the configuration that it starts with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, Protocol

from router.config import EnvoyConfig
from router.doors.envoy.access_log import AccessLog
from router.doors.envoy.authorizing import Authorizer
from router.doors.envoy.judging import EnvoyDoor
from router.doors.envoy.outcomes import Outcomes, Report
from router.doors.envoy.processing import Processor
from router.doors.gate import Gate
from router.doors.gateway import Gateway
from router.doors.runtime import Observer
from router.doors.tls import Material
from router.errors import ConfigError, LockgateError
from router.settings import Address
from router.wiring.doors import own_space
from router.wiring.runtime import Services
from router.workspace import Workspace

LAST_DECISIONS_S = 2.0
LAST_STREAMS_S = 1.0  # what a notice leaves them, however long it is to be


class Server(Protocol):
    """One of the two transports."""

    async def start(self, address: Address, material: Material | None, grace_s: float) -> None: ...

    def take(self, material: Material) -> None: ...

    async def ended(self) -> None: ...

    async def say(self, *, serving: bool) -> None: ...

    async def drain(self, notice_s: float, over: Callable[[], bool]) -> None: ...


@dataclass(frozen=True, slots=True)
class Others:
    """Who else may be told how requests ended that were decided here. `tell` takes reports about what was decided there; `over` returns
    when no worker of this node waits for a report any more, or raises LockgateError; `gone` is set when nobody can be told anything."""

    tell: Callable[[Sequence[Any]], None]
    over: Callable[[], Awaitable[None]]
    gone: asyncio.Event


class EnvoyListener:
    """`material`: its certificates; None where it serves unencrypted."""

    def __init__(
        self, server: Server, door: EnvoyDoor, outcomes: Outcomes, material: Material | None, config: EnvoyConfig, others: Others | None
    ) -> None:
        self._server = server
        self._door = door
        self._outcomes = outcomes
        self._material = material
        self._notice_s = config.notice
        self._patience_s = config.outcome_patience
        self._others = others
        self._out = False
        self._changed = asyncio.Event()

    @property
    def beyond(self) -> int:
        return self._door.beyond

    def drain(self, out: bool) -> None:
        """Whether Envoy is told to ask another node; who asks all the same is answered."""
        self._out = out
        self._changed.set()

    async def serve(self, address: Address, stopping: asyncio.Event, grace_s: float) -> None:
        """Until it is told to stop; requests under way are finished within the grace period. Raises ConfigError."""
        self._notice_s = min(self._notice_s, grace_s - LAST_STREAMS_S)
        await self._server.say(serving=not self._out)
        await self._server.start(address, self._material, grace_s - self._notice_s)
        keeping, saying = asyncio.create_task(self._outcomes.keep()), asyncio.create_task(self._keep_saying())
        try:
            await self._stopped(stopping)
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
            await self._drained(grace_s)
        finally:
            keeping.cancel()
            saying.cancel()
            await self._door.decided(LAST_DECISIONS_S)
            await self._outcomes.close()

    async def _drained(self, grace_s: float) -> None:
        """With others, who report to here is heard until all of this node have heard how their requests ended; and where nobody reports to
        here any more, what others are told is waited for, for an outcome's patience."""
        if self._others is None:
            await self._server.drain(self._notice_s, self._idle)
            return
        until = asyncio.get_running_loop().time() + grace_s
        gone = asyncio.create_task(self._others.gone.wait())
        over = asyncio.create_task(self._all_over(self._others, until))
        try:
            await self._server.drain(self._notice_s, lambda: over.done() or gone.done())
            left = min(until - asyncio.get_running_loop().time(), self._patience_s)
            await asyncio.wait((over, gone), timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (over, gone):
                task.cancel()
            await asyncio.gather(over, gone, return_exceptions=True)

    async def _all_over(self, others: Others, until: float) -> None:
        while not self._idle() and asyncio.get_running_loop().time() < until:
            await self._outcomes.ended(until)
            await self._door.decided(LAST_DECISIONS_S)
        await others.over()

    async def _stopped(self, stopping: asyncio.Event) -> None:
        """A worker whose listener is gone must not go on as if it were there: whoever watches it starts another."""
        told, gone = asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(self._server.ended())
        try:
            await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                await gone
                raise LockgateError("The listener for Envoy ended by itself.")
        finally:
            told.cancel()
            gone.cancel()

    def take(self, material: Material) -> None:
        """Shows another certificate from here on."""
        self._server.take(material)

    async def _keep_saying(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._server.say(serving=not self._out)

    def _idle(self) -> bool:
        return self._door.inside == 0 and len(self._outcomes) == 0

    def told(self, reports: Sequence[Sequence[Any]]) -> None:
        """What another worker's access log says; not all of it is ours."""
        for each in reports:
            self._outcomes.told(Report(*each))


def make_envoy(
    workspace: Workspace,
    services: Services,
    gate: Gate,
    observer: Observer,
    others: Others | None,
    material: Material | None,
    node: str,
    count: Callable[[str], None],
) -> EnvoyListener:
    """`others`: workers of this node, or nodes; None where there are none. `material`: its certificates; `node`: this one's name among
    others; `count` is told why a TLS handshake failed, where the transport says it. Raises ConfigError."""
    config, limits = workspace.config.envoy, workspace.config.gateway.limits
    if config is None:
        raise ConfigError("there is no block `envoy`")
    gateway = Gateway(services.clock, services.ids, services.random, observer, "envoy")
    outcomes = Outcomes(
        gate,
        services.clock,
        observer,
        logged=config.access_log,
        patience_s=config.outcome_patience,
        longest_s=config.longest_request,
    )
    door = EnvoyDoor(gate, gateway, services.clock, observer, outcomes, limits.concurrency + limits.queue, own_space(services), node)
    tell = None if others is None else lambda reports: others.tell([list(astuple(each)) for each in reports])
    server = _transport(config.server, count)(
        Processor(door, config.deadline), Authorizer(door, config.deadline), AccessLog(outcomes, tell), limits.body
    )
    return EnvoyListener(server, door, outcomes, material, config, others)


def _transport(name: str, count: Callable[[str], None]) -> Callable[[Processor, Authorizer, AccessLog, int], Server]:
    """Only what is configured is imported."""
    if name == "zttp":
        from router.doors.envoy.zttp import ZttpServer

        return partial(ZttpServer, count=count)
    from router.doors.envoy.server import EnvoyServer

    return EnvoyServer
