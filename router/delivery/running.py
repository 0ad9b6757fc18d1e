"""Sends what is to be delivered, in each worker: what it decided itself at once, and in rounds whatever is due and nobody's.

    1 leased (from the decision's own transaction on, or in a round)   2 sent   3 how it ended, and that it is settled, on record at once

A crash before 2 costs time: the lease lapses, and the next round of anybody takes it. A crash between 2 and 3 is a second sending, under
the same idempotency key.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from router.audit.outbox import Outboxes
from router.audit.records.record import outcome_entry
from router.decision import Outcome, Result
from router.delivery.judging import EXPIRED, NEVER_HELD, NS, UNHOLDABLE, Attempt, Terms, judged, next_due_ns, next_hold_ns
from router.delivery.packing import open_held, open_outbound
from router.errors import AuditError, DestinationError, LockgateError, ReviewError
from router.ports import Clock, Delivery, Destination, Due, Ledger, Outbound, Random, ReviewStore, Settled
from router.review.sending import Received, received, with_key

log = logging.getLogger("lockgate.deliveries")
LEASE_S = 30.0
ROUND_S = 1.0
IDLE_S = 15.0
AT_ONCE = 128
BATCH = 256
ERASED = "subject_erased"
UNKNOWN = "destination_unknown"


class DeliveryObserver(Protocol):
    """Counts attempts by what they came to; quick, and never raises."""

    def delivered(self, result: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Ways:
    """Where deliveries go, in the configuration that serves: by route and destination's name; and how long each route's are tried."""

    find: Callable[[str, str], Destination | None]
    terms: Mapping[str, Terms]


Record = Callable[[Outcome, Settled], Awaitable[None]]


@dataclass(slots=True)
class _Going:
    delivery: Delivery
    task: asyncio.Task[None]


class Running:
    """`owner` names this process, and nobody before it. `ways` gives what serves now; `often`: rounds are worth making often."""

    def __init__(
        self,
        owner: str,
        outbox: Outboxes,
        ledger: Ledger,
        reviews: ReviewStore,
        clock: Clock,
        random: Random,
        ways: Callable[[], Ways | None],
        observer: DeliveryObserver,
    ) -> None:
        self.owner = owner
        self._outbox = outbox
        self._ledger = ledger
        self._reviews = reviews
        self._clock = clock
        self._random = random
        self._ways = ways
        self._observer = observer
        self._going: dict[str, _Going] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._woken = asyncio.Event()
        self._rounds: list[asyncio.Task[None]] = []
        self.often = False
        self._out = False

    @property
    def under_way(self) -> int:
        return len(self._going)

    def drain(self, out: bool) -> None:
        """Whether nothing is leased in rounds: what this process decides itself is still tried once."""
        self._out = out
        self.wake()

    @property
    def full(self) -> bool:
        """Whether as much is under way as rounds would take: what more is decided waits where it is durable, and not in memory too."""
        return len(self._going) >= BATCH

    def start(self) -> None:
        self._rounds = [asyncio.create_task(self._make_rounds()), asyncio.create_task(self._renew())]

    async def close(self, grace_s: float) -> None:
        """What is being sent may end; what does not is given back, for anybody to take at once."""
        for each in self._rounds:
            each.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)
        tasks = [each.task for each in self._going.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        left = [each.delivery for each in self._going.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for delivery in left:
            await self._give_back(delivery)

    async def _give_back(self, delivery: Delivery) -> None:
        try:
            await self._outbox.postpone(self.owner, delivery.id, delivery.attempts, self._clock.now_ns(), delivery.reason)
        except AuditError as error:  # its lease lapses
            log.warning("the delivery %s is not given back: %s", delivery.id, error)

    def leased_until_ns(self) -> int:
        return self._clock.now_ns() + int(LEASE_S * NS)

    def begin(self, delivery: Delivery, outbound: Outbound, record: Record) -> None:
        """What was just decided, and is this process's from the beginning. `record` makes the outcome's record."""
        if delivery.owner == self.owner:
            self._spawn(delivery, lambda: self._send(delivery, outbound, record))
        else:
            self.wake()

    def begin_hold(self, delivery: Delivery, hold: Callable[[], Awaitable[None]], record: Record) -> None:
        """As `begin`, for a request that waits for a person."""
        if delivery.owner == self.owner:
            self._spawn(delivery, lambda: self._held(delivery, hold, record))
        else:
            self.wake()

    def wake(self) -> None:
        """There may be something due."""
        self._woken.set()

    def _spawn(self, delivery: Delivery, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                async with self._places:
                    await work()
            except AuditError as error:  # it is tried again when the lease has lapsed
                log.error("how the delivery %s ended is not recorded: %s", delivery.id, error)
            except Exception:
                log.exception("the delivery %s failed in a way that nobody foresaw", delivery.id)
            finally:
                self._going.pop(delivery.id, None)

        self._going[delivery.id] = _Going(delivery, asyncio.create_task(run()))

    async def _make_rounds(self) -> None:
        while True:
            more = False
            try:
                more = await self._round()
            except AuditError as error:
                log.warning("what is to be delivered cannot be looked for: %s", error)
            except Exception:
                log.exception("a round of deliveries failed in a way that nobody foresaw")
            if not more:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(ROUND_S if self.often or self._going else IDLE_S):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _round(self) -> bool:
        """Whether there may be more at once."""
        self._woken.clear()
        if self._out:
            return False
        free = BATCH - len(self._going)
        if free <= BATCH // 2:
            await asyncio.wait([each.task for each in self._going.values()], return_when=asyncio.FIRST_COMPLETED)
            return True
        now_ns = self._clock.now_ns()
        taken = await self._outbox.lease(self.owner, now_ns, now_ns + int(LEASE_S * NS), free)
        for delivery, key in taken:
            if delivery.id not in self._going:
                self._spawn(delivery, self._again(delivery, key))
        if any(delivery.order for delivery, _ in taken):
            self.often = True
        return bool(taken)  # fewer than wanted may also mean that they are large

    def _again(self, delivery: Delivery, key: bytes) -> Callable[[], Awaitable[None]]:
        async def record(outcome: Outcome, settled: Settled) -> None:
            made = outcome_entry(delivery.id, outcome, self._clock.now_ns(), delivery.key_id if key else "", key)
            await self._ledger.append(replace(made, settled=settled))

        async def go() -> None:
            if not key:
                await self._end(delivery, Outcome(Result.FAILED, 409, ERASED, complete=False), record)
                return
            try:
                if delivery.due is Due.HOLD:
                    held = open_held(key, delivery.sealed, delivery.id, delivery.route, delivery.destination)
                    await self._held(delivery, lambda: self._reviews.hold(held), record)
                    return
                outbound = open_outbound(key, delivery.sealed, delivery.id, delivery.route, delivery.destination)
            except ReviewError as error:
                if error.code == "content_changed":
                    await self._end(delivery, Outcome(Result.FAILED, 409, error.code, complete=False), record)
                    return
                raise
            await self._send(delivery, outbound, record)

        return go

    async def _held(self, delivery: Delivery, hold: Callable[[], Awaitable[None]], record: Record) -> None:
        """Until nobody could decide any more: then it is denied, for policy wanted a person and none was ever asked."""
        try:
            await hold()
        except ReviewError as error:
            due_ns = next_hold_ns(delivery, error.code, self._random, self._clock.now_ns())
            if due_ns is not None:
                self._observer.delivered("postponed")
                await self._outbox.postpone(self.owner, delivery.id, delivery.attempts + 1, due_ns, error.code)
                return
            log.error("the request %s was never put before a reviewer and is denied: %s", delivery.id, error)
            self._observer.delivered("expired")
            reason = error.code if error.code in UNHOLDABLE else NEVER_HELD
            await self._end(delivery, Outcome(Result.DENIED, 503, reason, complete=False), record)
        else:
            await self._outbox.done(self.owner, delivery.id)

    async def _send(self, delivery: Delivery, outbound: Outbound, record: Record) -> None:
        started_ns = self._clock.monotonic_ns()
        ways = self._ways()
        destination = ways.find(delivery.route, delivery.destination) if ways is not None else None
        if destination is None:
            await self._later(delivery, Attempt(502, UNKNOWN), record)
            return
        try:
            reply = await destination.send(with_key(outbound, delivery.id, deduplicates=True))
            headers = reply.headers
            answer = await received(reply)
        except DestinationError as error:
            attempt = Attempt(error.status, error.code, error.final, error.wait)
            await self._after(delivery, attempt, self._failed(delivery, error, started_ns), record)
        except LockgateError as error:
            attempt = Attempt(502, error.code)
            await self._after(delivery, attempt, Outcome(Result.FAILED, 502, error.code, complete=False), record)
        else:
            attempt = judged(answer.status, headers, self._clock.now_ns() / NS)
            await self._after(delivery, attempt, self._outcome(delivery, outbound, answer, attempt, started_ns), record)

    async def _after(self, delivery: Delivery, attempt: Attempt, outcome: Outcome, record: Record) -> None:
        if not attempt.reason:
            self._observer.delivered("delivered")
            await self._end(delivery, outcome, record)
        elif attempt.final:
            self._observer.delivered("refused")
            await self._end(delivery, outcome, record, dead=attempt.reason)
        else:
            await self._later(delivery, attempt, record, outcome)

    async def _later(self, delivery: Delivery, attempt: Attempt, record: Record, outcome: Outcome | None = None) -> None:
        ways = self._ways()
        terms = ways.terms.get(delivery.route, Terms()) if ways is not None else Terms()
        due_ns = next_due_ns(delivery, attempt, terms, self._random, self._clock.now_ns())
        if due_ns is None:
            self._observer.delivered("expired")
            last = outcome or Outcome(Result.FAILED, attempt.status, attempt.reason, complete=False)
            await self._end(delivery, replace(last, result=Result.FAILED, reason=EXPIRED), record, dead=attempt.reason)
            return
        self._observer.delivered("postponed")
        await self._outbox.postpone(self.owner, delivery.id, delivery.attempts + 1, due_ns, attempt.reason)

    async def _end(self, delivery: Delivery, outcome: Outcome, record: Record, *, dead: str = "") -> None:
        """`dead`: why it is given up."""
        attempts = delivery.attempts + 1
        owner = "" if outcome.result is Result.ROUTED else self.owner
        settled = Settled(delivery.id, bool(dead), attempts, dead, owner)
        tried = delivery.attempts + max(1, outcome.attempts)
        await record(outcome if outcome.attempts == tried else replace(outcome, attempts=tried), settled)
        if delivery.order:
            self.wake()

    def _failed(self, delivery: Delivery, error: DestinationError, started_ns: int) -> Outcome:
        spent = self._clock.monotonic_ns() - started_ns
        return Outcome(Result.FAILED, error.status, error.code, error.upstream, error.attempts, spent, spent, complete=False)

    def _outcome(self, delivery: Delivery, outbound: Outbound, answer: Received, attempt: Attempt, started_ns: int) -> Outcome:
        body = outbound.body if isinstance(outbound.body, bytes) else b""
        spent = self._clock.monotonic_ns() - started_ns
        made = answer.outcome(hashlib.sha256(body).hexdigest(), spent, spent)
        return made if not attempt.reason else replace(made, result=Result.FAILED, reason=attempt.reason)

    async def _renew(self) -> None:
        """What takes longer than a third of its lease keeps it."""
        while True:
            await asyncio.sleep(LEASE_S / 3)
            ids = list(self._going)
            if not ids:
                continue
            try:
                await self._outbox.renew(self.owner, ids, self.leased_until_ns())
            except AuditError as error:
                log.warning("deliveries under way could not be kept: %s", error)
