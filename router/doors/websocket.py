"""WebSocket pass-through for routes that are decided by a rule on the handshake alone: there is no body to classify."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from router.decision import NO_BODY, Outcome, Result
from router.dispatch import failure
from router.doors.body import BodyReader, Receive
from router.doors.forwarding import request_headers
from router.doors.gateway import Gateway
from router.doors.head import trusts
from router.doors.relay import Exchange, Relay, target
from router.doors.responses import Send
from router.doors.runtime import Observer, Runtime
from router.errors import AuditError, DestinationError, LockgateError, RefusedError, StateError
from router.ports import Clock, Socket

LAST_WORDS_S = 30.0  # for a service to take what a caller said who is gone
HTTP_TO_CLOSE = {401: 3000, 403: 3003, 429: 1013, 503: 1013}


class WebSocketDoor:
    def __init__(self, gateway: Gateway, clock: Clock, observer: Observer) -> None:
        self._gateway = gateway
        self._clock = clock
        self._observer = observer
        self._relay = Relay(clock, observer)

    async def handle(self, runtime: Runtime, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        started_ns = self._clock.monotonic_ns()
        await receive()  # websocket.connect
        try:
            exchange = await self._decided(runtime, scope, receive, started_ns)
        except RefusedError as error:
            self._observer.refused(error.code, error.status)
            await _reject(send, error.status)
        except (AuditError, StateError) as error:
            self._observer.refused(error.code, 503)
            await _reject(send, 503)
        else:
            outcome = exchange.decision.outcome
            if outcome is not None and outcome.result is Result.HELD:
                await _reject(send, 403)
                await self._relay.end(exchange, Outcome(Result.DENIED, 403, "websocket_cannot_be_held"))
            elif outcome is not None:
                self._observer.ended(exchange.decision, outcome)
                await _reject(send, outcome.status)
            else:
                await self._relay.settle(exchange, self._passed(exchange, scope, receive, send))

    async def _decided(self, runtime: Runtime, scope: dict[str, Any], receive: Receive, started_ns: int) -> Exchange:
        received_ns = self._clock.now_ns()
        head = self._gateway.read_head(runtime, scope | {"method": "GET"})
        self._gateway.refuse_own(head)
        subject = await self._gateway.identify(runtime, head)
        visible = head.visible(runtime.options.visible)
        looked = runtime.pipeline.stages.rules.look(head.method, head.path, visible, NO_BODY)
        if looked.match is None or looked.match.route not in runtime.options.websockets:
            raise RefusedError("No rule admits a WebSocket here.", "websocket_not_routed", 403)
        request = self._gateway.build(head, subject, received_ns, visible, NO_BODY)
        decision = await runtime.pipeline.decide(request, looked, socket=True)
        return Exchange(runtime, head, decision, started_ns, BodyReader(receive, runtime.options.limits, None))

    async def _passed(self, exchange: Exchange, scope: Mapping[str, Any], receive: Receive, send: Send) -> Outcome:
        decision, head, asked_ns = exchange.decision, exchange.head, self._clock.monotonic_ns()
        trusted = trusts(head.peer, exchange.runtime.options.trusted)
        headers = request_headers(head, decision, trusted_peer=trusted, idempotency_key=None, websocket=True)
        try:
            socket = await exchange.runtime.dispatcher.connect(decision, target(exchange), headers, scope.get("subprotocols", []))
        except DestinationError as error:
            await _reject(send, error.status)
            return failure(error, self._relay.elapsed(exchange))
        except LockgateError as error:  # an obligation that cannot be met: nothing was sent
            await _reject(send, 403)
            return Outcome(Result.DENIED, 403, error.code, total_ns=self._relay.elapsed(exchange))
        reason = await _through(socket, receive, send)
        spent, total = self._clock.monotonic_ns() - asked_ns, self._relay.elapsed(exchange)
        result = Result.FAILED if reason else Result.ROUTED
        return Outcome(result, 101, reason, attempts=1, upstream_ns=spent, total_ns=total, complete=not reason)


async def _reject(send: Send, status: int) -> None:
    """Before the handshake is accepted a close is an HTTP 403 on the wire; the code tells those who can read it why."""
    with suppress(OSError):  # the caller is gone, and needs no telling
        await send({"type": "websocket.close", "code": HTTP_TO_CLOSE.get(status, 1011)})


async def _through(socket: Socket, receive: Receive, send: Send) -> str:
    """Accepts, and passes messages on. Returns a reason code where it ended badly, else an empty string."""
    try:
        await send({"type": "websocket.accept", "subprotocol": socket.subprotocol})
        return await _pump(socket, receive, send)
    except DestinationError as error:
        await _reject(send, error.status)
        return error.code
    except OSError:  # ASGI: the caller's connection is closed
        return "client_gone"
    finally:
        await socket.close()


async def _pump(socket: Socket, receive: Receive, send: Send) -> str:
    """Both directions until one side ends. Who finds the other side closed as he passes a message on does not know how it ended: that
    comes to who listens there, behind what was said before."""
    up = asyncio.ensure_future(_upwards(socket, receive))
    down = asyncio.ensure_future(_downwards(socket, send))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        first, other = (up, down) if up.done() else (down, up)
        if isinstance(first.exception(), DestinationError | OSError):
            await asyncio.wait((other,), timeout=LAST_WORDS_S if other is up else None)  # a caller's time is the server's to bound
            if other.done() and other.exception() is None:
                return other.result()
        return first.result()
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _upwards(socket: Socket, receive: Receive) -> str:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            await socket.close(message.get("code") or 1000, message.get("reason") or "")
            return ""
        content = message.get("text")
        await socket.send(content if content is not None else message["bytes"])


async def _downwards(socket: Socket, send: Send) -> str:
    while (message := await socket.receive()) is not None:
        await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
    await send({"type": "websocket.close", "code": socket.close_code})
    return ""
