"""The listener for Envoy on h2corn, whose HTTP/2 is not Python's: the same services, for a fraction of gRPC's own price a call.

A caller that gives up more than `RESETS` calls on a connection within `WINDOW_S` is closed by h2corn with all else that is under way there,
and nothing changes that. Envoy gives up a call with every request whose caller is gone, or that it answered by itself, and so it must not
carry more calls than that on one connection: `max_requests_per_connection`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import OrderedDict
from collections.abc import Callable

from h2corn import Config, Server

from router.doors.envoy.access_log import AccessLog
from router.doors.envoy.authorizing import Authorizer
from router.doors.envoy.calls import Calls, Method
from router.doors.envoy.framing import Event, Framed, Receive, Send
from router.doors.envoy.health import HEALTH, NOT_SERVING, SERVING, Asked, Health
from router.doors.envoy.messages.envoy_pb2 import CheckRequest, ProcessingRequest, StreamAccessLogsMessage
from router.doors.envoy.names import ACCESS_LOG, AUTHORIZATION, FRAME, LOOK_S, PROCESSOR, SERVICES
from router.doors.envoy.processing import Processor
from router.doors.tls import Material
from router.errors import ConfigError
from router.settings import Address

log = logging.getLogger("lockgate.envoy")
RESETS, WINDOW_S = 200, 10.0
CONNECTIONS = 4096  # whose calls are counted
BACKLOG = 1024
UNBOUNDED = (
    "envoy_connection_unbounded: Envoy carries more than %d calls on one connection to the door; set `max_requests_per_connection: 100` "
    "on its cluster, or requests fail when many callers give up at once"
)


class H2cornServer:
    """`most_body`: bytes of the largest body that is shown."""

    def __init__(self, processor: Processor, authorizer: Authorizer, access_log: AccessLog, most_body: int) -> None:
        async def checked(stream: Framed) -> None:
            if isinstance(asked := await stream.read(), CheckRequest):
                await stream.write(await authorizer.check(asked, stream))

        async def logged(stream: Framed) -> None:
            await stream.write(await access_log.stream(stream.messages(), stream))

        async def processed(stream: Framed) -> None:
            await processor.process(None, stream)

        self._access_log = access_log
        self._health = Health(SERVICES)
        methods = {
            f"/{PROCESSOR}/Process": Method(processed, ProcessingRequest),
            f"/{AUTHORIZATION}/Check": Method(checked, CheckRequest),
            f"/{ACCESS_LOG}/StreamAccessLogs": Method(logged, StreamAccessLogsMessage),
            f"/{HEALTH}/Check": Method(self._health.check, Asked),
            f"/{HEALTH}/Watch": Method(self._health.watch, Asked),
        }
        self._application = Counted(Calls(methods, most_body + FRAME))
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, address: Address, material: Material | None, grace_s: float) -> None:
        """`grace_s`: see `drain`. Raises ConfigError where its address cannot be used."""
        if material is not None:
            raise ConfigError("the door for Envoy serves no TLS on h2corn")
        with _listening(address) as listening:
            self._server = Server(self._application, _config(listening.fileno(), grace_s))
            self._serving = asyncio.create_task(self._server.serve())
            await self._server.wait_started()

    def take(self, _: Material) -> None:
        """It shows no certificate."""

    async def say(self, *, serving: bool) -> None:
        """To who asks for its health, or follows it. Streams are taken all the same."""
        self._health.tell(SERVING if serving else NOT_SERVING)

    async def ended(self) -> None:
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def drain(self, notice_s: float, over: Callable[[], bool]) -> None:
        """Says that it is going, gives Envoy `notice_s` to hear it, and then takes no further streams. Requests that are under way have the
        grace period to end; `over` says that all have, and that their access log has come."""
        await self.say(serving=False)
        await asyncio.sleep(notice_s)
        if self._server is None or self._serving is None:
            return
        self._server.shutdown()
        while not self._serving.done() and not over():
            await asyncio.wait((self._serving,), timeout=LOOK_S)
        self._access_log.close()
        try:
            await self._serving
        except RuntimeError as error:  # what was still under way, and did not end when it was told to
            log.warning("the door for Envoy did not end in time: %s", error)


class Counted:
    """Says once in a while that a connection carries more calls than it should."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._seen: OrderedDict[object, list[float]] = OrderedDict()  # since when, and how many
        self._silent_until = 0.0

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        self._count(scope.get("client"))
        await self._calls(scope, receive, send)

    def _count(self, connection: object) -> None:
        now = asyncio.get_running_loop().time()
        seen = self._seen.get(connection)
        if seen is None or now - seen[0] > WINDOW_S:
            self._seen[connection] = [now, 1]
            self._seen.move_to_end(connection)
            if len(self._seen) > CONNECTIONS:
                self._seen.popitem(last=False)
            return
        seen[1] += 1
        if seen[1] > RESETS and now > self._silent_until:
            self._silent_until = now + 60
            log.error(UNBOUNDED, RESETS)


def _config(descriptor: int, grace_s: float) -> Config:
    return Config(
        bind=(f"fd://{descriptor}",),
        grpc=True,
        http1=False,
        lifespan="off",
        access_log=False,
        log_format="json",
        date_header=False,
        timeout_graceful_shutdown=grace_s,
        timeout_keep_alive=0.0,  # Envoy keeps its connections as long as it wants to
    )


def _listening(address: Address) -> socket.socket:
    """The control process holds the port, so that nobody takes it while a worker is replaced."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address} for Envoy: {error.strerror}") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind(where)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise ConfigError(f"cannot listen on {address} for Envoy: {error.strerror}") from error
    return made
