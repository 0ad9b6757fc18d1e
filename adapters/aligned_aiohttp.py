"""Connections of aiohttp on which an answer is that of its question.

The library looks at a connection when it is given back, and not when it is taken again. What came in between, which nobody had asked for (a
second answer, or the body of a 204 or 304), would be taken for the answer to whatever is asked next, by whoever.
"""

from __future__ import annotations

from typing import Any

import aiohttp


class _Aligned(aiohttp.BaseConnector):
    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class TcpConnector(_Aligned, aiohttp.TCPConnector):
    pass


class UnixConnector(_Aligned, aiohttp.UnixConnector):
    pass
