"""What is done in the control API, on record: who, by which permission, to what. A change before it takes effect; what was refused as
counts, so that nobody can fill the ledger by being refused."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from router.control.permissions import Permission
from router.errors import AuditError, LockgateError

log = logging.getLogger("lockgate.control")
ACTION, REFUSED = "control_action", "control_refused"
MOST = 200  # different refusals in one record; what is beyond is counted together
BEYOND = ("", "others", "")
# Recorded by what they do, each in its own words: what services tell, at a rate of theirs; trials, which change nothing. And what ends a
# stolen key or session is recorded after the act: a ledger that is down must not keep it alive.
OTHERWISE = frozenset({Permission.EVIDENCE_WRITE, Permission.POLICY_TRY, Permission.SELF, Permission.SESSIONS_WRITE})
Record = Callable[[str, Mapping[str, Any]], Awaitable[None]]
Pseudonym = Callable[[str], Awaitable[str]]


class Actor(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def key_id(self) -> str: ...


class Acts:
    """`pseudonym` gives the id of a subject's key, by which people stand in the ledger."""

    def __init__(self, record: Record, pseudonym: Pseudonym) -> None:
        self._record = record
        self._pseudonym = pseudonym
        self._refused: Counter[tuple[str, str, str]] = Counter()

    async def person(self, subject: str) -> str:
        """By which somebody stands in the ledger. Raises AuditError."""
        return await self._pseudonym(subject)

    async def begin(self, who: Actor, permission: Permission, method: str, path: str, target: Mapping[str, str]) -> None:
        """Durable when it returns. `path` as the route has it, `target` its parameters, which are ids. Raises AuditError."""
        if permission in OTHERWISE or (permission is Permission.KEYS_WRITE and method == "DELETE"):
            return
        by = await self.person(who.id)
        told = {name: value for name, value in target.items() if value.isascii() and len(value) <= 64}
        details = {"permission": permission.value, "method": method, "path": path, "target": told, "by": by, "by_key": who.key_id}
        await self._record(ACTION, details)

    async def refused(self, who: Actor | None, permission: Permission, code: str) -> None:
        """Counted; on record with the next `flush`. Never fails: it is refused whether that can be told or not."""
        by = ""
        if who is not None and who.id:
            try:
                by = await self.person(who.id)
            except LockgateError as error:
                log.warning("who was refused is not known by name: %s", error)
        key = (code, permission.value, by)
        self._refused[key if key in self._refused or len(self._refused) < MOST else BEYOND] += 1

    async def flush(self) -> None:
        """What cannot be recorded now goes with the next that can."""
        if not self._refused:
            return
        counts, self._refused = self._refused, Counter()
        listed = [{"code": code, "permission": permission, "by": by, "count": count} for (code, permission, by), count in counts.items()]
        try:
            await self._record(REFUSED, {"refused": listed})
        except AuditError as error:
            self._refused.update(counts)
            log.error("%d refusals are not recorded yet: %s", counts.total(), error)


async def _nobody(subject: str) -> str:
    return ""


async def _nothing(event: str, details: Mapping[str, Any]) -> None:
    """For a control API without a ledger, as in tests."""


def no_acts() -> Acts:
    return Acts(_nothing, _nobody)
