"""Questions to the server that has a key, and what its errors mean for a message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapters.messaging.destination import failure
from adapters.redis_state.failures import DENIED, LATE, LOST, ScriptUnknownError
from adapters.redis_state.link import Part
from adapters.redis_state.places import Place
from adapters.redis_state.state import Script, place_of
from adapters.redis_streams.config import Servers
from router.config.shared_state import RedisSettings
from router.errors import DestinationError, StateError

FAILURES = 3
TLS = ("SSL", "certificate", "CERTIFICATE")
FULL = "OOM"


class Redis:
    """One connection for each server. Nothing here waits for one but `open`."""

    def __init__(self, settings: Servers, root: Path) -> None:
        self._settings, self._root = settings, root
        self._place: Place | None = None

    async def open(self) -> None:
        """Raises ConfigError for files that cannot be used. Returns when the first attempt to connect has ended, or takes long."""
        made = self._settings
        if made.password is not None:
            made.password.reveal(self._root)
        shared = {name: getattr(made, name) for name in Servers.model_fields}
        self._place = place_of(RedisSettings.model_construct(**shared, failures=FAILURES), self._root, lambda _: None)
        with suppress(TimeoutError):
            async with asyncio.timeout(made.connect_within):
                await self._place.open()

    async def close(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            await place.close()

    async def ask(self, key: str, *command: Part, within_s: float) -> Any:
        """Raises DestinationError."""
        place = self._standing()
        try:
            return await place.ask(key.encode(), *command, until=asyncio.get_running_loop().time() + within_s)
        except StateError as error:
            raise translated(error) from error

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Part], *, within_s: float) -> Any:
        """All keys are where the first is. Raises DestinationError, after which it was done whole or not at all."""
        place, until = self._standing(), asyncio.get_running_loop().time() + within_s
        rest = (len(keys), *keys, *arguments)
        try:
            try:
                return await place.ask(keys[0].encode(), "EVALSHA", script.name, *rest, until=until)
            except ScriptUnknownError:
                return await place.ask(keys[0].encode(), "EVAL", script.text, *rest, until=until)
        except StateError as error:
            raise translated(error) from error

    def _standing(self) -> Place:
        if self._place is None:
            raise failure("destination_closed", "Redis is not open")
        why = self._place.problem if self._place.together else None
        if why is not None:
            raise translated(why, sent=False)
        return self._place


def translated(error: StateError, *, sent: bool = True) -> DestinationError:
    """`sent`: a connection stood, so that what was asked may have been done."""
    text = str(error).rstrip(".")
    if error.code == DENIED:
        return failure("upstream_denied", "Redis does not accept our credential, or does not allow it")
    if error.code == LATE:
        return failure("upstream_timeout", "Redis did not answer in time", sent=True)
    if error.code == LOST:
        if sent:
            return failure("upstream_reset", "the connection to Redis broke", sent=True)
        if any(each in text for each in TLS):
            return failure("tls_failed", "no TLS connection with Redis could be made")
        return failure("connect_failed", "Redis cannot be reached")
    if FULL in text:
        return failure("upstream_throttled", "Redis takes nothing more: its memory is full")
    return failure("upstream_refused", "Redis does not do it: the key is no stream, or the server is not one that can")
