"""One connection to a NATS server, made when it is needed. Whoever waits for an answer hears at once when it breaks.

The library would connect again by itself, keep what is sent meanwhile, and let answers time out; here the next sending connects, and the
destination or the event door decides what is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import SecureConnRequiredError

from adapters.http_upstream.tls import context
from adapters.messaging.destination import failure
from adapters.nats.config import Reached
from adapters.nats.failures import nobody, translated
from adapters.nats.login import Login, login
from router.errors import ConfigError

log = logging.getLogger("lockgate.nats")
NO_RESPONDERS = "503"
STATUS = "Status"
CLOSING_S = 2.0
MOST_PENDING = 8 << 20
_SUBJECT = re.compile(r'publish to "([^"]+)"', re.IGNORECASE)
Heard = Callable[[Msg], Awaitable[None]]


class _Secured(Client):  # type: ignore[misc]  # the library is not looked into
    """Sends no credential over a connection without TLS where TLS is asked for: the server's first word is not protected."""

    secure = False

    def _connect_command(self) -> bytes:
        if self.secure and not (self._server_info.get("tls_required") or self.options["tls_handshake_first"]):
            raise SecureConnRequiredError
        command: bytes = super()._connect_command()
        return command


class Connection:
    """One that stands. `lost` is set, and `then` called, when it does not any more, and everybody who waits has been told."""

    def __init__(self, inbox: str) -> None:
        self.lost = asyncio.Event()
        self.then: Callable[[], None] = lambda: None
        self.client = _Secured()
        self._prefix = f"{inbox}.{self.client._nuid.next().decode()}"
        self._number = 0
        self._waiting: dict[str, tuple[str, asyncio.Future[Msg]]] = {}

    async def start(self, settings: Reached, shown: Login, tls: Any) -> None:
        """Raises what the library raises."""
        client = self.client
        client.secure, client._public_nkey = settings.secure, shown.public
        await client.connect(
            list(settings.servers),
            name="lockgate",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=settings.connect,
            error_cb=self._failed,
            closed_cb=self._closed,
            tls=tls,
            tls_hostname=settings.tls.server_name if settings.tls is not None else None,
            tls_handshake_first=settings.handshake_first,
            user=shown.user,
            password=shown.password,
            token=shown.token,
            signature_cb=shown.sign,
            user_jwt_cb=(lambda: (shown.jwt or "").encode()) if shown.jwt is not None else None,
            inbox_prefix=settings.inbox,
            pending_size=MOST_PENDING,
            flush_timeout=settings.connect,
        )
        await client.subscribe(f"{self._prefix}.*", cb=self._answered, pending_msgs_limit=0, pending_bytes_limit=0)

    async def ask(self, subject: str, content: bytes, headers: dict[str, str] | None = None) -> Msg:
        """The answer. Raises DestinationError. It is not bounded in time: whoever asks is."""
        self._number += 1
        reply = f"{self._prefix}.{self._number}"
        answer = asyncio.get_running_loop().create_future()
        self._waiting[reply] = (subject, answer)
        try:
            await self.send(subject, content, reply, headers)
            heard: Msg = await answer
        finally:
            del self._waiting[reply]
        if heard.headers is not None and heard.headers.get(STATUS) == NO_RESPONDERS and not heard.data:
            raise nobody()
        return heard

    async def send(self, subject: str, content: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Nobody confirms it. Raises DestinationError where it was certainly not sent."""
        if self.lost.is_set():
            raise failure("connect_failed", "the connection to the NATS server is gone")
        try:
            await self.client.publish(subject, content, reply, headers)
        except Exception as error:
            raise translated(error, sent=False) from error

    async def listen(self, heard: Heard) -> str:
        """A subject of its own, whose messages are given to `heard`."""
        self._number += 1
        subject = f"{self._prefix}.{self._number}.taken"
        await self.client.subscribe(subject, cb=heard, pending_msgs_limit=0, pending_bytes_limit=0)
        return subject

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSING_S):
                await self.client.close()
        finally:
            self.abort()
            await self._closed()

    def abort(self) -> None:
        """Lets go of the socket: after a TLS handshake that failed, the library waits for its end and never hears of it."""
        transport, self.client._transport = self.client._transport, None
        for writer in (getattr(transport, "_io_writer", None), getattr(transport, "_bare_io_writer", None)):
            if writer is not None:
                writer.transport.abort()

    async def _answered(self, message: Msg) -> None:
        found = self._waiting.get(message.subject)
        if found is not None and not found[1].done():
            found[1].set_result(message)

    async def _failed(self, error: Exception) -> None:
        """What a server says out of turn. That we may not publish somewhere is an answer to who waits for one from there."""
        found = _SUBJECT.search(str(error))
        if found is None:
            log.debug("NATS: %s", error)
            return
        for subject, answer in self._waiting.values():
            if subject.lower() == found[1].lower() and not answer.done():
                answer.set_exception(translated(error, sent=False))

    async def _closed(self) -> None:
        self.lost.set()
        self.then()
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(translated(ConnectionError(), sent=True))


class Link:
    """Makes the connection when it is asked for, once for all who ask at the same time."""

    def __init__(self, settings: Reached, root: Path) -> None:
        self._settings = settings
        self._root = root
        self._tls: Any = None
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None

    def check(self) -> None:
        """Reads what the configuration names. Raises ConfigError."""
        if self._settings.secure:
            tls, root = self._settings.tls, self._root
            paths = (tls.ca, tls.certificate, tls.key) if tls is not None else (None, None, None)
            self._tls = context(*(str(root / path) if path is not None else None for path in paths))
        login(self._settings, self._root)

    async def connection(self) -> Connection:
        """Raises DestinationError."""
        if self._connection is not None and not self._connection.lost.is_set():
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Connection:
        made = Connection(self._settings.inbox)
        try:
            async with asyncio.timeout(self._settings.connect):
                await made.start(self._settings, login(self._settings, self._root), self._tls)
        except ConfigError as error:
            raise failure("upstream_denied", f"the credentials for the NATS server cannot be read: {error}") from error
        except Exception as error:
            await _let_go(made)
            cause = made.client.last_error if _says_nothing(error) and made.client.last_error is not None else error
            raise translated(cause, sent=False) from error
        except BaseException:
            await _let_go(made)
            raise
        self._connection = made
        return made

    async def ping(self) -> None:
        """Raises DestinationError."""
        connection = await self.connection()
        try:
            await connection.client.flush(timeout=self._settings.connect)
        except Exception as error:
            raise translated(error, sent=False) from error

    async def close(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is not None and not connecting.done():
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        elif connecting is not None and not connecting.cancelled():
            connecting.exception()  # whoever waited for it has heard
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _says_nothing(error: Exception) -> bool:
    return type(error).__name__ in ("NoServersError", "TimeoutError")


async def _let_go(made: Connection) -> None:
    made.abort()
    try:
        await made.close()
    except Exception as error:  # noqa: BLE001  # of a connection that never stood
        log.debug("NATS: %s", error)
