"""Consumers of a node that is drained, over the twin of a broker: what was taken is finished, the rest is anybody's."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from adapters.memory_consumer import MemoryConsumer, MemoryQueue
from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from router.audit.beside import Pending
from router.audit.records.record import open_personal
from router.config.events import EventsConfig
from router.doors.events.taking import Taken
from router.errors import AuditError
from router.system import SystemClock, SystemRandom, UuidV7
from router.wiring import events as module
from router.wiring.events import Events, event_plans

SOURCE = {
    "consume": {"adapter": "memory"},
    "concurrency": 2,
    "names": {"id": "{{ request.headers['message-id'] }}", "type": "order.made"},
    "speaks_for": {"subject": "shop"},
}


class Outbox:
    waiting = 0

    async def pending(self) -> Pending:
        return Pending(self.waiting, 0, 0)


class Yard:
    """Two places at once; every event waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue, self.let, self.decided, self.inside = MemoryQueue(), asyncio.Event(), list[str](), 0
        monkeypatch.setattr(module, "make_consumer", lambda _, name, __: MemoryConsumer(name, self.queue))
        self.ledger, self.outbox, self.keys = MemoryLedger(), Outbox(), MemorySubjectKeys()
        made = {"clock": SystemClock(), "ids": UuidV7(), "random": SystemRandom(), "ledger": self.ledger, "keys": self.keys}
        services: Any = SimpleNamespace(**made)
        given: dict[str, Any] = {
            "runtime": None,
            "onward": None,
            "observer": None,
            "body": 1000,
            "outbox": self.outbox,
            "services": services,
        }
        self.events = Events(counting=SimpleNamespace(event=lambda *_: None), **given)  # type: ignore[arg-type]  # of what counts one thing is asked
        self.events._taking = self  # type: ignore[assignment]  # decides by waiting

    async def take(self, event: Any, *_: Any) -> Taken:
        self.inside += 1
        try:
            await self.let.wait()
        finally:
            self.inside -= 1
        self.decided.append(event.named.id)
        return Taken(SimpleNamespace(outcome="accepted"))  # type: ignore[arg-type]  # nobody asks for more of it

    async def serve(self, most_pending: int = 100, **changes: Any) -> None:
        await self.ledger.open()
        config = EventsConfig.model_validate({"listen": None, "most_pending": most_pending, "sources": {"orders": {**SOURCE, **changes}}})
        workspace: Any = SimpleNamespace(config=SimpleNamespace(events=config), consumers={"orders": None}, root=None)
        await self.events.serve(workspace)

    def put(self, *names: str) -> None:
        for each in names:
            self.queue.put(b"{}", {"message-id": each, "content-type": "application/json"})


async def until(question: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not question():  # noqa: ASYNC110  # what is waited for wakes nobody
            await asyncio.sleep(0.005)


async def test_what_was_taken_is_finished_and_what_follows_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    yard = Yard(monkeypatch)
    await yard.serve()
    yard.put("a", "b", "c")
    await until(lambda: yard.inside == 2)
    yard.events.drain(True)
    assert (yard.events.under_way, yard.events.deciding, yard.events.door.ready) == (2, 2, False)
    await yard.serve(concurrency=3)  # a changed configuration takes nothing up either
    yard.let.set()
    await until(lambda: yard.events.under_way == 0)
    assert sorted(yard.decided) == ["a", "b"]
    other = MemoryConsumer("other", yard.queue)
    await other.open()
    (message,) = await other.take(5)
    assert (message.fields["message-id"], message.tries) == ("c", 1)
    await other.give_back(message, 0)
    await other.close()
    yard.events.drain(False)
    await until(lambda: sorted(yard.decided) == ["a", "b", "c"])
    await yard.events.close()


async def test_how_long_an_event_may_be_follows_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP, as the sources do."""
    yard = Yard(monkeypatch)
    config = EventsConfig.model_validate({"listen": None, "body": "2KiB", "sources": {"orders": SOURCE}})
    workspace: Any = SimpleNamespace(config=SimpleNamespace(events=config), consumers={"orders": None}, root=None)
    await yard.events.serve(workspace)
    assert yard.events.door.body == 2048
    await yard.events.close()


def test_of_two_sources_each_may_have_what_both_are_said_to_have() -> None:
    """As where a sender moves from one queue to another."""
    named = {"speaks_for": {"subject": "till"}, "consume": {"adapter": "nats"}, "names": {"id": "x", "type": "paid", "source": "/shop"}}
    sources = {"orders": SOURCE, "a": named, "b": named, "c": SOURCE | {"event_sources": ["/shop", "/till"]}}
    config = EventsConfig.model_validate({"listen": None, "sources": sources})
    workspace: Any = SimpleNamespace(config=SimpleNamespace(events=config), root=None)
    taken = {name: " ".join(sorted(plan.taken)) for name, plan in event_plans(workspace).items()}
    paths = "/events/c /events/orders"
    assert taken == {"orders": "/events/c /shop /till", "a": f"{paths} /till", "b": f"{paths} /till", "c": "/events/orders"}


async def test_a_new_sources_events_are_nobody_elses_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have another signature than theirs, or come from a broker, do not name themselves by its path."""
    yard = Yard(monkeypatch)
    yard.let.set()
    signed = {"signature": {"scheme": "github", "secrets": ["s"]}, "speaks_for": {"subject": "till"}}
    told = orjson.dumps({"specversion": "1.0", "id": "7", "source": "/events/till", "type": "paid"})
    for sources in ({}, {"till": signed}):
        config = EventsConfig.model_validate({"listen": None, "sources": {"orders": SOURCE, **sources}})
        workspace: Any = SimpleNamespace(config=SimpleNamespace(events=config), consumers={"orders": None}, root=None)
        await yard.ledger.open()
        await yard.events.serve(workspace)
        yard.queue.put(told, {"content-type": "application/cloudevents+json"})
        await until(lambda: yard.decided == ["7"] and not yard.events.under_way)
    await until(lambda: yard.queue.buried)
    assert yard.decided == ["7"]
    await yard.events.close()


async def test_who_resumes_at_once_takes_nothing_before_what_was_taken_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two consumers of one source would overtake each other."""
    yard = Yard(monkeypatch)
    await yard.serve()
    yard.put("a", "b", "c")
    await until(lambda: yard.inside == 2)
    for out in (True, False, True, False):
        yard.events.drain(out)
        for _ in range(50):  # time enough to take what is there
            await asyncio.sleep(0)
    assert (yard.events.under_way, yard.inside) == (2, 2)
    yard.let.set()
    await until(lambda: len(yard.decided) == 3)
    await yard.events.close()


async def test_a_stop_gives_back_what_a_drained_node_has_not_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.01)
    yard = Yard(monkeypatch)
    await yard.serve()
    yard.put("a")
    await until(lambda: yard.inside == 1)
    yard.events.drain(True)
    await yard.events.close()
    other = MemoryConsumer("other", yard.queue)
    await other.open()
    assert [each.fields["message-id"] for each in await other.take(5)] == ["a"]
    await other.close()


async def test_while_as_many_deliveries_wait_as_may_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers keep what they have, and the door says so to who posts, until fewer wait."""
    monkeypatch.setattr(module, "FULL_S", 0.01)
    yard = Yard(monkeypatch)
    yard.outbox.waiting = 7
    yard.let.set()
    yard.put("a")
    await yard.serve(most_pending=7)
    await asyncio.sleep(0.1)  # many a look at how many wait
    assert (yard.decided, await yard.events.door._full()) == ([], True)
    yard.outbox.waiting = 6
    await until(lambda: yard.decided == ["a"])
    assert not await yard.events.door._full()
    await yard.events.close()


async def test_a_message_that_is_put_aside_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its source, why and how often it was tried; its digest and place are sealed under the key of whom it speaks for."""
    yard = Yard(monkeypatch)
    await yard.serve()
    yard.queue.put(b"no event", {"content-type": "application/json"})
    await until(lambda: yard.queue.buried)
    await yard.events.close()
    (entry,) = yard.ledger.entries
    leaf = orjson.loads(entry.leaf)
    assert (leaf["event"], leaf["details"]) == (
        "event_buried",
        {"source": "orders", "reason": "event_invalid", "tries": 1, "bytes": len(b"no event")},
    )
    key_id, key = await yard.keys.key_for("shop")
    personal = open_personal(entry, key)
    assert (entry.key_id, personal["content_digest"]) == (key_id, hashlib.sha256(b"no event").hexdigest())
    assert b"memory/" not in entry.leaf


async def test_a_message_whose_end_cannot_be_recorded_stays_with_its_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put aside once the ledger takes that it is."""
    yard = Yard(monkeypatch)
    await yard.serve(pause="10ms")
    yard.ledger.failing = AuditError("The disk is full.", "audit_disk_full")
    yard.put("a", "")
    yard.let.set()
    await until(lambda: yard.decided == ["a"])
    await asyncio.sleep(0.05)
    assert (yard.queue.buried, yard.ledger.entries) == ([], [])
    yard.ledger.failing = None
    await until(lambda: yard.queue.buried)
    assert len(yard.ledger.entries) == 1
    await yard.events.close()


@pytest.mark.parametrize(
    ("scheme", "tolerance", "remember", "refused"),
    [
        ("stripe", "5m", "1m", True),
        ("slack", "5m", "9m", True),
        ("standard-webhooks", "5m", "10m", False),
        ("stripe", "20s", "1m", False),
        ("github", "5m", "1m", False),
    ],
)
def test_what_is_replayed_while_its_signature_is_good_is_known(scheme: str, tolerance: str, remember: str, refused: bool) -> None:
    """A signed time may be ahead of ours as well as behind it. Without a time in it a signature is good for ever, which the page says."""
    signature = {"scheme": scheme, "secrets": ["whsec_" + "c2VjcmV0"], "tolerance": tolerance}
    told = {"remember": remember, "sources": {"shop": {"signature": signature, "speaks_for": {"subject": "shop"}}}}
    with pytest.raises(ValidationError, match="twice the 'tolerance' of 'shop'") if refused else nullcontext():
        EventsConfig.model_validate(told)
