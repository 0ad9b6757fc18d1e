"""How deliveries are sent, tried again, given up and given back, over the twins of ledger, outbox and destination."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import orjson
import pytest

from adapters.memory_destination import Answer, MemoryDestination
from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_outbox import MemoryOutbox
from adapters.memory_reviews import MemoryReviews
from router.audit.records.record import system_entry
from router.decision import Outcome
from router.delivery.judging import NS, Terms, judged, next_due_ns, next_hold_ns
from router.delivery.packing import seal_held, seal_outbound
from router.delivery.running import Running, Ways
from router.errors import DestinationError, ReviewError
from router.ports import Delivery, Due, Held, Outbound, Settled
from router.system import SystemClock, SystemRandom

CLOCK = SystemClock()


@dataclass
class Yard:
    ledger: MemoryLedger
    outbox: MemoryOutbox
    keys: MemorySubjectKeys
    answer: Callable[[Outbound], Answer] = lambda _: Answer()
    sent: list[Outbound] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    leads: str = "shop"
    block: asyncio.Event | None = None

    def delivered(self, result: str) -> None:
        self.counted.append(result)

    async def handle(self, outbound: Outbound) -> Answer:
        self.sent.append(outbound)
        if self.block is not None:
            await self.block.wait()
        return self.answer(outbound)

    async def put(self, name: str, **changes: object) -> Delivery:
        key_id, key = await self.keys.key_for("anna")
        now = CLOCK.now_ns()
        sealed = seal_outbound(key, Outbound("POST", "/", [], b"{}"), name, "orders", "shop")
        made = replace(
            Delivery(name, "orders", "shop", Due.DISPATCH, key_id, sealed, now, now, now + 3600 * NS),
            **changes,  # type: ignore[arg-type]
        )
        await self.ledger.append(replace(system_entry("started", 1), delivery=made))
        return made

    async def hold(self, name: str, **changes: object) -> Delivery:
        key_id, key = await self.keys.key_for("anna")
        held = Held(name, "digest", 1, 2, "look", "orders", "shop", "low", None, key_id, b"", {})
        return await self.put(name, due=Due.HOLD, sealed=seal_held(key, held), **changes)

    async def other(self, clock: SystemClock, answer: Answer) -> Running:
        """Another worker, over the same ledger."""
        destination = MemoryDestination(self._told(answer))
        await destination.open()
        ways = Ways(lambda *_: destination, {"orders": Terms(3600, 0.001, 0.01)})
        made = Running("you", self.outbox, self.ledger, Reviews(), clock, SystemRandom(), lambda: ways, self)
        made.often = True
        made.start()
        return made

    def _told(self, answer: Answer) -> Callable[[Outbound], Awaitable[Answer]]:
        async def handle(outbound: Outbound) -> Answer:
            self.sent.append(outbound)
            return answer

        return handle

    def outcomes(self) -> list[tuple[str, int, str, int]]:
        found = [orjson.loads(each.leaf) for each in self.ledger.entries]
        told = [each["outcome"] for each in found if each["schema"] == "lockgate.outcome.v1"]
        return [(each["result"], each["status"], each["reason"], each["attempts"]) for each in told]


class Ahead(SystemClock):
    """A clock on which more time has gone by."""

    seconds = 0.0

    def now_ns(self) -> int:
        return super().now_ns() + int(self.seconds * NS)


class Reviews(MemoryReviews):
    """`failing`, when set, is what holding raises."""

    def __init__(self) -> None:
        super().__init__()
        self.held = list[str]()

    async def hold(self, held: Held) -> None:
        if self.failing is not None:
            raise self.failing
        self.held.append(held.decision_id)


@asynccontextmanager
async def running(reviews: Reviews | None = None) -> AsyncIterator[tuple[Yard, Running]]:
    ledger, keys = MemoryLedger(), MemorySubjectKeys()
    await ledger.open()
    yard = Yard(ledger, MemoryOutbox(ledger, keys), keys)
    destination = MemoryDestination(yard.handle)
    await destination.open()

    def find(route: str, name: str) -> MemoryDestination | None:
        return destination if name == yard.leads else None

    ways = Ways(find, {"orders": Terms(3600, 0.001, 0.01)})
    made = Running("me", yard.outbox, ledger, reviews or Reviews(), CLOCK, SystemRandom(), lambda: ways, yard)
    made.often = True
    made.start()
    try:
        yield yard, made
    finally:
        await made.close(0.0)
        await destination.close()


async def until(question: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not question():  # noqa: ASYNC110  # what is waited for wakes nobody
            await asyncio.sleep(0.005)


async def test_what_is_due_is_sent_under_its_own_key_and_settled_with_its_outcome() -> None:
    async with running() as (yard, made):
        await yard.put("d1")
        made.wake()
        await until(yard.outcomes)
        assert yard.outcomes() == [("routed", 200, "", 1)]
        assert [dict(each.headers)[b"idempotency-key"] for each in yard.sent] == [b"d1"]
        assert (await yard.outbox.pending()).count == 0


async def test_failures_are_counted_until_it_works() -> None:
    async with running() as (yard, made):
        yard.answer = lambda _: Answer(503 if len(yard.sent) < 3 else 200)
        await yard.put("d1")
        made.wake()
        await until(lambda: (made.wake(), yard.outcomes())[1])
        assert yard.outcomes() == [("routed", 200, "", 3)]
        assert yard.counted == ["postponed", "postponed", "delivered"]


async def test_after_its_time_it_is_given_up_and_kept() -> None:
    async with running() as (yard, made):
        yard.answer = lambda _: Answer(503)
        await yard.put("d1", until_ns=CLOCK.now_ns())
        made.wake()
        await until(yard.outcomes)
        assert yard.outcomes() == [("failed", 503, "delivery_expired", 1)]
        assert (await yard.outbox.pending()).dead == 1


async def test_a_failure_that_is_final_is_not_tried_again() -> None:
    def refuse(_: Outbound) -> Answer:
        error = DestinationError("no such topic", "upstream_refused")
        error.final = True
        raise error

    async with running() as (yard, made):
        yard.answer = refuse
        await yard.put("d1")
        made.wake()
        await until(yard.outcomes)
        assert (yard.outcomes()[0][2], len(yard.sent)) == ("upstream_refused", 1)


async def test_what_was_decided_for_another_destination_waits() -> None:
    async with running() as (yard, made):
        yard.leads = "elsewhere"
        await yard.put("d1")
        made.wake()
        await until(lambda: yard.counted)
        found = await yard.outbox.find("d1")
        assert found is not None
        assert (found.delivery.reason, yard.sent) == ("destination_unknown", [])


async def test_the_delivery_of_somebody_who_was_erased_ends() -> None:
    async with running() as (yard, made):
        waiting = await yard.put("d1", due_ns=CLOCK.now_ns() + 10**18)
        await yard.keys.destroy(waiting.key_id)
        yard.ledger.deliveries[0] = replace(waiting, due_ns=0)
        made.wake()
        await until(yard.outcomes)
        assert (yard.outcomes()[0][:3], yard.sent) == (("failed", 409, "subject_erased"), [])
        assert (await yard.outbox.pending()) == replace(await yard.outbox.pending(), count=0, dead=0)


async def test_what_was_altered_is_not_sent() -> None:
    async with running() as (yard, made):
        waiting = await yard.put("d1", due_ns=CLOCK.now_ns() + 10**18)
        yard.ledger.deliveries[0] = replace(waiting, due_ns=0, route="refunds")
        made.wake()
        await until(yard.outcomes)
        assert (yard.outcomes()[0][2], yard.sent) == ("content_changed", [])


async def test_who_stops_gives_back_what_is_not_sent() -> None:
    async with running() as (yard, made):
        yard.block = asyncio.Event()
        await yard.put("d1")
        made.wake()
        await until(lambda: yard.sent)
        assert await yard.outbox.lease("you", CLOCK.now_ns(), CLOCK.now_ns() + NS, 5) == []
        await made.close(0.0)
        taken = await yard.outbox.lease("you", CLOCK.now_ns(), CLOCK.now_ns() + NS, 5)
        assert [each.id for each, _ in taken] == ["d1"]


async def test_where_enough_is_under_way_more_waits_where_it_is_durable() -> None:
    async with running() as (yard, made):
        yard.block = asyncio.Event()

        async def record(outcome: Outcome, settled: Settled) -> None:
            return None

        assert not made.full
        for number in range(256):
            waiting = await yard.put(f"d{number}", owner="me", leased_ns=CLOCK.now_ns() + 30 * NS)
            made.begin(waiting, Outbound("POST", "/", [], b"{}"), record)
        assert made.full
        yard.block.set()
        await until(lambda: not made.full)


async def test_what_waits_for_a_person_is_put_before_reviewers_once_their_store_answers() -> None:
    reviews = Reviews()
    reviews.failing = ReviewError("away", "review_store_unavailable")
    async with running(reviews) as (yard, made):
        await yard.hold("d1")
        made.wake()
        await until(lambda: yard.counted == ["postponed"])
        found = await yard.outbox.find("d1")
        assert found is not None
        assert (found.delivery.reason, reviews.held) == ("review_store_unavailable", [])
        reviews.failing = None
        await until(lambda: (made.wake(), reviews.held)[1])
        await until(lambda: not yard.ledger.deliveries)
        assert (yard.outcomes(), yard.ledger.dead) == ([], set())


@pytest.mark.parametrize(
    ("code", "late", "reason"),
    [
        ("review_store_unavailable", True, "review_never_held"),
        ("review_conflict", False, "review_conflict"),
        ("subject_erased", False, "subject_erased"),
    ],
)
async def test_what_can_be_put_before_no_reviewer_any_more_is_denied(code: str, late: bool, reason: str) -> None:
    """Never sent, never tried for ever: on record, and gone."""
    reviews = Reviews()
    reviews.failing = ReviewError("away", code)
    async with running(reviews) as (yard, made):
        await yard.hold("d1", **({"until_ns": CLOCK.now_ns()} if late else {}))
        made.wake()
        await until(yard.outcomes)
        assert yard.outcomes() == [("denied", 503, reason, 1)]
        assert (yard.sent, yard.ledger.deliveries) == ([], {})


def test_the_last_time_to_hold_is_when_nobody_could_decide_any_more() -> None:
    class Half:
        def random(self) -> float:
            return 0.0

    waiting = Delivery("d", "r", "s", Due.HOLD, "k", b"", 0, 0, 100 * NS)
    waits = [next_hold_ns(replace(waiting, attempts=number), "x", Half(), 0) for number in (0, 1, 5, 6, 60)]
    assert waits == [each * NS for each in (1, 2, 32, 60, 60)]
    assert next_hold_ns(replace(waiting, attempts=9), "x", Half(), 70 * NS) == 100 * NS
    assert next_hold_ns(waiting, "x", Half(), 100 * NS) is None


async def test_a_worker_that_is_slower_than_its_lease_ends_nothing_that_another_one_does() -> None:
    """At least once, under one key. What the late one learnt is on record, and changes nothing of what waits."""
    async with running() as (yard, made):
        yard.block, yard.answer = asyncio.Event(), lambda _: Answer(400)
        await yard.put("d1")
        made.wake()
        await until(lambda: yard.sent)
        clock = Ahead()
        clock.seconds = 31.0
        other = await yard.other(clock, Answer(503))
        await until(lambda: (other.wake(), len(yard.sent) > 1)[1])
        await until(lambda: yard.counted)
        yard.block.set()
        await until(yard.outcomes)
        assert yard.outcomes()[0] == ("failed", 400, "delivery_refused", 1)
        assert (yard.ledger.dead, len(yard.ledger.deliveries)) == (set(), 1)
        await other.close(0.0)
        assert {dict(each.headers)[b"idempotency-key"] for each in yard.sent} == {b"d1"}


async def test_a_late_success_ends_it_and_a_late_failure_leaves_what_is_done() -> None:
    for late in (200, 400):
        async with running() as (yard, made):
            yard.block, yard.answer = asyncio.Event(), lambda _, late=late: Answer(late)  # type: ignore[misc]
            await yard.put("d1")
            made.wake()
            await until(lambda: yard.sent)  # within the loop
            clock = Ahead()
            clock.seconds = 31.0
            other = await yard.other(clock, Answer(200))
            await until(lambda: (other.wake(), yard.outcomes())[1])  # noqa: B023 - called at once
            yard.block.set()
            await until(lambda: len(yard.outcomes()) == 2)
            assert yard.ledger.deliveries == {}
            assert (await yard.outbox.pending()).dead == 0
            await other.close(0.0)


def test_waits_double_up_to_a_bound_and_heed_what_was_asked() -> None:
    class Half:
        def random(self) -> float:
            return 0.0

    waiting = Delivery("d", "r", "s", Due.DISPATCH, "k", b"", 0, 0, 10**18)
    terms = Terms(3600, 5, 60)
    waits = [next_due_ns(replace(waiting, attempts=number), judged(503, [], 0), terms, Half(), 0) for number in range(6)]
    assert waits == [each * NS for each in (5, 10, 20, 40, 60, 60)]
    assert next_due_ns(waiting, judged(503, [(b"Retry-After", b"90")], 0), terms, Half(), 0) == 90 * NS
    assert next_due_ns(waiting, judged(410, [], 0), terms, Half(), 0) is None


async def test_a_drained_worker_leases_nothing_and_ends_what_it_sends() -> None:
    """What is due is another's, or waits; what is being sent ends; afterwards it goes on by itself."""
    async with running() as (yard, made):
        yard.block = asyncio.Event()
        await yard.put("d1")
        made.wake()
        await until(lambda: made.under_way == 1)
        made.drain(True)
        await yard.put("d2")
        made.wake()
        yard.block.set()
        await until(lambda: made.under_way == 0)
        assert [each[:2] for each in yard.outcomes()] == [("routed", 200)]
        other = await yard.other(CLOCK, Answer())
        await until(lambda: len(yard.outcomes()) == 2)
        await other.close(0.0)
        await yard.put("d3")
        made.drain(False)
        await until(lambda: len(yard.outcomes()) == 3)
