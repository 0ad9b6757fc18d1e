"""Keeps a link to a server standing, beside the requests: they find one that stands, or hear at once that there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from adapters.redis_state.failures import LOST, UNUSABLE
from adapters.redis_state.link import Link, Part
from router.errors import StateError

HEARTBEAT_S = 2.0
log = logging.getLogger("lockgate.state")


class Keeper:
    """`find` connects to where the server is now. `told` hears why there is no link, once for each reason, and None when there is one."""

    def __init__(self, find: Callable[[], Awaitable[Link]], retry: float, told: Callable[[StateError | None], None]) -> None:
        self._find = find
        self._retry = retry
        self._told = told
        self._link: Link | None = None
        self._why = StateError("Redis has not answered yet.", LOST)
        self._tried = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def problem(self) -> StateError | None:
        return self._why if self._link is None or self._link.lost.is_set() else None

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def tried(self) -> None:
        """Returns when there is a link, or the first attempt to make one has failed."""
        await self._tried.wait()

    async def ask(self, *command: Part, until: float) -> Any:
        """Raises StateError."""
        link = self._link
        if link is None:
            raise StateError(str(self._why), self._why.code)  # anew: one that is raised again and again collects its ways
        try:
            return await link.ask(*command, until=until)
        except StateError as error:
            if error.code == LOST:  # what says that it is a replica now, or has no data yet, is not the server that is looked for
                link.close()
            raise

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._link is not None:
            self._link.close()

    async def _keep(self) -> None:
        while True:
            try:
                self._link = await self._find()
            except StateError as error:
                self._lost(error)
            except Exception:  # whatever a server answers, it must not end the attempts
                log.exception("a server did not answer as Redis does")
                self._lost(StateError("What answers is not Redis as we know it; the log has the details.", UNUSABLE))
            else:
                self._told(None)
                self._tried.set()
                await self._watch(self._link)
                self._lost(StateError(f"Redis at {self._link.address} does not answer any more.", LOST))
            await asyncio.sleep(self._retry)

    @staticmethod
    async def _watch(link: Link) -> None:
        """Returns when it is lost. Asked now and then, a server does not take an idle connection for a forgotten one, and one that hangs is
        found out before a request has to. One that is still taking a long answer does not hang."""
        while not link.lost.is_set():
            taken = link.taken
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await link.lost.wait()
            except TimeoutError:
                try:
                    await link.ask("PING", until=asyncio.get_running_loop().time() + HEARTBEAT_S)
                except StateError:
                    if not link.takes(taken):
                        link.close()
                        await link.lost.wait()

    def _lost(self, why: StateError) -> None:
        self._link, self._why = None, why
        self._told(why)
        self._tried.set()
