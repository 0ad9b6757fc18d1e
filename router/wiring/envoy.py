"""The door for Envoy of one worker, from the configuration that it starts with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from router.config.envoy import EnvoyConfig
from router.doors.envoy.access_log import AccessLog
from router.doors.envoy.authorizing import Authorizer
from router.doors.envoy.judging import EnvoyDoor
from router.doors.envoy.outcomes import Outcomes, Report
from router.doors.envoy.processing import Processor
from router.doors.envoy.server import EnvoyServer, TlsFiles
from router.doors.gate import Gate
from router.doors.gateway import Gateway
from router.doors.runtime import Observer
from router.errors import ConfigError
from router.settings import Address
from router.wiring.runtime import Services
from router.workspace import Workspace


class EnvoyListener:
    def __init__(self, server: EnvoyServer, outcomes: Outcomes, tls: TlsFiles | None, notice_s: float) -> None:
        self._server = server
        self._outcomes = outcomes
        self._tls = tls
        self._notice_s = notice_s

    async def serve(self, address: Address, stopping: asyncio.Event, grace_s: float) -> None:
        """Until it is told to stop; requests under way are finished within the grace period. Raises ConfigError."""
        await self._server.start(address, self._tls)
        keeping = asyncio.create_task(self._outcomes.keep())
        try:
            await stopping.wait()
            await self._server.drain(self._notice_s, max(1.0, grace_s - self._notice_s))
        finally:
            keeping.cancel()
            await self._outcomes.close()

    def told(self, reports: Sequence[Sequence[Any]]) -> None:
        """What another worker's access log says; not all of it is ours."""
        for each in reports:
            self._outcomes.told(Report(*each))


def make_envoy(
    workspace: Workspace, services: Services, gate: Gate, observer: Observer, elsewhere: Callable[[Sequence[Any]], None]
) -> EnvoyListener:
    """`elsewhere` takes reports about what was decided by another worker. Raises ConfigError."""
    config, limits = workspace.config.envoy, workspace.config.gateway.limits
    if config is None:
        raise ConfigError("there is no block `envoy`")
    gateway = Gateway(services.clock, services.ids, services.random, observer, "envoy")
    outcomes = Outcomes(gate, services.clock, observer, logged=config.access_log, patience_s=config.outcome_patience)
    door = EnvoyDoor(gate, gateway, services.clock, observer, outcomes, limits.concurrency + limits.queue)
    server = EnvoyServer(
        Processor(door, config.deadline),
        Authorizer(door, config.deadline, config.longest_request),
        AccessLog(outcomes, lambda reports: elsewhere([list(astuple(each)) for each in reports])),
        limits.body,
    )
    return EnvoyListener(server, outcomes, _tls(workspace, config), config.notice)


def _tls(workspace: Workspace, config: EnvoyConfig) -> TlsFiles | None:
    if config.tls is None:
        return None
    ca = config.tls.client_ca
    certificate, key = workspace.path(config.tls.certificate), workspace.path(config.tls.key)
    return TlsFiles(certificate, key, workspace.path(ca) if ca is not None else None)
