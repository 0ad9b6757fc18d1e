"""What becomes of a broker's messages, over the twin of a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from adapters.memory_consumer import MemoryConsumer, MemoryQueue
from router.config.events import EventSource
from router.doors.events import consuming
from router.doors.events.consuming import Consuming
from router.doors.events.plan import SourcePlan
from router.doors.events.taking import Taken
from router.errors import AuditError, LockgateError, RefusedError, StateError
from router.ports import Incoming

PATIENCE_S = 30.0
SOURCE = {
    "consume": {"adapter": "memory"},
    "attempts": 2,
    "pause": "1ms",
    "names": {"id": "{{ request.headers['message-id'] }}", "type": "order.made"},
    "speaks_for": {"subject": "shop"},
}


class Yard:
    """`answers` are what the events' takings come to, one after the other; then all are accepted. `unrecorded`: that a message is put
    aside cannot be recorded so many times."""

    def __init__(self, *answers: BaseException) -> None:
        self.queue, self.answers, self.taken = MemoryQueue(), list(answers), list[str]()
        self.buried, self.counts, self.unrecorded = list[tuple[str, int]](), list[str](), 0
        self.room = asyncio.Event()
        self.room.set()
        plan = SourcePlan("orders", EventSource.model_validate(SOURCE))
        consumer: Any = MemoryConsumer("orders", self.queue)
        taking: Any = self
        self.consuming = Consuming(consumer, plan, taking, self._waits, self._bury, self.counts.append)

    async def take(self, event: Any, *_: Any) -> Taken:
        self.taken.append(event.named.id)
        if self.answers:
            raise self.answers.pop(0)
        return Taken(SimpleNamespace(outcome="accepted"))  # type: ignore[arg-type]  # nobody asks for more of it

    async def _waits(self) -> None:
        await self.room.wait()

    async def _bury(self, _: SourcePlan, message: Any, reason: str) -> None:
        if self.unrecorded:
            self.unrecorded -= 1
            raise AuditError("The disk is full.", "audit_disk_full")
        self.buried.append((reason, message.tries))

    @property
    def aside(self) -> list[bytes]:
        return [content for content, _ in self.queue.buried]

    def put(self, name: str = "a") -> None:
        self.queue.put(b"{}", {"message-id": name, "content-type": "application/json"} if name else {"content-type": "application/json"})


@asynccontextmanager
async def running(yard: Yard) -> AsyncIterator[Callable[[Callable[[], object]], Any]]:
    """Gives what waits until something holds."""

    async def until(question: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not question():  # noqa: ASYNC110  # what is waited for wakes nobody
                await asyncio.sleep(0.001)

    task = asyncio.create_task(yard.consuming.run())
    try:
        yield until
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await yard.consuming.close(PATIENCE_S)


async def test_without_room_no_message_is_taken() -> None:
    """It stays with the broker, for this process or another, until there is room again."""
    yard = Yard()
    yard.room.clear()
    yard.put()
    async with running(yard) as until:
        for _ in range(50):  # time enough to take what is there
            await asyncio.sleep(0)
        assert (yard.taken, yard.consuming.under_way) == ([], 0)
        yard.room.set()
        await until(lambda: yard.counts == ["accepted"])


async def test_what_fails_in_a_way_that_nobody_foresaw_is_put_aside_after_its_attempts() -> None:
    """On record under its own code, and never lost."""
    yard = Yard(ZeroDivisionError(), ZeroDivisionError())
    yard.put()
    async with running(yard) as until:
        await until(lambda: yard.aside)
    assert (yard.taken, yard.buried, yard.counts) == (["a", "a"], [("event_failed", 2)], ["given_back", "buried"])


async def test_what_is_no_event_is_put_aside_at_once() -> None:
    """Another attempt would come to the same."""
    yard = Yard()
    yard.put("")
    async with running(yard) as until:
        await until(lambda: yard.aside)
    assert (yard.taken, yard.buried) == ([], [("event_invalid", 1)])


async def test_what_has_the_source_of_another_is_put_aside() -> None:
    """All of a batch, before any of it is decided."""
    yard = Yard()
    yard.consuming._plan = replace(yard.consuming._plan, taken=frozenset({"/events/till"}))
    batch = [{"specversion": "1.0", "id": "7", "source": source, "type": "paid"} for source in ("/shop", "/events/till")]
    yard.queue.put(orjson.dumps(batch), {"content-type": "application/cloudevents-batch+json"})
    async with running(yard) as until:
        await until(lambda: yard.aside)
    assert (yard.taken, yard.buried) == ([], [("event_invalid", 1)])


@pytest.mark.parametrize(
    "error", [RefusedError("full", "policy_rate_limited", 429), RefusedError("away", "policy_rate_limit_unavailable", 503)]
)
async def test_what_cannot_be_decided_now_is_given_back_however_often(error: RefusedError) -> None:
    """Where it is counted does not answer, or has counted enough: nothing is wrong with the message, and its attempts are for what is."""
    yard = Yard(*(type(error)(str(error), error.code, error.status) for _ in range(5)))
    yard.put()
    async with running(yard) as until:
        await until(lambda: yard.counts[-1:] == ["accepted"] or yard.aside)
    assert (yard.aside, yard.buried, yard.counts) == ([], [], [*["given_back"] * 5, "accepted"])


async def test_what_was_given_back_has_its_attempts_still() -> None:
    """A broker counts how often it handed a message out: after an outage the first failure would put it aside."""
    outage = [StateError("Nobody answers.", "state_unavailable") for _ in range(5)]
    yard = Yard(*outage, LockgateError("once"))
    yard.put()
    async with running(yard) as until:
        await until(lambda: yard.counts[-1:] == ["accepted"] or yard.aside)
    assert (yard.aside, yard.counts) == ([], [*["given_back"] * 6, "accepted"])


async def test_of_what_failed_no_more_is_kept_than_its_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes; and so does what is done with."""
    monkeypatch.setattr(consuming, "MOST_FAILED", 2)
    made = Yard().consuming
    told = [Incoming(name.encode()) for name in "abc"]
    assert [made._failed(each, ()) for each in (*told, told[2], told[0])] == [1, 1, 1, 2, 1]
    made._forget(told[2], ())
    assert made._failed(told[2], ()) == 1


async def test_of_two_that_say_the_same_each_has_its_attempts() -> None:
    """An event may be all in its fields."""
    yard = Yard(LockgateError("once"), LockgateError("once"))
    yard.put("a")
    yard.put("b")
    async with running(yard) as until:
        await until(lambda: yard.counts.count("accepted") == 2 or yard.aside)
    assert (yard.aside, sorted(yard.counts)) == ([], ["accepted", "accepted", "given_back", "given_back"])


async def test_what_is_not_on_record_is_not_put_aside() -> None:
    """It is given back, and put aside once that can be recorded."""
    yard = Yard()
    yard.unrecorded = 2
    yard.put("")
    async with running(yard) as until:
        await until(lambda: yard.counts == ["given_back"])
        assert yard.aside == []
        await until(lambda: yard.aside)
    assert (yard.buried, yard.counts) == ([("event_invalid", 3)], ["given_back", "given_back", "buried"])


@pytest.mark.parametrize(
    "failure",
    [
        AuditError("The disk is full.", "audit_disk_full"),
        StateError("Nobody answers.", "state_unavailable"),
        RefusedError("Too many.", "rate_limited", 429, 0),
    ],
)
async def test_what_passes_costs_a_message_nothing(failure: LockgateError) -> None:
    """However often it takes: it is given back and decided later, and never put aside."""
    yard = Yard(*[failure] * 4)
    yard.put()
    async with running(yard) as until:
        await until(lambda: "accepted" in yard.counts)
    assert (yard.counts, yard.buried, yard.aside) == (["given_back"] * 4 + ["accepted"], [], [])
