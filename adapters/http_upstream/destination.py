"""An HTTP destination: picks an upstream, sends, tries again where that is safe, and hands the response on as it arrives."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

from adapters.http_upstream.client import Exchange, HttpClient
from adapters.http_upstream.config import Config
from adapters.http_upstream.failures import failure
from adapters.http_upstream.health import HealthChecks
from adapters.http_upstream.reply import HttpReply, late
from adapters.http_upstream.retry import Failed, RetryBudget, RetryPolicy, retry_after
from adapters.http_upstream.upstream import Bounds, Upstream, Upstreams
from adapters.websocket_client import WebSocketClient
from router.errors import DestinationError
from router.ports import Clock, Headers, Outbound, Socket

FAILED_STATUSES = frozenset((502, 503, 504))
NANO = 1e-9


class BodyAbandonedError(Exception):
    """Makes the client library stop an upload nobody waits for any more."""


class Body:
    """A streamed request body that remembers whether it was touched; every piece it yields is a sign of life that moves the bound."""

    def __init__(self, pieces: AsyncIterator[bytes], idle: float, deadline: float) -> None:
        self._pieces = pieces
        self._idle = idle
        self._deadline = deadline
        self.bound: asyncio.Timeout | None = None
        self.touched = False
        self.abandoned = False
        self.error: BaseException | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self.touched = True
        self._move(self._deadline)  # while we wait for the caller, the upstream owes us nothing
        piece = b""
        while not piece:  # an empty piece must not be sent: in chunked coding it would end the body
            piece = await self._next()
        if self.abandoned:
            raise BodyAbandonedError
        self._move(min(asyncio.get_running_loop().time() + self._idle, self._deadline))
        return piece

    async def _next(self) -> bytes:
        try:
            return await self._pieces.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.error = error
            raise

    def _move(self, until: float) -> None:
        if self.bound is not None and not self.bound.expired():
            self.bound.reschedule(None if until == math.inf else until)


class Gauge:
    """Requests under way."""

    __slots__ = ("count", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0


class HttpDestination:
    """Made by `build`. `total` bounds everything from the first attempt to the end of the body; see `Timeouts`."""

    def __init__(
        self,
        name: str,
        config: Config,
        upstreams: Upstreams,
        policy: RetryPolicy,
        budget: RetryBudget,
        websocket: WebSocketClient,
        clock: Clock,
    ) -> None:
        self.name = name
        self._bounds = Bounds(config.timeouts.connect, config.timeouts.idle or math.inf, config.timeouts.total or math.inf)
        self._upstreams = upstreams
        self._policy = policy
        self._budget = budget
        self._websocket = websocket
        self._clock = clock
        self._gauge = Gauge(config.concurrency)
        self._health = HealthChecks(upstreams.all, config.health, self._bounds)

    def __repr__(self) -> str:
        return f"HttpDestination({self.name}, under_way={self._gauge.count}, upstreams={list(self._upstreams.all)})"

    def with_timeouts(self, *, connect: float | None = None, idle: float | None = None, total: float | None = None) -> HttpDestination:
        """The same destination (upstreams, circuits, budget, concurrency) with other time-outs, in seconds. Make one per route, once."""
        given = {name: value for name, value in (("connect", connect), ("idle", idle), ("total", total)) if value is not None}
        view = copy.copy(self)
        view._bounds = replace(self._bounds, **given)
        return view

    async def open(self) -> None:
        for upstream in self._upstreams.all:
            upstream.client(self._bounds)
        self._health.start()

    async def close(self) -> None:
        await self._health.stop()
        for upstream in self._upstreams.all:
            await upstream.close()

    async def ping(self) -> None:
        self._upstreams.pick(self._now())

    async def send(self, outbound: Outbound) -> HttpReply:
        self._enter()
        try:
            return await self._send(outbound)
        except BaseException:
            self._leave()
            raise

    async def connect(self, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        """An open WebSocket counts as a request under way until it is closed."""
        self._enter()
        try:
            return await self._connect(target, headers, subprotocols)
        except BaseException:
            self._leave()
            raise

    async def _connect(self, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        upstream = self._upstreams.pick(self._now())
        wait = self._bounds.connect + self._bounds.idle
        upstream.circuit.enter()
        try:
            socket = await self._websocket.connect(
                upstream.origin, target, headers, subprotocols, None if wait == math.inf else wait, self._leave
            )
        except DestinationError as error:
            error.upstream = upstream.origin
            self._judge(upstream, error)
            raise
        except BaseException:
            upstream.circuit.abandoned()
            raise
        upstream.circuit.succeeded()
        return socket

    async def _send(self, outbound: Outbound) -> HttpReply:
        idle = self._bounds.idle
        deadline = asyncio.get_running_loop().time() + self._bounds.total
        self._budget.count(self._now())
        body = outbound.body if isinstance(outbound.body, bytes) else Body(outbound.body, idle, deadline)
        tried: frozenset[Upstream] = frozenset()
        attempt = 1
        while True:
            upstream = self._upstreams.pick(self._now(), tried)
            upstream.circuit.enter()
            wait: float | None
            try:
                exchange = await self._exchange(upstream, outbound, body, idle, deadline)
            except DestinationError as error:
                error.upstream, error.attempts = upstream.origin, attempt
                self._judge(upstream, error)
                wait = self._delay(outbound, body, error.code, attempt, deadline, sent=error.sent)
                if wait is None:
                    raise
            except BaseException:
                upstream.circuit.abandoned()
                raise
            else:
                wait = None
                if exchange.status in self._policy.statuses:
                    asked = retry_after(exchange.headers, self._clock.now_ns() * NANO)
                    wait = self._delay(outbound, body, str(exchange.status), attempt, deadline, sent=True, asked=asked)
                if wait is None:
                    upstream.circuit.answered()
                    return HttpReply(exchange, upstream.origin, attempt, idle, deadline, partial(self._settle, upstream, exchange.status))
                upstream.circuit.failed(self._now())
                await exchange.close()
            tried |= {upstream}
            attempt += 1
            if wait > 0:
                await asyncio.sleep(wait)

    async def _exchange(self, upstream: Upstream, outbound: Outbound, body: bytes | Body, idle: float, deadline: float) -> Exchange:
        """The response's head, or DestinationError."""
        client = upstream.client(self._bounds)
        until = min(asyncio.get_running_loop().time() + idle, deadline)
        try:
            async with asyncio.timeout_at(None if until == math.inf else until) as bound:
                if isinstance(body, bytes):
                    return await client.request(outbound.method, outbound.target, outbound.headers, body)
                return await self._upload(client, outbound, body, bound)
        except TimeoutError:
            if not bound.expired():
                raise
            raise late((bound.when() or 0.0) >= deadline) from None

    async def _upload(self, client: HttpClient, outbound: Outbound, body: Body, bound: asyncio.Timeout) -> Exchange:
        body.bound, body.abandoned = bound, False
        try:
            return await client.request(outbound.method, outbound.target, outbound.headers, body)
        except DestinationError:
            body.abandoned = True
            if body.error is not None:
                raise body.error from None
            raise
        except BaseException:
            body.abandoned = True
            raise
        finally:
            body.bound = None

    def _delay(
        self, outbound: Outbound, body: bytes | Body, cause: str, attempt: int, deadline: float, *, sent: bool, asked: float | None = None
    ) -> float | None:
        replayable = isinstance(body, bytes) or not body.touched
        repeatable = replayable and (not sent or outbound.idempotent)
        remaining = deadline - asyncio.get_running_loop().time()
        return self._policy.delay(Failed(cause, attempt, repeatable, remaining, asked), self._now())

    def _judge(self, upstream: Upstream, error: DestinationError) -> None:
        """What is the request's fault says nothing about the upstream."""
        if error.status < 500:
            upstream.circuit.abandoned()
        else:
            upstream.circuit.failed(self._now())

    def _settle(self, upstream: Upstream, status: int, ended: bool | None) -> None:
        self._leave()
        if ended is None:
            upstream.circuit.abandoned()
        elif ended and status not in FAILED_STATUSES:
            upstream.circuit.succeeded()
        else:
            upstream.circuit.failed(self._now())

    def _enter(self) -> None:
        if self._gauge.count >= self._gauge.limit:
            raise failure("concurrency_exceeded", f"{self.name} already has {self._gauge.limit} requests under way")
        self._gauge.count += 1

    def _leave(self) -> None:
        self._gauge.count -= 1

    def _now(self) -> float:
        return self._clock.monotonic_ns() * NANO
