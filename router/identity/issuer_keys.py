"""How an issuer's verification keys are kept fresh: from a watched file, or from a URL in the background."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from router.errors import IdentityError, StateError
from router.identity.keyring import KeyRing, parse_ring
from router.ports import Clock

log = logging.getLogger("lockgate.identity")
SECOND = 1_000_000_000


class KeysPendingError(IdentityError):
    """The token's key is not known, and asking the issuer is allowed now."""

    def __init__(self, keys: FetchedKeys) -> None:
        super().__init__("The token's signing key is not known.", "key_unknown")
        self._keys = keys

    async def fetch(self) -> None:
        await self._keys.refresh()


class IssuerKeys(Protocol):
    def ring(self) -> KeyRing:
        """What is known now; microseconds. Raises IdentityError `keys_unavailable` (503)."""

    def missing(self) -> IdentityError:
        """What to raise when the ring does not hold a token's key."""


class KeyFile(Protocol):
    def stamp(self) -> object:
        """Changes when the file does. Raises StateError."""

    def read(self) -> bytes:
        """Raises StateError."""


class KeyUrl(Protocol):
    async def fetch(self) -> bytes:
        """Raises StateError."""

    async def close(self) -> None: ...


class _Kept:
    """The last good ring, for at most `max_age` seconds after it was last confirmed."""

    def __init__(self, clock: Clock, max_age: float) -> None:
        self._clock = clock
        self._max_age_ns = int(max_age * SECOND)
        self._ring: KeyRing | None = None
        self._document = b""
        self._confirmed_ns = 0

    def current(self) -> KeyRing:
        if self._ring is None or self._clock.monotonic_ns() - self._confirmed_ns > self._max_age_ns:
            raise IdentityError("The issuer's signing keys are not available.", "keys_unavailable", 503)
        return self._ring

    def confirm(self) -> None:
        self._confirmed_ns = self._clock.monotonic_ns()

    def keep(self, document: bytes) -> None:
        """An unchanged document keeps its ring, and with it every token that was verified by it. Raises ValueError."""
        if self._ring is None or document != self._document:
            self._ring, self._document = parse_ring(document), document
        self.confirm()


class WatchedKeys:
    """A JWKS file, looked at once a second. A file that turns bad leaves the last good keys until `max_age`."""

    def __init__(self, file: KeyFile, clock: Clock, max_age: float = 86_400) -> None:
        self._file = file
        self._clock = clock
        self._kept = _Kept(clock, max_age)
        self._stamp: object = None
        self._look_at = 0

    def ring(self) -> KeyRing:
        now = self._clock.monotonic_ns()
        if now >= self._look_at:
            self._look_at = now + SECOND
            self._look()
        return self._kept.current()

    def missing(self) -> IdentityError:
        return IdentityError("The token's signing key is not known.", "key_unknown")

    def _look(self) -> None:
        try:
            stamp = self._file.stamp()
            if stamp != self._stamp:
                self._kept.keep(self._file.read())
                self._stamp = stamp
            self._kept.confirm()
        except (StateError, ValueError) as error:
            log.warning("the signing keys were not read again: %s", error)


class FetchedKeys:
    """A JWKS URL: fetched when opened and every `refresh` seconds in the background, and at once for an unknown key, but never
    more often than every `pause` seconds. Failures leave the last good keys until `max_age`. All in seconds."""

    def __init__(
        self, url: KeyUrl, clock: Clock, refresh: float = 300, pause: float = 30, max_age: float = 86_400, patience: float = 1
    ) -> None:
        self._url = url
        self._clock = clock
        self._every = refresh
        self._patience = patience
        self._pause_ns = int(pause * SECOND)
        self._kept = _Kept(clock, max_age)
        self._next_ns = 0
        self._fetching: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Needs a running loop; an issuer that is down or slow does not keep Lockgate from starting."""
        first = self._begin()
        self._keeper = asyncio.create_task(self._keep_fresh())
        await asyncio.wait([first], timeout=self._patience)

    async def close(self) -> None:
        tasks = [task for task in (self._keeper, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keeper = self._fetching = None
        await self._url.close()

    def ring(self) -> KeyRing:
        try:
            return self._kept.current()
        except IdentityError:
            if self._may_fetch():
                raise KeysPendingError(self) from None
            raise

    def missing(self) -> IdentityError:
        return KeysPendingError(self) if self._may_fetch() else IdentityError("The token's signing key is not known.", "key_unknown")

    async def refresh(self) -> None:
        """Everybody who waits shares one fetch; within the pause after one it returns at once."""
        if self._may_fetch():
            await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    def _may_fetch(self) -> bool:
        return self._fetching is not None or self._clock.monotonic_ns() >= self._next_ns

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.refresh()

    async def _fetch(self) -> None:
        try:
            self._kept.keep(await self._url.fetch())
        except (StateError, ValueError) as error:
            log.warning("the signing keys were not fetched: %s", error)
        finally:
            self._next_ns = self._clock.monotonic_ns() + self._pause_ns
            self._fetching = None
