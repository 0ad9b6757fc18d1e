"""The durable parts that the control process owns: ledger, subject keys, and the counts of refusals on their way into the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.audit.journal import UNSETTLED, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.keys.comparing import refuse_older
from router.audit.keys.lanes import Lanes
from router.audit.ledger import AuditLedger
from router.audit.outbox import Outbox
from router.audit.questions.reader import Stored
from router.audit.records.canonical import timestamp
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import NoteSigner
from router.errors import AuditError
from router.ports import Clock, Entry
from router.processes.outbox import unpacked_entry
from router.processes.refusals import Refusals
from router.wiring.drafts import clear_broken_off
from router.wiring.ledger_keys import open_sealing_key
from router.wiring.ledger_place import LedgerPlace, ledger_place
from router.wiring.ledger_rotation import checkpointing, is_to_be_handed_over, ledger_signer, taken_over
from router.workspace import Workspace

if TYPE_CHECKING:
    from router.wiring.witnesses import Witnesses

log = logging.getLogger("lockgate.audit")
REFUSALS_EVERY_S = 5.0
MOST_OWED = 1000


@dataclass(slots=True)
class Evidence:
    ledger: AuditLedger
    keys: CachedSubjectKeys
    lanes: Lanes
    clock: Clock
    refusals: Refusals = field(default_factory=Refusals)
    witnesses: Witnesses | None = None
    verifier: str = ""
    _unrecorded_ns: int | None = None
    _late: bool = False
    _owed: deque[Entry] = field(default_factory=deque)  # of what has happened already, and may have been written by a try before
    _said: int = 0
    _paying: asyncio.Task[AuditError | None] | None = None

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.ledger, self.keys)

    async def append(self, payload: Any) -> list[int]:
        await self._paid()  # what came into force is on record before what it decides
        return await self.ledger.append_many([self._kept(unpacked_entry(fields)) for fields in payload])

    def _kept(self, entry: Entry) -> Entry:
        """As it is stored: what a door told of its delivery's order names nobody any more."""
        delivery = entry.delivery
        if delivery is None or not delivery.order:
            return entry
        return replace(entry, delivery=replace(delivery, order=self.lanes.lane(delivery.order)))

    async def subject_key(self, subject: Any) -> tuple[str, bytes, float | None]:
        """The last is until when it may be used; None where no other node could destroy it."""
        key_id, key = await self.keys.key_for(subject)
        return key_id, key, self.keys.until

    async def ping(self, _: Any = None) -> None:
        await self.ledger.ping()

    async def refused(self, counts: Any) -> None:
        for code, count in counts.items():
            self.refusals.add(code, count)

    async def system(self, event: str, details: Mapping[str, Any]) -> None:
        """Behind what is owed, so that no end of this process is on record without what it had in force. Raises AuditError."""
        entry = system_entry(event, self.clock.now_ns(), details)
        await self._paid()
        await self.ledger.append(entry)

    async def afterwards(self, event: str, details: Mapping[str, Any]) -> None:
        """Of what has happened, and cannot be taken back: recorded now, or as soon as the ledger is there, in order and with the time that
        it is now. A crash before that loses it. Raises AuditError where too much is owed already."""
        if len(self._owed) >= MOST_OWED:
            raise AuditError(f"The ledger was away while {MOST_OWED} changes came into force; no more of them can be kept for it.")
        self._owed.append(system_entry(event, self.clock.now_ns(), details))
        await self._pay()

    async def _paid(self) -> None:
        """Nothing is owed when this returns. Raises AuditError."""
        while self._owed:
            if (failed := await self._pay()) is not None:
                raise failed

    async def _pay(self) -> AuditError | None:
        """Why something is still owed. Whoever comes meanwhile shares the attempt: of a ledger that answers late, many would otherwise ask
        one after another. Whoever goes away does not end it: what was written would be owed still, and be written once more."""
        if not self._owed:
            return None
        if self._paying is None or self._paying.done():
            self._paying = asyncio.create_task(self._attempt())
        return await asyncio.shield(self._paying)

    async def _attempt(self) -> AuditError | None:
        """An AuditError that hides a success: the same bytes are appended once more."""
        failed = None
        try:
            while self._owed:
                await self.ledger.append(self._owed[0])
                self._owed.popleft()
        except AuditError as error:
            failed = error
            say = log.error if len(self._owed) > self._said else log.debug
            say("%d records of what has happened are to follow: %s", len(self._owed), error)
        self._said = len(self._owed)
        return failed

    async def record_refusals(self) -> None:
        """One record for all that was refused since the last; what cannot be recorded now goes with the next that can, which says since
        when that is (`since`): its own time is when the ledger was there again. Before it what is owed."""
        failed = await self._pay()
        now_ns, counts = self.clock.now_ns(), self.refusals.take()
        since_ns = now_ns if self._unrecorded_ns is None else self._unrecorded_ns
        if not counts:
            self._unrecorded_ns = now_ns
            return
        if failed is None:
            entry = system_entry("refused", now_ns, {**counts, "since": timestamp(since_ns)} if self._late else counts)
            self._owed.append(entry)  # whoever ends this in the middle has it neither lost nor written twice
            failed = await self._pay()
            failed = None if failed is not None and self._is_kept(entry, failed) else failed
        if failed is None:
            self.refusals.done()
            self._unrecorded_ns, self._late = now_ns, False
        else:
            self._unrecorded_ns, self._late = since_ns, True
            self.refusals.put(counts)
            log.error("%d refusals are not recorded yet: %s", sum(counts.values()), failed)

    def _is_kept(self, entry: Entry, failed: AuditError) -> bool:
        """Of one that may be written the same bytes are tried again, or what it counts would be told twice. One that is not written waits
        for no ledger: what is refused until then is counted with it."""
        others = [each for each in self._owed if each is not entry]
        if len(others) == len(self._owed) or failed.code == UNSETTLED or (self._paying is not None and not self._paying.done()):
            return True
        self._owed = deque(others)
        return False

    async def keep_recording(self) -> None:
        while True:
            await asyncio.sleep(REFUSALS_EVERY_S)
            await self.record_refusals()

    async def close(self) -> None:
        if self.witnesses is not None:
            await self.witnesses.close()
        await self.ledger.close()
        await self.keys.close()


def _make_folder(state: Path) -> None:
    """Raises AuditError."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        where = error.filename or state
        raise AuditError(f"The folder of 'state', {state}, cannot be made: {where}: {error.strerror}.", "audit_io_failed") from error


async def open_evidence(workspace: Workspace, clock: Clock) -> Evidence:
    """Raises AuditError, ConfigError, StateError: without evidence nothing starts."""
    place = ledger_place(workspace)
    state, audit = workspace.path(workspace.config.state), workspace.config.audit
    _make_folder(state)
    await asyncio.to_thread(clear_broken_off, state)
    signer = await asyncio.to_thread(ledger_signer, workspace)
    sealing_key = await asyncio.to_thread(open_sealing_key, audit.sealing_key, workspace.root, create=True)
    await asyncio.to_thread(_refuse_older, place, sealing_key, signer.name)  # before anything is recorded or signed
    store, newer = place.store(signer.verifier), _Newer()
    ledger = AuditLedger(Journal(store, replace(checkpointing(workspace, signer), signed=newer)))
    witnesses = _witnesses(workspace, place, signer, clock, lambda note, met: ledger.keep_cosigned(note, witnessed=met))
    if await asyncio.to_thread(is_to_be_handed_over, workspace, store, signer):
        if witnesses is not None:  # the hand-over signs, so it comes after
            await witnesses.agree()
        handed = await asyncio.to_thread(taken_over, workspace, store, signer, "configured", clock.now_ns())
        log.warning("the ledger was handed over, with record %d, to the key %s", handed.size - 1 if handed else -1, signer.verifier)
    keys = CachedSubjectKeys(place.keys(sealing_key))
    evidence = Evidence(ledger, keys, Lanes(sealing_key), clock, witnesses=witnesses, verifier=signer.verifier)
    try:
        await ledger.open(None if witnesses is None else witnesses.agree)
        await keys.open()
        await _rename_lanes(evidence)
        if witnesses is not None:
            newer.wake = witnesses.witnessing.wake
            await evidence.system(*witnesses.record())
            await witnesses.start()
    except BaseException:
        await evidence.close()
        raise
    return evidence


async def _rename_lanes(evidence: Evidence) -> None:
    """Before anything is added to an order, so that it goes on behind what a release of before left in it."""
    renamed = await evidence.outbox.rename_lanes(evidence.lanes.lane)
    if renamed:
        log.warning("the orders of %d deliveries, kept by a release of before, tell nobody any more whose they are", renamed)


def _refuse_older(place: LedgerPlace, sealing_key: bytes, origin: str) -> None:
    """Raises AuditError `audit_rolled_back` where the ledger is older than the subjects' keys."""
    keys = place.keys(sealing_key)
    keys.open()
    try:
        mark = keys.compared()
    finally:
        keys.close()
    if mark is None or mark.origin != origin:  # of another ledger than the one that is to be continued
        return
    try:
        reader = place.reader(Stored)
    except AuditError as error:
        if error.code != "audit_missing":
            raise
        message = f"The subjects' keys were held against {mark.size} records of {origin}, and there is no ledger."
        raise AuditError(f"{message} Put it back, or begin one with another name ('audit.origin').", "audit_rolled_back") from None
    try:
        refuse_older(mark, reader)
    finally:
        reader.close()


class _Newer:
    """Called on the ledger's thread when a checkpoint was signed; wakes whoever shows it to witnesses, on the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.wake: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self.wake is not None:
            self._loop.call_soon_threadsafe(self.wake)


async def agreed(workspace: Workspace, place: LedgerPlace, signer: NoteSigner, clock: Clock) -> None:
    """Asks the witnesses, where there are any, about the last checkpoint, before somebody signs without opening the evidence. Raises
    AuditError, ConfigError."""

    async def nothing_to_keep(_: str, __: bool) -> None:
        return None

    witnesses = _witnesses(workspace, place, signer, clock, nothing_to_keep)
    if witnesses is not None:
        try:
            await witnesses.agree()
        finally:
            await witnesses.close()


def _witnesses(
    workspace: Workspace, place: LedgerPlace, signer: NoteSigner, clock: Clock, keep: Callable[[str, bool], Awaitable[None]]
) -> Witnesses | None:
    config = workspace.config.audit.witnesses
    if config is None:
        return None
    made: type[Witnesses] = import_module("router.wiring.witnesses").Witnesses  # loads an HTTP client, which nobody else needs here
    return made(workspace, config, signer, clock, partial(place.reader, Stored), keep)
