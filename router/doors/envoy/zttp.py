"""The listener for Envoy on HTTP/2 of zttp, in the loop of its worker: the same services, for a fraction of gRPC's own price a call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from router.doors.envoy.access_log import AccessLog
from router.doors.envoy.authorizing import Authorizer
from router.doors.envoy.calls import Method
from router.doors.envoy.connection import Connection, Served
from router.doors.envoy.framing import UNAVAILABLE
from router.doors.envoy.health import HEALTH, NOT_SERVING, SERVING, Asked, Health
from router.doors.envoy.messages.envoy_pb2 import CheckRequest, ProcessingRequest, StreamAccessLogsMessage
from router.doors.envoy.names import ACCESS_LOG, AUTHORIZATION, FRAME, LOOK_S, PROCESSOR, SERVICES
from router.doors.envoy.processing import Processor
from router.doors.tls import Listening, Material
from router.errors import ConfigError
from router.settings import Address

BACKLOG = 1024
HANDSHAKES, HANDSHAKE_S, GOODBYE_S = 1024, 10.0, 5.0
LAST_WORDS_S = 1.0  # of the grace period, for calls that end because this does
LAST_CALLS_S = 2.0  # for calls that were on their way when Envoy heard


class ZttpServer:
    """`most_body`: bytes of the largest body that is shown. `count` is told why a handshake failed."""

    def __init__(
        self, processor: Processor, authorizer: Authorizer, access_log: AccessLog, most_body: int, count: Callable[[str], None]
    ) -> None:
        async def checked(stream: Any) -> None:
            if isinstance(asked := await stream.read(), CheckRequest):
                await stream.write(await authorizer.check(asked, stream))

        async def logged(stream: Any) -> None:
            await stream.write(await access_log.stream(stream.messages(), stream))

        async def processed(stream: Any) -> None:
            await processor.process(None, stream)

        self._access_log = access_log
        self._health = Health(SERVICES)
        methods = {
            f"/{PROCESSOR}/Process".encode(): Method(processed, ProcessingRequest),
            f"/{AUTHORIZATION}/Check".encode(): Method(checked, CheckRequest),
            f"/{ACCESS_LOG}/StreamAccessLogs".encode(): Method(logged, StreamAccessLogsMessage),
            f"/{HEALTH}/Check".encode(): Method(self._health.check, Asked),
            f"/{HEALTH}/Watch".encode(): Method(self._health.watch, Asked),
        }
        self._served = Served(methods, most_body + FRAME)
        self._count = count
        self._listening: Listening | None = None
        self._server: asyncio.Server | None = None
        self._grace_s = 0.0

    async def start(self, address: Address, material: Material | None, grace_s: float) -> None:
        """`grace_s`: see `drain`. Raises ConfigError where its address or its certificate cannot be used."""
        self._grace_s = grace_s
        bounds: dict[str, Any] = {}
        if material is not None:
            self._listening = Listening.of(material, self._count, HANDSHAKES, HANDSHAKE_S, ("h2",))
            self._served.encrypted = True
            bounds = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": GOODBYE_S}
        self._server = await asyncio.get_running_loop().create_server(
            partial(Connection, self._served), sock=_bound(address), backlog=BACKLOG, ssl=self._listening, **bounds
        )

    def take(self, material: Material) -> None:
        """Shows another certificate from here on."""
        if self._listening is not None:
            self._listening.take(material)

    async def say(self, *, serving: bool) -> None:
        """To who asks for its health, or follows it. Calls are taken all the same."""
        self._health.tell(SERVING if serving else NOT_SERVING)

    async def ended(self) -> None:
        """Never before it is told to."""
        await asyncio.Event().wait()

    async def drain(self, notice_s: float, over: Callable[[], bool]) -> None:
        """Says that it is going, gives Envoy `notice_s` to hear it, and then takes no further connections, and asks Envoy to leave those
        that there are. Requests that are under way have the grace period to end; `over` says that all have, and that their access log has
        come. Where nobody is connected any more there is nothing to wait for."""
        await self.say(serving=False)
        await asyncio.sleep(notice_s)
        if self._server is None:
            return
        self._server.close()
        self._served.going = True
        connections = self._served.connections
        for each in list(connections):
            each.leave()
        began = asyncio.get_running_loop().time()
        await _while(lambda: bool(connections) and not over(), self._grace_s - LAST_WORDS_S)
        self._access_log.close()
        left_s = self._grace_s - LAST_WORDS_S - (asyncio.get_running_loop().time() - began)
        await _while(lambda: bool(connections), min(max(left_s, LAST_WORDS_S / 2), LAST_CALLS_S))
        for each in list(connections):
            each.end(UNAVAILABLE, "this worker is gone")
        await _while(lambda: bool(connections), LAST_WORDS_S / 2)


async def _while(holds: Callable[[], bool], longest_s: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + longest_s
    while holds() and loop.time() < until:  # noqa: ASYNC110  # what is waited for tells nobody
        await asyncio.sleep(LOOK_S)


def _bound(address: Address) -> socket.socket:
    """The control process holds the port, so that nobody takes it while a worker is replaced."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address} for Envoy: {error.strerror}") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(where)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise ConfigError(f"cannot listen on {address} for Envoy: {error.strerror}") from error
    return made
