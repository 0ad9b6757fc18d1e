"""State that Lockgate's nodes share on Redis: asked by scripts, each of which is done whole or not at all, within milliseconds."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

from adapters.redis_state.failures import ScriptUnknownError
from adapters.redis_state.link import Access, Part, connect
from adapters.redis_state.names import Names
from adapters.redis_state.places import Cluster, OneServer, Place, Told, find_master
from router.config.shared_state import RedisSettings, RedisTls
from router.errors import ConfigError, StateError
from router.ports import StateObserver

log = logging.getLogger("lockgate.state")


@dataclass(frozen=True, slots=True)
class Script:
    """Lua. Redis names a script by its SHA-1."""

    text: str
    name: str

    @classmethod
    def of(cls, text: str) -> Script:
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisState:
    """One for each worker. Nothing here ever waits for a connection but `open`."""

    def __init__(self, settings: RedisSettings, root: Path, observer: StateObserver) -> None:
        """Raises ConfigError."""
        self.names = Names(settings.prefix, *secrets(settings, root))
        self._timeout = settings.timeout
        self._connect_within = settings.connect_within
        self._observer = observer
        self._well = True
        self._place = place_of(settings, root, self._heard)

    @property
    def problem(self) -> str | None:
        """A code while requests are judged without it."""
        why = self._place.problem
        return why.code if why is not None else None

    @property
    def together(self) -> bool:
        """Whether a script may be about any keys at once."""
        return self._place.together

    def until(self) -> float:
        """By when a request that asks now must have been answered, however many questions it has; by the loop's time."""
        return asyncio.get_running_loop().time() + self._timeout

    def check(self) -> None:
        """Before a question is put together. Raises StateError where nobody could be asked."""
        why = self._place.problem if self._place.together else None
        if why is not None:
            self._observer.state_asked(why.code)
            raise StateError(str(why), why.code)

    async def open(self) -> None:
        """Returns when the first attempt to connect has ended, or takes long: who starts while Redis is away begins as if it had gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._connect_within):
                await self._place.open()

    async def close(self) -> None:
        await self._place.close()

    async def ping(self) -> None:
        """Raises StateError."""
        await self._place.ask(b"", "PING", until=self.until())

    async def ask(self, key: str, *command: Part, until: float) -> Any:
        """One command about one key. Raises StateError."""
        return await self._place.ask(key.encode(), *command, until=until)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Part], until: float, *, counted: bool = True) -> Any:
        """All keys are where the first is. Raises StateError, after which it may or may not have been done. `counted`: as a request's
        question."""
        place, rest = keys[0].encode(), (len(keys), *keys, *arguments)
        try:
            try:
                answer = await self._place.ask(place, "EVALSHA", script.name, *rest, until=until)
            except ScriptUnknownError:  # it was started anew, or another took its place
                answer = await self._place.ask(place, "EVAL", script.text, *rest, until=until)
        except StateError as error:
            if counted:
                self._observer.state_asked(error.code)
            raise
        if counted:
            self._observer.state_asked("answered")
        return answer

    def _heard(self, why: StateError | None) -> None:
        well = why is None
        self._observer.state_health(well)
        if well != self._well:
            self._well = well
            if why is not None:
                log.error("%s Requests are judged without what nodes share.", why)
            else:
                log.warning("Redis answers again; what nodes share is shared again.")


def secrets(settings: RedisSettings, root: Path) -> tuple[bytes, bytes | None]:
    """The nodes' common secret, nothing where they have none, and the one before it while they exchange it. Raises ConfigError."""
    key = settings.key.reveal(root).encode() if settings.key is not None else b""
    former = settings.previous_key.reveal(root).encode() if settings.previous_key is not None else None
    if former == b"":  # an empty file, say: anybody could seal answers with it
        raise ConfigError("'shared_state.previous_key' is empty.")
    if former == key:
        raise ConfigError("'shared_state.previous_key' is the same as 'shared_state.key'.")
    return key, former


def place_of(settings: RedisSettings, root: Path, told: Told) -> Place:
    password = partial(settings.password.reveal, root) if settings.password is not None else None
    context = _ssl(settings.tls, root) if settings.tls is not None else None
    servers = Access(settings.username, password, context, settings.connect_within, settings.failures)
    if settings.cluster:
        return Cluster(settings.cluster, servers, settings.retry, told)
    if settings.sentinel is not None:
        named = settings.sentinel
        theirs = partial(named.password.reveal, root) if named.password is not None else None
        sentinels = Access(named.username, theirs, context, settings.connect_within, settings.failures)
        return OneServer(partial(find_master, named.nodes, named.master, sentinels, servers), settings.retry, told)
    if settings.server is None:
        raise ConfigError("'shared_state' must have exactly one of 'server', 'sentinel' and 'cluster'.")
    return OneServer(partial(connect, settings.server, servers), settings.retry, told)


def _ssl(tls: RedisTls, root: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(root / tls.ca) if tls.ca is not None else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate is not None and tls.key is not None:
            context.load_cert_chain(str(root / tls.certificate), str(root / tls.key))
    except (OSError, ValueError) as error:
        raise ConfigError(f"'shared_state.tls' names files that cannot be used: {error}.") from error
    return context
