"""Connections of aiohttp on which an answer is that of its question.

The library looks at a connection when it is given back, and not when it is taken again. What came in between, which nobody had asked for (a
second answer, or the body of a 204 or 304), would be taken for the answer to whatever is asked next, by whoever.
"""

from __future__ import annotations

import asyncio
import functools
import select
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler


class _Handler(ResponseHandler):
    """A 204 has no body, and may not tell of any (RFC 9110 §8.6, RFC 9112 §6.1). Who does may send one, and it may come when the next
    question is on its way: its connection is not used again."""

    def feed_data(self, data: Any, size: int = 0) -> None:
        message = data[0]
        if message.code == 204 and ("transfer-encoding" in message.headers or message.headers.get("content-length", "0") != "0"):
            self.force_close()
        super().feed_data(data, size)


class _Aligned(aiohttp.BaseConnector):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._factory: Any = functools.partial(_Handler, loop=self._loop)

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close and _is_quiet(connection.transport):
                return connection
            connection.close()
        return None


def _is_quiet(transport: asyncio.Transport | None) -> bool:
    """Whether nothing waits there that the loop has not come to read: where much is ready at once, a connection is given back and taken
    again without a look at it. An end that nobody has read yet is something, too."""
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None:
        return False
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN)
    return not look.poll(0)


class TcpConnector(_Aligned, aiohttp.TCPConnector):
    pass


class UnixConnector(_Aligned, aiohttp.UnixConnector):
    pass
