"""Takes up what readers beside this process noted, and records it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Protocol

from router.audit.questions.reading import EVENT, FOLDER, notes
from router.errors import AuditError

log = logging.getLogger("lockgate.audit")
ROUND_S = 2.0


class SystemRecords(Protocol):
    async def system(self, event: str, details: dict[str, Any]) -> None: ...


class SubjectKeys(Protocol):
    async def key_for(self, subject: str) -> tuple[str, bytes]: ...


class Readings:
    """`state` is the state directory."""

    def __init__(self, state: Path, subjects: SubjectKeys, records: SystemRecords) -> None:
        self._folder = state / FOLDER
        self._subjects = subjects
        self._records = records

    async def take_up(self) -> int:
        """How many were recorded. A crash between record and removal records one twice, and never not. What cannot be recorded stays."""
        taken = 0
        for place, reader, reading in await asyncio.to_thread(lambda: list(notes(self._folder))):
            try:
                key_id, _ = await self._subjects.key_for(reader)
                await self._records.system(EVENT, reading.details(key_id))
            except AuditError as error:
                log.error("a reading of the audit trail is not recorded yet: %s", error)
                return taken
            place.unlink(missing_ok=True)
            taken += 1
        return taken

    async def keep_taking_up(self) -> None:
        said = ""
        while True:
            try:
                await self.take_up()
            except OSError as error:  # it may go on for days, and is said once
                if said != str(error):
                    log.error("notes about readings of the audit trail cannot be taken up: %s", error)
                said = str(error)
            await asyncio.sleep(ROUND_S)
