"""Dispatching a decided request and streaming the upstream's response back, ending in exactly one outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from typing import Protocol

from router.decision import Decision, Outcome, Result
from router.dispatch import failure
from router.doors.body import BodyReader, ClientGoneError, Receive
from router.doors.forwarding import BODILESS, request_headers, response_headers
from router.doors.head import Head, trusts
from router.doors.responses import Send, respond_problem
from router.doors.runtime import Observer, Runtime
from router.errors import AuditError, DestinationError, LockgateError, RefusedError
from router.obligations import response_limit
from router.ports import Clock, Outbound, Reply

log = logging.getLogger("lockgate.gateway")
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))  # RFC 9110 §9.2.2
TOO_LARGE = "response_too_large"
WATCHED_BYTES = 64 * 1024  # a longer or endless response is watched for a caller that leaves


@dataclass(frozen=True, slots=True)
class Exchange:
    """One decided request on its way through the door."""

    runtime: Runtime
    head: Head
    decision: Decision
    started_ns: int
    reader: BodyReader | ReadBody


class ReadBody(Protocol):
    """A body that did not come over the connection as it is."""

    data: bytes
    complete: bool
    digest: str | None

    def rest(self) -> AsyncIterator[bytes]: ...


class Relay:
    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer

    async def relay(self, exchange: Exchange, receive: Receive, send: Send) -> Outcome:
        """From here the request is dispatched at most once by us."""
        return await self.settle(exchange, self._dispatched(exchange, self._clock.monotonic_ns(), receive, send))

    async def settle(self, exchange: Exchange, passing: Awaitable[Outcome]) -> Outcome:
        """Records exactly one outcome, whatever comes of `passing`."""
        try:
            outcome = await passing
        except BaseException as error:
            reason = "interrupted" if isinstance(error, asyncio.CancelledError) else "internal"
            await self.end(exchange, self._broken(exchange, 500, reason))
            raise
        await self.end(exchange, outcome)
        return outcome

    async def _dispatched(self, exchange: Exchange, sent_ns: int, receive: Receive, send: Send) -> Outcome:
        try:
            reply = await exchange.runtime.dispatcher.send(exchange.decision, outbound(exchange))
        except DestinationError as error:
            outcome = replace(failure(error, self.elapsed(exchange)), upstream_ns=self._clock.monotonic_ns() - sent_ns)
            detail = str(error)
        except RefusedError as error:  # the rest of the body broke a limit while it streamed
            outcome, detail = self._broken(exchange, error.status, error.code), str(error)
        except ClientGoneError:
            return self._broken(exchange, 499, "client_gone")
        except LockgateError as error:  # an obligation that cannot be met: nothing was sent
            outcome, detail = Outcome(Result.DENIED, 403, error.code, total_ns=self.elapsed(exchange)), str(error)
        else:
            limit = response_limit(exchange.decision.verdict.obligations)
            if limit is None or _announced(reply) <= limit or exchange.head.method == "HEAD":
                return await self._stream(exchange, reply, sent_ns, receive, send, limit)
            await reply.close()
            outcome, detail = self._too_large(exchange, reply, sent_ns), f"The answer is larger than the {limit} bytes that policy allows."
        await respond_problem(send, outcome.status, outcome.reason, detail, exchange.decision.id)
        return outcome

    async def fail(self, exchange: Exchange, outcome: Outcome, detail: str, send: Send) -> None:
        await respond_problem(send, outcome.status, outcome.reason, detail, exchange.decision.id)
        await self.end(exchange, outcome)

    async def end(self, exchange: Exchange, outcome: Outcome) -> None:
        self._observer.ended(exchange.decision, outcome)
        try:
            await exchange.runtime.pipeline.ended(exchange.decision, outcome)  # 7
        except AuditError as error:
            # The effect has happened and cannot be taken back; the decision without an outcome stays visible in the ledger.
            log.error("no outcome recorded for decision %s: %s", exchange.decision.id, error)

    async def _stream(
        self, exchange: Exchange, reply: Reply, sent_ns: int, receive: Receive, send: Send, limit: int | None = None
    ) -> Outcome:
        """`limit`: bytes after which the response is broken off; what was cut must not look whole."""
        sent, reason = 0, ""
        try:
            headers = response_headers(reply.headers, exchange.decision, reply.status)
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            async for chunk in _chunks(exchange, reply, receive):
                if limit is not None and sent + len(chunk) > limit:
                    raise DestinationError("the answer is larger than policy allows", TOO_LARGE, sent=True)
                sent += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except DestinationError as error:
            reason = error.code  # too late for another status: the response stays unfinished and the server cuts the connection
        except ClientGoneError:
            reason = "client_gone"
        except RuntimeError:  # the server refuses what the upstream sent: control characters, more bytes than it announced
            reason = "upstream_protocol"
        finally:
            await reply.close()
        return self._outcome(exchange, reply, sent_ns, sent, reason)

    def _outcome(self, exchange: Exchange, reply: Reply, sent_ns: int, sent: int, reason: str) -> Outcome:
        return Outcome(
            Result.FAILED if reason else Result.ROUTED,
            reply.status,
            reason,
            upstream=reply.upstream,
            attempts=reply.attempts,
            upstream_ns=self._clock.monotonic_ns() - sent_ns,
            total_ns=self.elapsed(exchange),
            request_digest=exchange.reader.digest,
            response_bytes=sent,
            complete=not reason,
            work=reply.work,
        )

    def _too_large(self, exchange: Exchange, reply: Reply, sent_ns: int) -> Outcome:
        return replace(self._outcome(exchange, reply, sent_ns, 0, TOO_LARGE), status=502)

    def _broken(self, exchange: Exchange, status: int, reason: str) -> Outcome:
        return Outcome(Result.FAILED, status, reason, total_ns=self.elapsed(exchange), complete=False)

    def elapsed(self, exchange: Exchange) -> int:
        return self._clock.monotonic_ns() - exchange.started_ns


def outbound(exchange: Exchange) -> Outbound:
    """The caller's request as the route's upstream gets it."""
    head, decision, options = exchange.head, exchange.decision, exchange.runtime.options
    route = decision.route
    if route is None:
        raise DestinationError("The decision names no route.", "route_missing")
    own_key = decision.id if route.name in options.deduplicating else None
    method = route.method or head.method
    trusted = trusts(head.peer, options.trusted)
    headers = request_headers(head, decision, trusted_peer=trusted, idempotency_key=own_key)
    reader = exchange.reader
    if not reader.complete and head.content_length is not None:
        headers.append((b"content-length", b"%d" % head.content_length))
    key = decision.request.idempotency_key or own_key
    return Outbound(
        method=method,
        target=target(exchange),
        headers=headers,
        body=reader.data if reader.complete else reader.rest(),
        # A caller's key makes a retry safe only where the service is known to heed it.
        idempotent=method in IDEMPOTENT or own_key is not None,
        idempotency_key=key,
    )


def target(exchange: Exchange) -> str:
    """Path and query for the upstream: the route's path where it has one, else the caller's."""
    route, head = exchange.decision.route, exchange.head
    if route is None or route.path is None:
        return head.target
    return f"{route.path}?{head.query}" if head.query else route.path


async def _chunks(exchange: Exchange, reply: Reply, receive: Receive) -> AsyncIterator[bytes]:
    """The response's bytes; a long or endless one also watches for the caller, who may leave while nothing arrives."""
    if not exchange.reader.complete or not _is_long(reply):
        async for chunk in reply.chunks():
            yield chunk
        return
    gone = asyncio.ensure_future(receive())
    chunks = reply.chunks().__aiter__()
    arriving: asyncio.Future[bytes] | None = None
    try:
        while True:
            arriving = asyncio.ensure_future(anext(chunks))
            await asyncio.wait((gone, arriving), return_when=asyncio.FIRST_COMPLETED)
            if not arriving.done():
                raise ClientGoneError
            yield arriving.result()
    except StopAsyncIteration:
        return
    finally:
        gone.cancel()
        if arriving is not None:
            arriving.cancel()


def _announced(reply: Reply) -> int:
    """Bytes of the body that the upstream says it sends; 0 where it does not say, and the bytes are counted instead."""
    value = next((value for name, value in reply.headers if name.lower() == b"content-length"), b"")
    return int(value) if value.isdigit() and reply.status not in BODILESS else 0


def _is_long(reply: Reply) -> bool:
    for name, value in reply.headers:
        if name.lower() == b"content-length":
            return not value.isdigit() or int(value) > WATCHED_BYTES
    return reply.status not in BODILESS
