"""One connection to a broker, made when it is needed and again after it was lost."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

from aiormq import Connection
from aiormq.abc import AbstractChannel
from yarl import URL

from adapters.http_upstream.tls import context
from adapters.messaging.destination import failure
from adapters.rabbitmq.config import Broker
from adapters.rabbitmq.failures import GONE, connecting
from router.errors import ConfigError, DestinationError
from router.settings import Address

CLOSE_WITHIN_S = 2.0
ALARM_S = 0.5
"""How long a broker may take no messages before whoever has one is told."""


class Line:
    """`name` is shown to the broker's operators. Files are relative to `root`."""

    def __init__(self, settings: Broker, root: Path, name: str) -> None:
        self._settings, self._root, self._name = settings, root, name
        self._secure: ssl.SSLContext | None = None
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self.address = settings.servers[0]

    @property
    def who(self) -> str:
        return f"RabbitMQ at {self.address}"

    @property
    def place(self) -> str:
        return f"amqp{'s' if self._settings.tls is not None else ''}://{self.address}/{self._settings.vhost.lstrip('/')}"

    def prepare(self) -> None:
        """Raises ConfigError for files that cannot be used."""
        # What the library logs with a traceback it also raises, and we report it once, by name.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
        tls = self._settings.tls
        if tls is not None:
            self._secure = context(*(None if each is None else str(self._root / each) for each in (tls.ca, tls.certificate, tls.key)))
        if self._settings.password is not None:
            self._settings.password.reveal(self._root)

    async def connection(self) -> Connection:
        """Raises DestinationError."""
        async with self._lock:
            standing = self._connection
            if standing is not None and standing.is_opened:
                return standing
            self._connection = None
            if standing is not None:
                await _closed(standing)
            self._connection = await self._connected()
            return self._connection

    async def channel(self, *, confirms: bool = True) -> AbstractChannel:
        """Raises DestinationError."""
        connection = await self.connection()
        try:
            return await connection.channel(publisher_confirms=confirms)
        except GONE as error:
            raise connecting(error, self.who) from error

    async def ready(self) -> None:
        """Raises DestinationError while the broker takes no messages (its memory or disk is short)."""
        connection = await self.connection()
        try:
            async with asyncio.timeout(ALARM_S):
                await connection.ready()
        except TimeoutError:
            raise failure("upstream_throttled", f"{self.who} takes no messages now: its memory or disk is short") from None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _closed(connection)

    async def _connected(self) -> Connection:
        """The first node that answers. A credential that is refused is not tried elsewhere."""
        last: DestinationError | None = None
        for address in self._settings.servers:
            self.address = address
            connection: Connection | None = None
            try:
                async with asyncio.timeout(self._settings.connect_within):
                    connection = Connection(self._url(address), context=self._secure, **self._names(address))
                    await connection.connect()
                    return connection
            except GONE as error:  # a TimeoutError is an OSError
                last = connecting(error, self.who)
            except BaseException:
                if connection is not None:
                    await _closed(connection)
                raise
            if last.code == "upstream_denied":
                raise last
        raise last if last is not None else failure("connect_failed", f"{self.who} cannot be reached")

    def _url(self, address: Address) -> URL:
        made = self._settings
        query = {"heartbeat": str(made.heartbeat), "name": self._name}
        password = None
        if made.password is None:
            query["auth"] = "external"
        else:
            try:
                password = made.password.reveal(self._root)
            except ConfigError:
                raise failure("upstream_denied", f"there is no password for {self.who}: its file cannot be read") from None
        return URL.build(
            scheme="amqp" if made.tls is None else "amqps",
            user=made.username,
            password=password,
            host=address.host.strip("[]"),
            port=address.port,
            path="/" + ("" if made.vhost == "/" else made.vhost),
            query=query,
        )

    def _names(self, address: Address) -> dict[str, Any]:
        tls = self._settings.tls
        return {} if tls is None else {"server_hostname": tls.server_name or address.host}


async def _closed(connection: Connection) -> None:
    """A broker that is gone keeps nobody waiting."""
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await connection.close()
    except (*GONE, TimeoutError, asyncio.InvalidStateError, AttributeError):  # never opened, or closed already
        return
