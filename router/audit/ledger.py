"""The ledger that a process shares: many wait, one thread commits, and everything that waits shares the next commit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from router.audit.beside import REFUSED, KnownArrivalsError
from router.audit.journal import PASSING, Journal, Written, check_entry
from router.errors import EVENT_KNOWN, AuditError
from router.ports import Entry

Places = int | tuple[int, ...]
"""The index of the first of several records that stand together, or of each; REFUSED for one that is not there."""
_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Places]"]
_Job = tuple[Sequence[Entry], _Waiter]
T = TypeVar("T")

OVERLOADED = "audit_overloaded"
BATCH_RECORDS = 1024
BATCH_BYTES = 8 * 2**20
SIGNED_WITHIN_S = 10.0  # not longer than the pause after a signature that failed, so that such a failure is told at once


class _Call:
    """Work for the writer's thread between two commits."""

    def __init__(self, work: Callable[[Journal], Any]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self, journal: Journal) -> None:
        try:
            self.answer(self._work(journal))
        except Exception as error:  # noqa: BLE001  # the caller's, whatever it is; the writer goes on
            self.answer(error)

    def answer(self, result: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve, result)

    def _resolve(self, result: object) -> None:
        if self.future.done():
            return
        if isinstance(result, AuditError):
            self.future.set_exception(_fresh(result))
        elif isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class AuditLedger:
    """Implements `router.ports.Ledger` over a Journal. `waiting` bounds the records that may wait for their commit."""

    def __init__(self, journal: Journal, waiting: int = 8192) -> None:
        self._journal = journal
        self._limit = waiting
        self._jobs: SimpleQueue[_Job | _Call | None] = SimpleQueue()
        self._calls: list[_Call] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._waiting = 0
        self._accepting = False
        self._hindered: AuditError | None = None

    async def open(self, agreed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Raises AuditError when the file is in use, altered, or older than a checkpoint that was signed for it, and what `agreed` raises,
        which is awaited before anything may be written or signed."""
        await asyncio.to_thread(self._journal.open)
        try:
            if agreed is not None:
                await agreed()
        except BaseException:
            await asyncio.to_thread(self._journal.abandon)
            raise
        self._accepting, self._hindered = True, None
        self._thread = threading.Thread(target=self._run, name="audit-ledger", daemon=True)
        self._thread.start()

    async def append(self, entry: Entry) -> int:
        place = await self._submit((entry,))
        if isinstance(place, int):
            return place
        if place[0] == REFUSED:
            raise AuditError("Another record decided this event.", EVENT_KNOWN)
        return place[0]

    async def append_many(self, entries: Sequence[Entry]) -> list[int]:
        """One future, and one commit for all of them. REFUSED instead of an index for one whose arrival is another record's."""
        if not entries:
            return []
        first = await self._submit(entries)
        return list(range(first, first + len(entries))) if isinstance(first, int) else list(first)

    async def call(self, work: Callable[[Journal], T]) -> T:
        """On the writer's thread, after everything that was submitted before; records wait for as long as it takes."""
        self._usable(0)
        call = _Call(work)
        self._jobs.put(call)
        result: T = await call.future
        return result

    async def sign(self, size: int) -> None:
        """Has a checkpoint signed over so many records, and waits for it beside the thread that commits, at most SIGNED_WITHIN_S. Who wants
        to know whether there is one looks: the log says why there is none, and it stays due. Raises AuditError where the ledger fails."""
        until = time.monotonic() + SIGNED_WITHIN_S
        if size > self._journal.size:  # of another node's records
            await self._submit(())
        while True:
            again = await self.call(lambda journal: journal.sign_up_to(size))
            if again is None or time.monotonic() + again > until:
                return
            await asyncio.sleep(again)

    async def bar(self, key_id: str) -> None:
        """See `Journal.bar`."""
        await self.call(lambda journal: journal.bar(key_id))

    async def drop_sealed(self, key_id: str) -> None:
        """See `LedgerStore.drop_sealed`."""
        await self.call(lambda journal: journal.deliveries(lambda store: store.drop_sealed(key_id)))

    async def ping(self) -> None:
        """After a failure that may pass an empty commit tries again: nobody else may, while readiness keeps traffic away. An idle node of a
        shared ledger so learns that the store is away, and sees, and signs for, what the others appended."""
        self._usable(0)
        if self._hindered is not None or self._journal.stale:
            await self._submit(())

    async def keep_cosigned(self, note: str, *, witnessed: bool) -> None:
        """Stores a checkpoint of this ledger with its cosignatures, between two commits, and then writes it to the directory, where no
        record waits for it. `witnessed`: by a quorum. Raises AuditError."""
        await self.call(lambda journal: journal.keep_cosigned(note))
        await asyncio.to_thread(self._journal.publish_cosigned, note, witnessed=witnessed)

    @property
    def size(self) -> int:
        return self._journal.size

    @property
    def waiting(self) -> int:
        return self._waiting

    @property
    def unsigned(self) -> int:
        """Records that no checkpoint covers yet."""
        return self._journal.unsigned

    @property
    def fault(self) -> AuditError | None:
        """Why records are refused now, if they are."""
        return self._journal.fault or self._hindered

    def root(self) -> bytes:
        return self._journal.root()

    async def close(self) -> None:
        """What waits is still committed. Twice is harmless."""
        thread, self._thread, self._accepting = self._thread, None, False
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    def _submit(self, entries: Sequence[Entry]) -> asyncio.Future[Places]:
        for entry in entries:
            check_entry(entry)
        self._usable(len(entries))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Places] = loop.create_future()
        with self._lock:
            self._waiting += len(entries)
        self._jobs.put((entries, (loop, future)))
        return future

    def _usable(self, more: int) -> None:
        if not self._accepting:
            raise AuditError("The audit ledger is not open.", "audit_closed")
        if self._journal.fault is not None:
            raise _fresh(self._journal.fault)
        if self._waiting and self._waiting + more > self._limit:
            raise AuditError(f"{self._waiting} records already wait for the audit ledger.", OVERLOADED)

    def _run(self) -> None:
        try:
            running = True
            while running:
                jobs, running = self._take()
                if jobs:
                    self._commit(jobs)
                calls, self._calls = self._calls, []
                for call in calls:
                    call.run(self._journal)
                if self._journal.until_checkpoint() == 0.0:
                    self._journal.sign_checkpoint()
            self._journal.close()
        except BaseException:
            self._accepting = False
            self._refuse_waiting()
            raise

    def _refuse_waiting(self) -> None:
        """The writer is gone by a fault of its own; whoever waits for it must not wait for ever."""
        with suppress(Empty):
            while True:
                job, stopped = self._jobs.get_nowait(), AuditError("The audit ledger's writer has stopped.", "audit_unavailable")
                if isinstance(job, _Call):
                    job.answer(stopped)
                elif job is not None:
                    _answer([job], stopped)

    def _take(self) -> tuple[list[_Job], bool]:
        """Everything that waits, up to a bound; waits for the first until a checkpoint is due. False once the ledger closes."""
        jobs: list[_Job] = []
        records = size = 0
        try:
            job = self._jobs.get(timeout=self._journal.until_checkpoint())
            while job is not None:
                if isinstance(job, _Call):
                    self._calls.append(job)
                    return jobs, True
                jobs.append(job)
                records += len(job[0])
                size += sum(len(entry.leaf) + len(entry.sealed) for entry in job[0])
                if records >= BATCH_RECORDS or size >= BATCH_BYTES:
                    return jobs, True
                job = self._jobs.get_nowait()
        except Empty:
            return jobs, True
        return jobs, False

    def _commit(self, jobs: list[_Job]) -> None:
        entries = [entry for job in jobs for entry in job[0]]
        with self._lock:
            self._waiting -= len(entries)
        result: Written | AuditError
        try:
            try:
                result = self._journal.append_new(entries)
            except KnownArrivalsError as known:  # the others of the batch are not to suffer
                result = self._without(entries, known.places)
        except AuditError as error:
            result = error
        self._hindered = result if isinstance(result, AuditError) and result.code in PASSING else None
        _answer(jobs, result)

    def _without(self, entries: Sequence[Entry], refused: frozenset[int]) -> Written:
        """REFUSED is where those are that were not written: of a ledger that several nodes append to, more may be known once it is our turn
        again."""
        while len(refused) < len(entries):
            kept = [place for place in range(len(entries)) if place not in refused]
            try:
                written = self._journal.append_new([entries[place] for place in kept])
            except KnownArrivalsError as more:
                refused |= {kept[place] for place in more.places}
            else:
                there = {kept[place]: index for place, index in written.there.items()}
                return Written(written.first, there | dict.fromkeys(refused, REFUSED))
        return Written(self._journal.size, dict.fromkeys(refused, REFUSED))


def _answer(jobs: list[_Job], result: Written | AuditError) -> None:
    """One wake-up per event loop and commit, not per record."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Places], Places | AuditError]]] = {}
    place, index = 0, 0 if isinstance(result, AuditError) else result.first
    for entries, (loop, future) in jobs:
        answer: Places | AuditError
        if isinstance(result, AuditError):
            answer = result
        elif result.there:
            answer, index = _places(index, range(place, place + len(entries)), result.there)
        else:
            answer, index = index, index + len(entries)
        place += len(entries)
        loops.setdefault(loop, []).append((future, answer))
    for loop, answers in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, answers)


def _places(first: int, of: range, there: Mapping[int, int]) -> tuple[tuple[int, ...], int]:
    found = list[int]()
    for place in of:
        found.append(there.get(place, first))
        first += place not in there
    return tuple(found), first


def _resolve(answers: list[tuple[asyncio.Future[Places], Places | AuditError]]) -> None:
    for future, result in answers:
        if future.done():  # its caller stopped waiting
            continue
        if isinstance(result, AuditError):
            future.set_exception(_fresh(result))
        else:
            future.set_result(result)


def _fresh(error: AuditError) -> AuditError:
    """An exception collects the traceback of everybody who raises it, so each gets one of its own."""
    return AuditError(str(error), error.code)
