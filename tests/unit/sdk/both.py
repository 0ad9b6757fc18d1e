"""Both clients behind one way of calling, so that every test is about both."""

from __future__ import annotations

import asyncio
from typing import Any

from lockgate.client import AsyncClient, Client


class Blocking:
    """Calls one client's methods, whichever it is, in a loop of its own where it needs one."""

    def __init__(self, kind: type, url: str, **settings: Any) -> None:
        self._kind, self._url, self._settings = kind, url, {"timeout": 20.0, "pause": 0.001, **settings}

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._kind is Client:
                with Client(self._url, **self._settings) as client:
                    return getattr(client, name)(*args, **kwargs)

            async def calling() -> Any:
                async with AsyncClient(self._url, **self._settings) as client:
                    return await getattr(client, name)(*args, **kwargs)

            return asyncio.run(calling())

        return call


KINDS = [Client, AsyncClient]
