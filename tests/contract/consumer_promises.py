"""What every consumer promises (`router.ports.Consumer`), as a suite that a kind's own test file runs over the real broker.

A kind's test class derives from `Promises` and gives a fixture `yard`. What a kind cannot promise, its yard says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from adapters.messaging.aside import PLACE, REASON, SOURCE, TRIES
from router.errors import DestinationError
from router.ports import Consumer, Incoming

PATIENCE_S = 30.0
QUIET_S = 0.5
SOURCE_NAME = "orders"
Aside = tuple[bytes, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Yard:
    """One queue, topic or stream of its own, at a real broker.

    `make` gives a further consumer of it, not open, of the source `SOURCE_NAME`. `put` puts a message there: content, header fields, and a
    key, of which messages that must stay in order have the same. `buried` gives what lies where undeliverable messages go, waiting a moment
    for the first. `kill` ends the broker as a power cut does; `revive` starts it again, with what it kept.

    `counts`: `tries` tells how often a message was handed out, also before a consumer was closed. `waits`: what is given back is not handed
    out before its time. `ordered`: messages have an `order`. `alone`: each message is acknowledged by itself, whatever came before it.
    `keeps`: the broker has what it was given after it was killed. `shares`: several consumers are handed different messages.
    """

    make: Callable[[], Consumer]
    put: Callable[[bytes, Mapping[str, str], str], Awaitable[None]]
    buried: Callable[[], Awaitable[Sequence[Aside]]]
    kill: Callable[[], Awaitable[None]] | None = None
    revive: Callable[[], Awaitable[None]] | None = None
    counts: bool = True
    waits: bool = True
    ordered: bool = True
    alone: bool = True
    keeps: bool = True
    shares: bool = True


@asynccontextmanager
async def opened(yard: Yard) -> AsyncIterator[Consumer]:
    consumer = yard.make()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await consumer.open()
        yield consumer
    finally:
        await consumer.close()


async def some(consumer: Consumer, number: int, *, acknowledge: bool = True) -> list[Incoming]:
    """Takes until there are so many."""
    found = list[Incoming]()
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < number:
            taken = await consumer.take(number - len(found))
            assert 1 <= len(taken) <= number - len(found)
            if acknowledge:
                await consumer.acknowledge(taken)
            found += taken
    return found


async def one(consumer: Consumer, *, acknowledge: bool = False) -> Incoming:
    return (await some(consumer, 1, acknowledge=acknowledge))[0]


async def nothing(consumer: Consumer, within_s: float = QUIET_S) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(within_s):
            await consumer.take(10)


async def put(yard: Yard, *contents: bytes, key: str = "k") -> None:
    for content in contents:
        await yard.put(content, {}, key)


def contents(messages: Sequence[Incoming]) -> list[bytes]:
    return [message.content for message in messages]


class Promises:
    async def test_it_answers_a_ping(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await consumer.ping()

    async def test_a_message_comes_with_its_bytes_and_fields(self, yard: Yard) -> None:
        content = bytes(range(256))
        async with opened(yard) as consumer:
            await yard.put(content, {"content-type": "application/octet-stream", "ce-type": "order.made", "Traceparent": "00-1-2-03"}, "k")
            taken = await one(consumer, acknowledge=True)
        assert (taken.content, taken.content_type) == (content, "application/octet-stream")
        assert (taken.fields["ce-type"], taken.fields["traceparent"], taken.tries) == ("order.made", "00-1-2-03", 1)
        assert taken.place

    async def test_a_message_without_content_is_one(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await put(yard, b"", b"next")
            assert sorted(contents(await some(consumer, 2))) == [b"", b"next"]

    async def test_taking_waits_for_the_first(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            taking = asyncio.create_task(one(consumer, acknowledge=True))
            await asyncio.sleep(QUIET_S)
            assert not taking.done()
            await put(yard, b"first")
            assert (await taking).content == b"first"

    async def test_no_more_than_asked_for_are_taken(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await put(yard, *(b"%d" % number for number in range(7)))
            found = list[Incoming]()
            async with asyncio.timeout(PATIENCE_S):
                while len(found) < 7:
                    taken = await consumer.take(3)
                    assert 1 <= len(taken) <= 3
                    found += taken
            assert contents(found) == [b"%d" % number for number in range(7)]

    async def test_what_is_acknowledged_never_comes_again(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await put(yard, b"1", b"2", b"3")
            assert contents(await some(consumer, 3)) == [b"1", b"2", b"3"]
            await nothing(consumer)
        await put(yard, b"4")
        async with opened(yard) as consumer:
            assert (await one(consumer, acknowledge=True)).content == b"4"

    async def test_what_is_not_acknowledged_comes_again_after_closing(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await put(yard, b"1", b"2", b"3")
            taken = await some(consumer, 3, acknowledge=False)
            await consumer.acknowledge(taken[:1])
        async with opened(yard) as consumer:
            again = await some(consumer, 2)
            assert contents(again) == [b"2", b"3"]
            if yard.counts:
                assert [message.tries for message in again] == [2, 2]

    async def test_an_acknowledgement_does_not_cover_what_came_before_it(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await put(yard, b"1", b"2", b"3")
            taken = await some(consumer, 3, acknowledge=False)
            await consumer.acknowledge(taken[1:])
        async with opened(yard) as consumer:
            assert (await one(consumer, acknowledge=True)).content == b"1"
            if yard.alone:
                await nothing(consumer)

    async def test_what_is_given_back_comes_again_and_is_counted(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await put(yard, b"again")
            for tries in (1, 2, 3):
                taken = await one(consumer)
                assert (taken.content, taken.tries) == (b"again", tries)
                await consumer.give_back(taken, 0.0)
            await consumer.acknowledge([await one(consumer)])
            await nothing(consumer)

    async def test_what_is_given_back_does_not_come_before_its_time(self, yard: Yard) -> None:
        if not yard.waits:
            pytest.skip("this broker cannot wait")
        async with opened(yard) as consumer:
            await put(yard, b"later")
            await consumer.give_back(await one(consumer), 1.5)
            await nothing(consumer, 1.0)
            assert (await one(consumer, acknowledge=True)).content == b"later"

    async def test_what_is_given_back_comes_before_what_follows_it_in_its_order(self, yard: Yard) -> None:
        if not yard.ordered:
            pytest.skip("this broker keeps no order")
        async with opened(yard) as consumer:
            await put(yard, b"1", b"2", b"3", b"4")
            first = await one(consumer)
            assert first.order
            await consumer.give_back(first, 0.5)
            assert contents(await some(consumer, 4)) == [b"1", b"2", b"3", b"4"]

    async def test_what_is_buried_lies_aside_with_its_reason_and_is_gone(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await yard.put(b"\xffnot json", {"ce-type": "order.made"}, "k")
            await put(yard, b"good")
            taken = await one(consumer)
            await consumer.bury(taken, "event_invalid")
            assert (await one(consumer, acknowledge=True)).content == b"good"
            await nothing(consumer)
        ((content, fields),) = await yard.buried()
        assert content == b"\xffnot json"
        assert fields[REASON] == "event_invalid"
        assert (fields[SOURCE], fields[TRIES], fields[PLACE]) == (SOURCE_NAME, "1", taken.place)
        assert fields["ce-type"] == "order.made"
        async with opened(yard) as consumer:
            await nothing(consumer)

    async def test_cancelling_a_take_loses_nothing(self, yard: Yard) -> None:
        wanted = [b"%d" % number for number in range(40)]
        found = set[bytes]()
        async with opened(yard) as consumer:
            putting = asyncio.create_task(put(yard, *wanted))
            for turn in range(60):
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.001 * (turn % 7)):
                        taken = await consumer.take(5)
                        found.update(contents(taken))
                        await asyncio.shield(consumer.acknowledge(taken))
            await putting
            while len(found) < len(wanted):
                found.add((await one(consumer, acknowledge=True)).content)
        assert found == set(wanted)

    async def test_two_consumers_share_what_there_is(self, yard: Yard) -> None:
        if not yard.shares:
            pytest.skip("one consumer has all of it")
        wanted = {b"%d" % number for number in range(30)}
        found = list[bytes]()
        async with opened(yard) as one_of_them, opened(yard) as other:

            async def work(consumer: Consumer) -> None:
                while True:
                    taken = await consumer.take(2)
                    await consumer.acknowledge(taken)
                    found.extend(contents(taken))

            working = [asyncio.create_task(work(each)) for each in (one_of_them, other)]
            for number, content in enumerate(sorted(wanted)):
                await put(yard, content, key=f"k{number}")
            async with asyncio.timeout(PATIENCE_S):
                while set(found) != wanted:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.02)
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
        assert len(found) == len(wanted)

    async def test_it_can_be_opened_again_after_closing(self, yard: Yard) -> None:
        async with opened(yard) as consumer:
            await put(yard, b"1")
            await one(consumer)
            await consumer.close()
            await consumer.open()
            assert (await one(consumer, acknowledge=True)).content == b"1"

    async def test_closing_twice_or_before_opening_is_harmless_and_then_nothing_is_taken(self, yard: Yard) -> None:
        never = yard.make()
        await never.close()
        async with opened(yard) as consumer:
            await consumer.close()
            await consumer.close()
            with pytest.raises(DestinationError) as refused:
                await consumer.take(1)
            assert refused.value.code == "destination_closed"

    async def test_a_broker_that_is_killed_and_comes_back_loses_nothing(self, yard: Yard) -> None:
        if yard.kill is None or yard.revive is None:
            pytest.skip("nothing to kill")
        async with opened(yard) as consumer:
            if yard.keeps:
                await put(yard, b"before")
                await consumer.acknowledge([await one(consumer)])
                await put(yard, b"taken", b"waiting")
                assert (await one(consumer)).content == b"taken"
            await yard.kill()
            failing = asyncio.create_task(_until_something(consumer))
            await asyncio.sleep(QUIET_S)
            await yard.revive()
            if not yard.keeps:
                await put(yard, b"taken", b"waiting")
            assert await failing >= {b"taken", b"waiting"}


async def _until_something(consumer: Consumer) -> set[bytes]:
    """As the event door does it: after a failure it closes and opens again."""
    found = set[bytes]()
    async with asyncio.timeout(PATIENCE_S * 2):
        while not found >= {b"taken", b"waiting"}:
            try:
                taken = await consumer.take(5)
                await consumer.acknowledge(taken)
                found.update(contents(taken))
            except DestinationError:
                await consumer.close()
                with suppress(DestinationError):
                    await consumer.open()
                await asyncio.sleep(0.2)
    return found
