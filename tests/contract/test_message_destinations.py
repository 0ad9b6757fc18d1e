"""What every destination that takes messages promises, over the in-memory twin; each kind has a suite of its own over the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import orjson
import pytest

from adapters.memory_peer import Config, MemoryPeer, build
from adapters.messaging.destination import MessageDestination, Receipt, failure
from adapters.messaging.message import Message
from router.errors import DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked


class TestMemory(Promises):
    @pytest.fixture
    async def case(self) -> AsyncIterator[Case]:
        peer = MemoryPeer()
        made = build(Config(), name="twin", clock=SystemClock(), random=SystemRandom(), peer=peer)

        async def arrived(message_id: str) -> list[bytes]:
            return [peer.messages[message_id].content] if message_id in peer.messages else []

        await made.open()
        yield Case(made, arrived)
        await made.close()


def destination(peer: MemoryPeer, **settings: object) -> MessageDestination:
    return build(Config.model_validate(settings), name="twin", clock=SystemClock(), random=SystemRandom(), peer=peer)


async def opened(peer: MemoryPeer, **settings: object) -> MessageDestination:
    made = destination(peer, **settings)
    await made.open()
    return made


async def test_the_mapping_is_sent_instead_of_the_body_and_sees_what_was_decided() -> None:
    peer = MemoryPeer()
    mapped = {
        "invoice": "{{ body.id }}",
        "by": "{{ subject.id }}",
        "why": "{{ decision.intent }}",
        "roles": "{{ subject.roles }}",
        "of": "{{ event.source }}",
    }
    made = await opened(peer, input=mapped)
    reply = await made.send(
        asked(b'{"id": 4711}', [(b"x-lockgate-subject", b"anna%2Clind"), (b"x-lockgate-roles", b"a,b%2Cc"), (b"ce-source", b"/shop")])
    )
    assert reply.status == 202
    (sent,) = peer.messages.values()
    assert orjson.loads(sent.content) == {"invoice": 4711, "by": "anna,lind", "why": "cancel_payment", "roles": ["a", "b,c"], "of": "/shop"}


async def test_what_the_request_lacks_is_refused_and_nothing_is_sent() -> None:
    peer = MemoryPeer()
    made = await opened(peer, input={"invoice": "{{ body.id }}"})
    with pytest.raises(DestinationError) as refused:
        await made.send(asked(b"{}"))
    assert (refused.value.code, refused.value.status, peer.sendings) == ("input_unmapped", 422, 0)


async def test_a_failure_that_passes_is_tried_again_under_the_same_id() -> None:
    seen = list[Message]()

    def fails_once(message: Message) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise failure("upstream_reset", "it went away", sent=True)

    made = await opened(MemoryPeer(fails_once), retries={"attempts": 3, "backoff": "1ms"})
    reply = await made.send(asked(b"{}"))
    assert reply.attempts == 2
    assert seen[0].id == seen[1].id
    assert [each.repeated for each in seen] == [False, True]


@pytest.mark.parametrize("sent", [True, False])
async def test_what_may_have_arrived_is_not_sent_again_to_a_peer_that_would_act_twice(sent: bool) -> None:
    peer = MemoryPeer(_always(failure("upstream_reset", "it went away", sent=sent)))
    peer.repeatable = False
    made = await opened(peer, retries={"attempts": 3, "backoff": "1ms"})
    with pytest.raises(DestinationError):
        await made.send(asked(b"{}"))
    assert peer.sendings == (1 if sent else 3)


@pytest.mark.parametrize("then", ["connect_failed", "circuit_open"])
async def test_who_was_reached_once_is_not_said_to_have_been_reached_never(then: str) -> None:
    """The last sending reached nobody, or there was none; the one before may have had its effect."""
    sendings = 0

    def fails(_: Message) -> None:
        nonlocal sendings
        sendings += 1
        raise failure("upstream_reset", "it went away", sent=True) if sendings == 1 else failure("connect_failed", "nobody is there")

    attempts, failures = (1, 1) if then == "circuit_open" else (2, 5)
    made = await opened(MemoryPeer(fails), retries={"attempts": 2, "backoff": "1ms"}, circuit={"failures": failures})
    with pytest.raises(DestinationError) as failed:
        await made.send(asked(b"{}"))
    assert (failed.value.code, failed.value.sent, failed.value.attempts, sendings) == ("upstream_reset", True, attempts, attempts)


async def test_a_refusal_is_final_and_no_reason_to_give_the_peer_rest() -> None:
    peer = MemoryPeer(_always(failure("upstream_refused", "no such topic")))
    made = await opened(peer, retries={"attempts": 3, "backoff": "1ms"}, circuit={"failures": 1})
    for _ in range(3):
        with pytest.raises(DestinationError, match="no such topic"):
            await made.send(asked(b"{}"))
    assert peer.sendings == 3


async def test_after_failures_in_a_row_the_peer_is_left_alone() -> None:
    peer = MemoryPeer(_always(failure("connect_failed", "nobody there")))
    made = await opened(peer, retries={"attempts": 1}, circuit={"failures": 2})
    codes = list[str]()
    for _ in range(4):
        with pytest.raises(DestinationError) as refused:
            await made.send(asked(b"{}"))
        codes.append(refused.value.code)
    assert (codes, peer.sendings) == (["connect_failed", "connect_failed", "circuit_open", "circuit_open"], 2)


async def test_time_and_number_and_size_are_bounded() -> None:
    class Slow(MemoryPeer):
        async def deliver(self, message: Message) -> Receipt:
            await asyncio.sleep(60)
            return await super().deliver(message)

    made = await opened(Slow(), timeout="50ms", concurrency=1, most="4B")
    first = asyncio.create_task(made.send(asked(b"{}")))
    await asyncio.sleep(0)
    with pytest.raises(DestinationError) as busy:
        await made.send(asked(b"{}"))
    with pytest.raises(DestinationError) as late:
        await first
    with pytest.raises(DestinationError) as large:
        await made.send(asked(b"12345"))
    assert [error.value.code for error in (busy, late, large)] == ["concurrency_exceeded", "upstream_timeout", "body_too_large"]
    assert late.value.sent


async def test_a_route_may_have_another_time_out_and_shares_the_rest() -> None:
    made = await opened(MemoryPeer())
    view = made.with_timeouts(total=0.5)
    assert (await view.send(asked(b"{}"))).status == 202
    await made.close()
    with pytest.raises(DestinationError, match="not open"):
        await view.send(asked(b"{}"))


def _always(error: DestinationError) -> Callable[[Message], None]:
    def before(_: Message) -> None:
        raise failure(error.code, str(error), sent=error.sent)

    return before
