"""Every dispatched decision gets exactly one outcome, and streams leave room for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from adapters.memory_destination import Answer, MemoryDestination, Visit
from router.doors import websocket
from router.doors.gate import Gate
from router.doors.under_way import UnderWay
from router.doors.websocket import WebSocketDoor
from router.errors import DestinationError
from router.stages.rule import Rule
from router.stages.rules import RuleIndex
from router.system import SystemClock
from tests.faults.gateway_harness import ALLOW, REVIEW, House

PATIENCE_S = 30.0
CONNECT = [{"type": "websocket.connect"}]
HANDSHAKE = {"type": "websocket", "raw_path": b"/chat", "query_string": b"", "client": ("127.0.0.1", 5), "headers": [(b"host", b"a")]}


def outcomes(house: House) -> list[tuple[str, str]]:
    return [(leaf["outcome"]["result"], leaf["outcome"]["reason"]) for leaf in house.leaves if leaf["schema"] == "lockgate.outcome.v1"]


@pytest.mark.parametrize(("error", "reason"), [(ZeroDivisionError(), "internal"), (asyncio.CancelledError(), "interrupted")])
async def test_what_nobody_foresaw_is_an_outcome(error: BaseException, reason: str) -> None:
    """A dispatch that breaks in a new way, or is cut off by the end of the process, is on record once."""
    house = House()
    house.answer = error
    with pytest.raises(type(error)):
        await house.ask()
    assert outcomes(house) == [("failed", reason)]
    assert house.seen.outcomes[0].total_ns > 0


async def test_a_callers_key_makes_no_retry_safe() -> None:
    """Only a service that is known to heed Idempotency-Key may be asked twice to do what is no GET."""
    for heeds in (False, True):
        house = House()
        if heeds:
            options = replace(house.runtime.options, deduplicating=frozenset(("pay",)))
            house.runtime = replace(house.runtime, options=options)
        await house.ask(headers=[(b"idempotency-key", b"k-1")])
        assert (house.reached[0].idempotent, house.reached[0].idempotency_key) == (heeds, "k-1")


async def test_a_stream_without_a_body_is_a_plain_request() -> None:
    """A GET on a streaming route does not become an upload, and can be tried again."""
    house = House()
    house.runtime = replace(house.runtime, options=replace(house.runtime.options, streams=frozenset(("pay",))))
    await house.ask(b"", "PUT", "/payments/4711")
    assert house.reached[0].body == b""


async def visited(house: House, messages: list[dict[str, Any]], gone: bool = False) -> list[dict[str, Any]]:
    """What a WebSocket's caller is sent."""
    sent: list[dict[str, Any]] = []
    sockets = WebSocketDoor(house.gateway, SystemClock(), house.seen)
    coming = list(messages)

    async def receive() -> Any:
        return coming.pop(0) if coming else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        if gone:
            raise ConnectionResetError
        sent.append(message)

    async with asyncio.timeout(PATIENCE_S):
        await sockets.handle(house.runtime, HANDSHAKE, receive, send)
    return sent


async def chatting(visit: Any, policy: dict[str, Any] = ALLOW) -> House:
    house = House(policy={"admission": ALLOW, "decision": policy})
    destination = MemoryDestination(house._handle, visit)
    await destination.open()
    await house.ledger.open()
    stages = replace(house.runtime.pipeline.stages, rules=RuleIndex([Rule("chat", intent="cancel", route="pay", path="/chat")]))
    house.runtime.pipeline.stages = stages
    house.runtime = replace(
        house.runtime,
        dispatcher=replace(house.runtime.dispatcher, destinations={"pay": destination}),
        options=replace(house.runtime.options, websockets=frozenset(("pay",))),
    )
    return house


async def greeting(visit: Visit) -> None:
    await visit.socket.send("hello")
    await visit.socket.close(1000)


async def test_a_websocket_has_an_outcome() -> None:
    """Its messages pass, and its end is recorded."""
    house = await chatting(greeting)
    sent = await visited(house, CONNECT)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert outcomes(house) == [("routed", "")]


@pytest.mark.parametrize("name", ["mask_body", "redact_fields", "mirror", "limit_response"])
async def test_what_cannot_be_done_to_messages_denies_a_websocket(name: str) -> None:
    """Before the record, which says denied; the service hears nothing."""
    visits: list[Visit] = []

    async def noted(visit: Visit) -> None:
        visits.append(visit)

    params = {"redact_fields": {"fields": ["/a"]}, "mirror": {"destination": "shadow"}, "limit_response": {"bytes": 9}}
    house = await chatting(noted, {**ALLOW, "obligations": [{"name": name, "params": params.get(name, {})}]})
    assert [message["type"] for message in await visited(house, CONNECT)] == ["websocket.close"]
    decisions = [leaf for leaf in house.leaves if leaf["schema"] == "lockgate.decision.v1"]
    assert [(each["verdict"]["effect"], each["outcome"]["reason"]) for each in decisions] == [("deny", "obligation_failed")]
    assert visits == []


async def test_a_websocket_that_policy_holds_reaches_nobody() -> None:
    """It cannot wait for a reviewer: its caller is refused, nobody is asked, the service hears nothing, and the outcome says why."""
    visits: list[Visit] = []

    async def noted(visit: Visit) -> None:
        visits.append(visit)

    house = await chatting(noted, REVIEW)
    assert await visited(house, CONNECT) == [{"type": "websocket.close", "code": 3003}]
    assert (outcomes(house), visits, house.holds.held) == ([("denied", "websocket_cannot_be_held")], [], [])


async def test_a_websocket_that_no_rule_admits_is_refused_before_a_decision() -> None:
    """Its messages would be read by nobody, so the handshake alone must say where it leads."""
    house = await chatting(greeting)
    house.runtime = replace(house.runtime, options=replace(house.runtime.options, websockets=frozenset()))
    assert await visited(house, CONNECT) == [{"type": "websocket.close", "code": 3003}]
    assert (house.seen.refusals, house.leaves) == ([("websocket_not_routed", 403)], [])


async def test_a_caller_who_is_gone_before_the_accept_leaves_no_socket() -> None:
    """The upstream's side is closed, and the outcome says why."""
    closed = asyncio.Event()

    async def waiting(visit: Visit) -> None:
        assert await visit.socket.receive() is None
        closed.set()

    house = await chatting(waiting)
    await visited(house, CONNECT, gone=True)
    async with asyncio.timeout(PATIENCE_S):
        await closed.wait()
    assert outcomes(house) == [("failed", "client_gone")]


async def test_a_service_that_closes_while_its_caller_speaks_has_its_code_told() -> None:
    """And what it said before; the caller's message finds the socket closed, which says nothing of how it ended."""

    async def closing(visit: Visit) -> None:
        for word in ("no", "more"):
            await visit.socket.send(word)
        await visit.socket.close(4001)

    house = await chatting(closing)
    sent = await visited(house, [*CONNECT, *[{"type": "websocket.receive", "text": "and"}] * 50])
    assert sent[1:] == [
        {"type": "websocket.send", "text": "no"},
        {"type": "websocket.send", "text": "more"},
        {"type": "websocket.close", "code": 4001},
    ]
    assert outcomes(house) == [("routed", "")]


async def test_a_caller_who_closes_while_its_service_speaks_has_its_code_told() -> None:
    """A message to the caller finds its connection closed before its close is passed on."""
    codes: list[int] = []
    ended = asyncio.Event()

    async def speaking(visit: Visit) -> None:
        with suppress(DestinationError):
            while True:
                await visit.socket.send("tick")
                await asyncio.sleep(0)
        codes.append(visit.socket.close_code)
        ended.set()

    house, closed = await chatting(speaking), asyncio.Event()
    coming: list[dict[str, Any]] = [*CONNECT]

    async def receive() -> Any:
        if coming:
            return coming.pop(0)
        await closed.wait()
        for _ in range(5):  # whoever listens hears of it a little later than who speaks
            await asyncio.sleep(0)
        return {"type": "websocket.disconnect", "code": 4002}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            closed.set()
            raise ConnectionResetError

    await WebSocketDoor(house.gateway, SystemClock(), house.seen).handle(house.runtime, HANDSHAKE, receive, send)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    assert codes == [4002]
    assert outcomes(house) == [("routed", "")]


async def test_a_service_that_takes_nothing_keeps_no_caller_who_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What he said last is offered for a while, and then the WebSocket ends."""
    monkeypatch.setattr(websocket, "LAST_WORDS_S", 0.05)
    gone, taking = asyncio.Event(), asyncio.Event()

    async def deaf(message: str | bytes) -> None:
        taking.set()
        await asyncio.Event().wait()

    async def visit(visit: Visit) -> None:
        await taking.wait()
        gone.set()
        await visit.socket.send("tick")

    house = await chatting(visit)
    destination: Any = house.runtime.dispatcher.destinations["pay"]
    connect = destination.connect

    async def connected(*args: Any) -> Any:
        made = await connect(*args)
        made.send = deaf
        return made

    destination.connect = connected
    coming: list[dict[str, Any]] = [*CONNECT, {"type": "websocket.receive", "text": "and"}]

    async def receive() -> Any:
        return coming.pop(0) if coming else await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        if gone.is_set():
            raise ConnectionResetError

    async with asyncio.timeout(PATIENCE_S):
        await WebSocketDoor(house.gateway, SystemClock(), house.seen).handle(house.runtime, HANDSHAKE, receive, send)
    assert outcomes(house) == [("failed", "client_gone")]


async def test_a_stream_leaves_its_slot_to_others() -> None:
    """A response that may last for hours does not count as a request in progress; what was dispatched is bounded by its destination."""
    ending, under_way = asyncio.Event(), UnderWay()

    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await ending.wait()

    house = House()
    house.answer = Answer(200, [(b"content-type", b"text/event-stream")], events())
    await house.ledger.open()
    await house.destination.open()
    gate = Gate(house.gateway, WebSocketDoor(house.gateway, SystemClock(), house.seen), house.seen, 1, 0, under_way)
    gate.runtime = house.runtime
    begun = asyncio.Event()

    async def stay() -> Any:
        return await asyncio.get_running_loop().create_future()

    def coming() -> Any:
        messages = [{"type": "http.request", "body": b'{"message": "cancel"}'}]

        async def receive() -> Any:
            return messages.pop() if messages else await stay()

        return receive

    async def ask(sent: list[dict[str, Any]]) -> None:
        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if message.get("body"):
                begun.set()

        fields = [(b"host", b"a"), (b"content-type", b"application/json"), (b"content-length", b"21")]
        scope = {"type": "http", "method": "POST", "raw_path": b"/ask", "query_string": b"", "client": ("127.0.0.1", 5), "headers": fields}
        await gate(scope, coming(), send)

    first: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []
    streaming = asyncio.create_task(ask(first))
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
        house.answer = Answer(200, [], b"done")
        await ask(second)
        assert (first[0]["status"], second[0]["status"], streaming.done()) == (200, 200, False)
        assert under_way.count == 0
        ending.set()
        await streaming
