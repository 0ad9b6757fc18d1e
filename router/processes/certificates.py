"""The listeners' certificates while they serve: looked at as long as the process runs, handed to whoever serves with them, the last good
ones kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from router.config import Config, MutualTls
from router.doors.tls import Listening
from router.errors import ConfigError, LockgateError
from router.wiring.tls import Certificates, files, read_certificates

log = logging.getLogger("lockgate.tls")
LOOK_S = 1.0
SOON_DAYS = 14
CONTROL, TILES = "control", "tiles"
OWN = (CONTROL, TILES)  # of the control process itself; the others are the workers'
Seen = tuple[tuple[int, int, int] | None, ...]


class Workers(Protocol):
    async def certificates(self, payload: Mapping[str, Any]) -> None:
        """Returns when every worker has taken them up."""


class ListenerCertificates:
    """`problems`: why a listener's changed files are not used, by listener. `count` is told why a handshake with a listener of the control
    process failed; `most` and `longest` bound those that are under way."""

    def __init__(self, root: Path, config: Config, most: int, longest: float, count: Callable[[str], None]) -> None:
        """Raises ConfigError."""
        self._root = root
        self._settings: Mapping[str, MutualTls] = config.listeners_tls
        self._seen = {name: self._look(settings) for name, settings in self._settings.items()}
        self._serving = {name: read_certificates(root, name, settings) for name, settings in self._settings.items()}
        self._woken = asyncio.Event()
        self.problems: dict[str, str] = {}
        self._own = {name: Listening.of(self._serving[name].material, count, most, longest) for name in OWN if name in self._serving}
        for name, certificates in self._serving.items():
            if certificates.expired:
                log.error("the certificate of the %s listener expired on %s", name, _day(certificates))

    @property
    def payload(self) -> dict[str, Any]:
        """As workers get it."""
        return {name: each.material.payload for name, each in self._serving.items() if name not in OWN}

    def context(self, listener: str) -> Listening | None:
        """What a listener of the control process serves with, now and later; None where it serves unencrypted."""
        return self._own.get(listener)

    def wake(self) -> None:
        self._woken.set()

    def days(self) -> Iterator[tuple[str, float]]:
        """Until the certificate expires, by listener; below zero afterwards."""
        now = datetime.now(UTC)
        for name, each in self._serving.items():
            yield name, (each.expires - now).total_seconds() / 86400

    def warnings(self) -> list[str]:
        """For everybody to read: a code and the listener's name."""
        refused = [f"certificate_not_taken_up: {name}" for name in sorted(self.problems)]
        expired = [f"certificate_expired: {name}" for name, days in self.days() if days <= 0]
        return [*refused, *expired, *(f"certificate_expires_soon: {name}" for name, days in self.days() if 0 < days < SOON_DAYS)]

    async def keep(self, workers: Workers) -> None:
        """Takes up what changes, as long as it is not cancelled. Once more for files that were changed while they were read."""
        while self._settings:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                pass
            asked = self._woken.is_set()
            self._woken.clear()
            try:
                await self.look(workers, asked)
            except Exception:  # the watch must go on
                log.exception("looking at the certificates failed in a way that nobody foresaw; the last good ones serve on")

    async def look(self, workers: Workers, asked: bool = False) -> None:
        taken = False
        for name, settings in self._settings.items():
            seen = await asyncio.to_thread(self._look, settings)
            if asked or seen != self._seen[name]:
                self._seen[name] = seen
                taken |= await self._took(name, settings)
        if taken:
            for name, listening in self._own.items():
                listening.take(self._serving[name].material)
            await workers.certificates(self.payload)

    async def _took(self, name: str, settings: MutualTls) -> bool:
        """Whether the files hold others than serve."""
        before = self._serving[name]
        try:
            found = await asyncio.to_thread(read_certificates, self._root, name, settings)
            if found.expired and not before.expired:
                raise ConfigError(f"{name}.tls: the certificate has expired on {_day(found)}, and the one that serves has not")
        except LockgateError as error:
            self.problems[name] = str(error)
            log.error("the changed certificate is not used; the last good one serves on: %s", error)
            return False
        self.problems.pop(name, None)
        if found.material == before.material:
            return False
        self._serving[name] = found
        log.info("the %s listener has another certificate, which expires on %s", name, _day(found))
        return True

    def _look(self, settings: MutualTls) -> Seen:
        return tuple(_state(self._root / file) for _, file in files(settings))


def _state(path: Path) -> tuple[int, int, int] | None:
    """Of what the name leads to, also through links, which is how mounted secrets are exchanged."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _day(certificates: Certificates) -> str:
    return f"{certificates.expires:%Y-%m-%d}"
