"""How deliveries are sent, tried again, given up and given back, over the twins of ledger, outbox and destination."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import orjson

from adapters.memory_destination import Answer, MemoryDestination
from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_outbox import MemoryOutbox
from adapters.memory_reviews import MemoryReviews
from router.audit.records.record import system_entry
from router.decision import Outcome
from router.delivery.judging import NS, Terms, judged, next_due_ns
from router.delivery.packing import seal_outbound
from router.delivery.running import Running, Ways
from router.errors import DestinationError
from router.ports import Delivery, Due, Outbound, Settled
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

    def outcomes(self) -> list[tuple[str, int, str, int]]:
        found = [orjson.loads(each.leaf) for each in self.ledger.entries]
        told = [each["outcome"] for each in found if each["schema"] == "lockgate.outcome.v1"]
        return [(each["result"], each["status"], each["reason"], each["attempts"]) for each in told]


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Yard, Running]]:
    ledger, keys = MemoryLedger(), MemorySubjectKeys()
    await ledger.open()
    yard = Yard(ledger, MemoryOutbox(ledger, keys), keys)
    destination = MemoryDestination(yard.handle)
    await destination.open()

    def find(route: str, name: str) -> MemoryDestination | None:
        return destination if name == yard.leads else None

    ways = Ways(find, {"orders": Terms(3600, 0.001, 0.01)})
    made = Running("me", yard.outbox, ledger, MemoryReviews(), CLOCK, SystemRandom(), lambda: ways, yard)
    made.often = True
    made.start()
    try:
        yield yard, made
    finally:
        await made.close(0.0)
        await destination.close()


async def until(question: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
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
