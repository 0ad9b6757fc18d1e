"""The tiles of the running ledger: read beside its writer, on one thread, by whom the configuration lets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from router.audit.questions.reader import LedgerReader
from router.audit.tree.checkpoint import note_checkpoint
from router.audit.tree.tiles import Tile, read_tile
from router.control.guarded import facts_of_certificate, facts_of_key
from router.control.judging import Doing, Facts, Judge
from router.control.permissions import Permission
from router.identity.certificate_callers import CertificateCallers
from router.identity.certificates import PeerCertificate
from router.identity.credentials import credential
from router.identity.key_service import KeyService
from router.ports import Clock
from router.wiring.questions import SubjectLookup, SystemRecords

T = TypeVar("T")
TILES = Doing("GET", "/tile")
NOTED_EVERY_NS = 3600 * 1_000_000_000


class LedgerTiles:
    """Implements the port of `router.control.tiles`."""

    def __init__(self, open_reader: Callable[[], LedgerReader]) -> None:
        self._open_reader = open_reader
        self._reader: LedgerReader | None = None
        self._thread = ThreadPoolExecutor(1, "audit-tiles")

    async def checkpoint(self) -> str | None:
        return await self._run(lambda reader: reader.latest_checkpoint())

    async def tile(self, tile: Tile, packed: bool) -> bytes | None:
        return await self._run(lambda reader: _covered(reader, tile, packed))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _run(self, question: Callable[[LedgerReader], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(self._opened()))

    def _opened(self) -> LedgerReader:
        if self._reader is None:
            self._reader = self._open_reader()
        return self._reader

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()


class Readers:
    """Admits API keys and certificates that may read the audit trail. Each is recorded as a reader when it comes and once an hour from then
    on: a record for each tile would make whoever follows the ledger its greatest writer."""

    def __init__(
        self,
        keys: KeyService,
        subjects: SubjectLookup,
        records: SystemRecords,
        clock: Clock,
        judge: Judge,
        certificates: CertificateCallers | None = None,
    ) -> None:
        self._certificates = certificates
        self._judge = judge
        self._keys = keys
        self._subjects = subjects
        self._records = records
        self._clock = clock
        self._noted: dict[str, int] = {}
        self._noting = asyncio.Lock()

    async def admit(self, headers: Iterable[tuple[bytes, bytes]], certificate: PeerCertificate | None = None) -> None:
        """A key comes before the connection's certificate. Raises IdentityError; AuditError where the reading cannot be recorded."""
        facts, key_id, subject = self._known(headers, certificate)
        self._judge.check(facts, Permission.AUDIT_READ, TILES)
        if self._due(key_id):
            async with self._noting:  # clients fetch many tiles at once
                await self._note(key_id, subject)

    def _known(self, headers: Iterable[tuple[bytes, bytes]], certificate: PeerCertificate | None) -> tuple[Facts, str, str]:
        alone = credential(headers) is None
        found = self._certificates.caller(certificate, alone=alone) if self._certificates is not None else None
        if found is not None:
            return facts_of_certificate(found), found.key_id, found.subject.id
        key = self._keys.verify(headers)
        return facts_of_key(key), key.id, key.subject.id

    async def _note(self, key_id: str, subject: str) -> None:
        if self._due(key_id):
            reader, _ = await self._subjects.key_for(subject)
            await self._records.system("audit_read", {"what": "tiles", "reader_key": reader})
            self._noted[key_id] = self._clock.monotonic_ns()

    def _due(self, key_id: str) -> bool:
        return self._clock.monotonic_ns() - self._noted.get(key_id, -NOTED_EVERY_NS) >= NOTED_EVERY_NS


def _covered(reader: LedgerReader, tile: Tile, packed: bool) -> bytes | None:
    note = reader.latest_checkpoint()
    if note is None or not tile.within(note_checkpoint(note).size):
        return None
    content = read_tile(reader, tile)
    return gzip.compress(content, 6, mtime=0) if packed else content
