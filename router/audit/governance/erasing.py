"""Destroying the key under which everything personal about somebody is sealed.

    1 nothing holds it back            a hold refuses, and nothing is written
    2 `erasure_ordered` is durable     crash after it: the key is there and nothing says otherwise; the next start goes on with 3
      nothing is recorded under it     what is on its way to the ledger loses its personal part; without a record, so done again with 3
    3 the key is in no file            crash after it: it is gone and not yet said to be; the next start does 3 again, which is harmless
    4 nobody keeps it in memory        a worker that does not say so is ended; a node that does not may use no key any more (`leasing`)
    5 held requests of theirs end      they could not be opened any more; nor could deliveries that were given up, which are removed
    6 `subject_erased` is durable      from here on it is said to be erased, and is
    7 the keys are marked              crash before it: the next start looks at this erasure again, and finds nothing to do
    8 a checkpoint over it is signed   crash before it: the next checkpoint covers it; others may give orders while it is waited for

The order is written first, as every decision here is, so that no key ever vanishes without a record of who wanted it. "Erased" is said
last, so that it is never said of a key that exists. What was ordered is carried out, whatever happens to whoever ordered it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from router.audit.governance.facts import Facts, Receipt
from router.audit.governance.ordering import NodeTurns, OneAtATime
from router.audit.governance.standing import ERASED, FOUND_AGAIN, ORDERED, REPEATED, Hold, Ordered, Standing
from router.audit.journal import Journal, check_entry
from router.audit.keys.comparing import Compared
from router.audit.records.canonical import is_slug
from router.audit.records.record import open_personal, system_entry
from router.errors import AuditError
from router.ports import Clock, Entry, Ids, Ledger, SubjectKeys

log = logging.getLogger("lockgate.audit")
AT_ONCE = 500  # key ids that one record names
RENEWED = 10_000  # records, after which the keys' mark is; a start without an index reads those after the mark
T = TypeVar("T")


class SigningLedger(Ledger, Protocol):
    async def call(self, work: Callable[[Journal], T]) -> T: ...

    async def bar(self, key_id: str) -> None:
        """See `Journal.bar`."""

    async def drop_sealed(self, key_id: str) -> None:
        """Removes deliveries under it that were given up; once more is harmless."""

    async def sign(self, size: int) -> None:
        """Returns once a checkpoint over so many records is signed, or none came in time. Raises AuditError where the ledger fails."""


class DestroyableKeys(SubjectKeys, Protocol):
    async def find(self, subject: str) -> str | None: ...

    async def key(self, key_id: str) -> bytes | None: ...

    async def present(self, key_ids: Sequence[str]) -> list[str]:
        """Those that are there."""

    async def destroy(self, *key_ids: str) -> None:
        """Raises AuditError unless the keys are in no file any more; once more is harmless."""

    async def compared(self) -> Compared | None:
        """Up to where of a ledger its erasures were looked after in this store."""

    async def mark(self, compared: Compared) -> None: ...


class Ask(Protocol):
    async def __call__(self, question: Callable[[Facts], T]) -> T:
        """On the thread that may block on the files."""


class Elsewhere(Protocol):
    """Who else has to do with a subject's key."""

    async def forget_key(self, key_id: str) -> None:
        """Returns when no process keeps it in memory."""

    async def drop_held(self, key_id: str) -> None:
        """Ends the held requests that were sealed under it and are not sent yet. Raises ReviewError."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who orders something and why. `by` is the subject id of who did, `authority` whose word they act on; all of it may name people."""

    by: str
    authority: str
    case: str = ""

    def personal(self) -> Mapping[str, str]:
        return {"ordered_by": self.by, "authority": self.authority, "case": self.case}


class Orders:
    """What everything that destroys or protects evidence needs. One at a time, so that nothing is put on hold while it is destroyed."""

    def __init__(
        self, ledger: SigningLedger, keys: DestroyableKeys, ask: Ask, clock: Clock, ids: Ids, nodes: NodeTurns | None = None
    ) -> None:
        self.ledger = ledger
        self.keys = keys
        self.ask = ask
        self.clock = clock
        self.ids = ids
        self.one_at_a_time = OneAtATime(nodes)

    async def append(self, entry: Entry, pruning: Sequence[int] = ()) -> int:
        """Within `one_at_a_time`. Raises AuditError `audit_order_overtaken` where this node lost its turn among the others."""
        order = self.one_at_a_time.number
        if order is None and not pruning:
            return await self.ledger.append(entry)
        check_entry(entry)
        return await self.ledger.call(lambda journal: journal.append([entry], pruning, order))

    async def append_all(self, entries: Sequence[Entry]) -> list[int]:
        """In one commit, otherwise as `append`."""
        order = self.one_at_a_time.number
        for entry in entries:
            check_entry(entry)
        first = await self.ledger.call(lambda journal: journal.append(entries, (), order))
        return list(range(first, first + len(entries)))

    async def entry(self, event: str, details: Mapping[str, Any], who: Who, record_id: str = "") -> Entry:
        """A system record whose personal part is sealed under the key of the person who orders."""
        key_id, key = await self.keys.key_for(who.by)
        return system_entry(event, self.clock.now_ns(), details, record_id or self.ids.new(), who.personal(), key_id, key)

    async def receipt(self, index: int) -> Receipt:
        """Under a checkpoint that is signed for it, which may have to be waited for: not within `one_at_a_time`. Raises AuditError
        `audit_unsigned`, after which the record stands all the same."""
        await self.ledger.sign(index + 1)
        receipt = await self.ask(lambda facts: facts.receipt(index))
        if receipt.checkpoint is None:
            raise AuditError(f"It is recorded as record {index}, but no checkpoint over it could be signed yet.", "audit_unsigned")
        return receipt


class Erasing:
    """`destroyed_again` counts the keys that came back and were destroyed since it was made."""

    def __init__(self, orders: Orders, elsewhere: Elsewhere) -> None:
        self._orders = orders
        self._elsewhere = elsewhere
        self._marked: Compared | None = None
        self._seen, self._whole = 0, False
        self.destroyed_again = 0

    async def erase(self, subject: str, reason: str, who: Who) -> Receipt:
        """Raises AuditError: `subject_unknown`, `audit_on_hold`, `audit_self_erasure`, `audit_reason_invalid`, with nothing written; any
        other code, and ReviewError, may come after 2, and then the erasure is finished when it is asked for again, a little later, or at
        the next start."""
        if not is_slug(reason):
            raise AuditError(f"The reason {reason[:64]!r} is not a slug such as gdpr_art_17.", "audit_reason_invalid")
        async with self._orders.one_at_a_time:
            index = await self._erased(subject, reason, who)
        return await self._orders.receipt(index)  # 8

    async def _erased(self, subject: str, reason: str, who: Who) -> int:
        """The index of the record that says so."""
        key_id = await self._orders.keys.find(subject)
        if finished := await self._finish():
            await self._try_to_mark()
        if key_id is None:
            raise _unknown(finished)
        if key_id in finished:  # it was ordered before, and left half done
            return finished[key_id]
        await self._check(key_id, who)  # 1
        order = await self._ordered(key_id, reason, who)  # 2
        index = await self._carried_out(order, who)
        await self._try_to_mark()  # 7
        return index

    async def finish(self) -> list[int]:
        """Destroys again what an old copy of the keys brought back, and carries out what was ordered and not finished. The indexes of
        the records that say so. Raises AuditError."""
        mark = await self._orders.keys.compared()
        self._seen = await self._reach(mark)
        before = await self._read_up(mark)
        async with self._orders.one_at_a_time:
            done = [*before, *await self._repeat(mark, await self._standing()), *(await self._finish()).values()]
            await self._mark()
        await self._signed(done)
        return done

    async def _read_up(self, mark: Compared | None) -> list[int]:
        """Where a start has many records to read, a piece at a time, each of which the mark keeps: who is ended meanwhile goes on there.
        Reading is nobody's turn, or nobody could order anything for minutes."""
        done = list[int]()
        while piece := await self._orders.ask(lambda facts: facts.piece(self._seen)):
            standing, here = piece
            async with self._orders.one_at_a_time:
                done += await self._repeat(mark, standing)
                if not standing.unfinished() and await self._reach(await self._orders.keys.compared()) < here.size:
                    await self._orders.keys.mark(here)
        return done

    async def carry_on(self) -> None:
        """Carries out what was ordered and not finished, such as while somebody else read the keys, and looks for keys that came back:
        for all where the keys have a mark that is not of what this node saw last, or the index was not there to look for all; else for
        those that were erased since the mark. Then the mark is renewed, where a start would have to read much. Raises AuditError."""
        async with self._orders.one_at_a_time:
            here = await self._orders.ask(lambda facts: facts.compared())  # before what is looked at, which reaches at least as far
            found = await self._orders.keys.compared()
            seen = await self._reach(found)
            standing = await self._standing()
            back = await self._repeat(found, standing, seen if self._whole and await self._went_on(found) else 0)
            done = [*back, *(await self._finish()).values()]
            if done:
                here, renewed = await self._orders.ask(lambda facts: facts.compared()), True
            else:
                renewed = here.size - seen >= RENEWED
            if renewed and standing.since <= seen:  # else nobody has looked at what lies between
                await self._mark(here)
            else:
                self._marked = found
        await self._signed(done)

    async def _signed(self, done: Sequence[int]) -> None:
        """Only what is signed over excuses a key that is gone."""
        if done:
            await self._orders.ledger.sign(max(done) + 1)

    async def _try_to_mark(self) -> None:
        """Over no mark but what this node knows: under an old copy of the keys others may be there again."""
        try:
            if self._marked is None or await self._went_on(await self._orders.keys.compared()):
                await self._mark()
        except AuditError as error:  # it is erased all the same, and the next start looks at it again
            log.warning("it is not marked in the subjects' keys that an erasure was carried out: %s", error)

    async def _went_on(self, found: Compared | None) -> bool:
        """Whether the keys' mark is the one that this node saw last, or a later one of the same ledger, as another node makes: an old copy
        of the keys has an older one."""
        if found is None or self._marked is None or found == self._marked:
            return found == self._marked
        return self._marked.size < await self._reach(found)

    async def _reach(self, mark: Compared | None) -> int:
        """How many records of this ledger a mark is over."""
        return await self._orders.ask(lambda facts: facts.seen(mark))

    async def _mark(self, mark: Compared | None = None) -> None:
        """Last, so that what a crash leaves is looked at again: everything ordered is carried out, and nothing erased is there."""
        here = mark if mark is not None else await self._orders.ask(lambda facts: facts.compared())
        await self._orders.keys.mark(here)
        self._marked = here

    async def _finish(self) -> dict[str, int]:
        """The records that say so, by key id."""
        standing = await self._standing()
        return {order.key_id: await self._carried_out(order, None) for order in standing.unfinished()}

    async def _repeat(self, mark: Compared | None, standing: Standing, since: int = 0) -> list[int]:
        """The ledger's word counts, of all its records from `since` on, and not the mark, which only says how the keys may have come back;
        but where the index is to be made first, those after the mark, and the others a round later."""
        self._whole = standing.since == 0
        if since == 0:
            gone = list(standing.erased)  # steps of reviews, for one, may wait to be recorded since before that
            await self._orders.ledger.call(lambda journal: journal.bar_again(gone))
        erased = [key_id for key_id, record in standing.erased.items() if record >= since]
        found, done = await self._orders.keys.present(erased), list[int]()
        for start in range(0, len(found), AT_ONCE):
            done += await self._destroyed_again(found[start : start + AT_ONCE], standing.erased, mark)
        return done

    async def _standing(self) -> Standing:
        return await self._orders.ask(lambda facts: facts.orders(self._seen))

    async def _destroyed_again(self, key_ids: Sequence[str], erased: Mapping[str, int], mark: Compared | None) -> list[int]:
        """Recorded before and after, as every erasure: a crash between leaves the first, which names them, and the rest is found again."""
        now, origin = self._orders.clock.now_ns, (await self._orders.ask(lambda facts: facts.compared())).origin
        reason = why_found(mark, origin, [erased[key_id] for key_id in key_ids])
        seen = mark.size if mark is not None and mark.origin == origin else 0
        told = {"reason": reason, "count": len(key_ids), "key_ids": list(key_ids), "compared": seen}
        index = await self._orders.append(system_entry(FOUND_AGAIN, now(), told))
        log.warning(
            "%d keys that were destroyed are there again (%s, record %d): an old copy of the keys was put back; they are destroyed",
            *(len(key_ids), reason, index),
        )
        await self._destroyed(*key_ids)
        self.destroyed_again += len(key_ids)
        return await self._orders.append_all(
            [system_entry(REPEATED, now(), {"key_id": key_id, "erasure": erased[key_id]}) for key_id in key_ids]
        )

    async def _check(self, key_id: str, who: Who) -> None:
        await self._orders.ledger.ping()
        hold = await self._orders.ask(lambda facts: facts.hold_on_subject(key_id))
        if hold is not None:
            raise on_hold(hold)
        if await self._orders.keys.find(who.by) == key_id:
            raise AuditError("Nobody orders the erasure of their own data: the record of it would be erased with it.", "audit_self_erasure")

    async def _ordered(self, key_id: str, reason: str, who: Who) -> Ordered:
        erasure = self._orders.ids.new()
        entry = await self._orders.entry(ORDERED, {"key_id": key_id, "reason": reason}, who, erasure)
        return Ordered(await self._orders.append(entry), erasure, key_id, reason)

    async def _carried_out(self, order: Ordered, who: Who | None) -> int:
        """The index of the record that says so. `who` is None where somebody before us ordered it: then it is read from the order."""
        await self._destroyed(order.key_id)  # 3, 4, 5
        records, size = await self._orders.ask(lambda facts: facts.count(order.key_id))
        details = {"key_id": order.key_id, "reason": order.reason, "order": order.record, "records": records, "up_to": size}
        index = await self._orders.append(await self._told(order, details, who))  # 6
        log.info("the key %s was destroyed as record %d ordered; record %d says so", order.key_id, order.record, index)
        return index

    async def _destroyed(self, *key_ids: str) -> None:
        for key_id in key_ids:
            await self._orders.ledger.bar(key_id)
        await self._orders.keys.destroy(*key_ids)  # 3
        for key_id in key_ids:
            await self._elsewhere.forget_key(key_id)  # 4
            await self._elsewhere.drop_held(key_id)  # 5
            await self._orders.ledger.drop_sealed(key_id)

    async def _told(self, order: Ordered, details: Mapping[str, Any], who: Who | None) -> Entry:
        if who is not None:
            return await self._orders.entry(ERASED, details, who, order.id)
        stored = await self._orders.ask(lambda facts: facts.stored(order.record))
        entry = Entry(stored.leaf, stored.sealed, stored.key_id)
        key = await self._orders.keys.key(entry.key_id) if entry.sealed else None
        personal = {} if key is None else _opened(entry, key)
        return system_entry(ERASED, self._orders.clock.now_ns(), details, order.id, personal, entry.key_id, key or b"")


def why_found(mark: Compared | None, origin: str, erasures: Sequence[int]) -> str:
    """One of `standing.FOUND`. `erasures` are the records that say of the keys that they were destroyed."""
    if mark is None:
        return "unmarked_keys"
    if mark.origin != origin:
        return "other_ledger"
    return "older_keys" if mark.size <= min(erasures) else "put_back"


def _opened(entry: Entry, key: bytes) -> dict[str, str]:
    """What cannot be opened must not keep the erasure from being finished; a verification finds it."""
    try:
        return open_personal(entry, key)
    except AuditError:
        return {}


def _unknown(finished: Mapping[str, int]) -> AuditError:
    records = ", ".join(map(str, finished.values()))
    told = f"An erasure that was left half done was finished just now: record {records}." if finished else "Nothing was written."
    return AuditError(f"There is no key of this subject: nothing is kept about them, or it was erased before. {told}", "subject_unknown")


def on_hold(hold: Hold) -> AuditError:
    return AuditError(f"It is on hold: record {hold.record} put a hold on this {_SAID[hold.on]}. Release it first.", "audit_on_hold")


_SAID = {"key_id": "subject", "decision": "decision", "intent": "intent"}
