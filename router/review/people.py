"""The keys of people, by subject and by id: who is the same person, and what may still be opened."""

from __future__ import annotations

from typing import Protocol

from router.audit.records.record import open_personal
from router.errors import AuditError
from router.ports import Entry, SubjectKeys


class KeysById(SubjectKeys, Protocol):
    async def key(self, key_id: str) -> bytes | None:
        """None once it was destroyed. Raises AuditError."""


class People:
    def __init__(self, keys: KeysById) -> None:
        self._keys = keys

    async def key_for(self, subject: str) -> tuple[str, bytes]:
        return await self._keys.key_for(subject)

    async def key(self, key_id: str) -> bytes | None:
        return await self._keys.key(key_id)

    async def opened(self, entry: Entry) -> dict[str, str]:
        """The personal part of a record; empty where there is none, or none that its person's key opens."""
        key = await self._keys.key(entry.key_id) if entry.key_id else None
        if key is None:
            return {}
        try:
            return open_personal(entry, key)
        except (AuditError, ValueError, KeyError):
            return {}
