"""An HTTP destination: picks an upstream, sends, tries again where that is safe, and hands the response on as it arrives."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Sequence
from dataclasses import replace

from adapters.http_upstream.body import Body
from adapters.http_upstream.call import Call
from adapters.http_upstream.client import Exchange, HttpClient
from adapters.http_upstream.config import Config
from adapters.http_upstream.failures import failure
from adapters.http_upstream.gate import Gate
from adapters.http_upstream.health import HealthChecks
from adapters.http_upstream.reply import HttpReply, late
from adapters.http_upstream.retry import RetryBudget, RetryPolicy, retry_after
from adapters.http_upstream.sharing import Shared
from adapters.http_upstream.upstream import Bounds, Upstream, Upstreams
from adapters.http_upstream.watch import Bound, Watch
from adapters.websocket_client import WebSocketClient
from router.errors import DestinationError
from router.ports import Clock, Headers, Outbound, Random, Socket

FAILED_STATUSES = frozenset((502, 503, 504))
NANO = 1e-9


class HttpDestination:
    """Made by `build`. What the time-outs bound is said at `Timeouts`."""

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
        self._watch = Watch()
        self._gate = Gate(name, config.concurrency)
        self._hashes = config.hash_by is not None
        self._hashed = (config.hashed_header or "").encode()
        self._health = HealthChecks(upstreams.all, config.health, self._bounds)

    def __repr__(self) -> str:
        return f"HttpDestination({self.name}, under_way={self._gate.count}, upstreams={list(self._upstreams.all)})"

    def with_timeouts(self, *, connect: float | None = None, idle: float | None = None, total: float | None = None) -> HttpDestination:
        """The same destination (upstreams, circuits, budget, concurrency) with other time-outs, in seconds. Make one per route, once."""
        given = {name: value for name, value in (("connect", connect), ("idle", idle), ("total", total)) if value is not None}
        view = copy.copy(self)
        view._bounds = replace(self._bounds, **given)
        view._make_clients()
        return view

    def shared(self, random: Random) -> list[Shared]:
        """What other nodes may be told of, and heard about."""
        return self._upstreams.shared(self.name, random)

    async def open(self) -> None:
        self._make_clients()
        self._health.start()
        self._gate.open = True

    async def close(self) -> None:
        """Requests under way are cut off; whoever wants them to end well waits before."""
        self._gate.open = False
        await self._health.stop()
        for upstream in self._upstreams.all:
            await upstream.close()

    async def ping(self) -> None:
        self._gate.check()
        self._upstreams.pick(self._now())

    @property
    def usable(self) -> bool:
        """Whether an upstream is healthy and may be asked now, by its circuit."""
        return self._upstreams.usable(self._now())

    async def send(self, outbound: Outbound) -> HttpReply:
        self._gate.enter()
        try:
            return await self._send(outbound)
        except BaseException:
            self._gate.leave()
            raise

    async def connect(self, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        """An open WebSocket counts as a request under way until it is closed."""
        self._gate.enter()
        try:
            return await self._connect(target, headers, subprotocols)
        except BaseException:
            self._gate.leave()
            raise

    def _make_clients(self) -> None:
        """Raises ConfigError, so that a bad file is found here and not by a request."""
        for upstream in self._upstreams.all:
            upstream.client(self._bounds)

    async def _send(self, outbound: Outbound) -> HttpReply:
        call = Call(outbound, self._bounds, self._watch)
        now = self._now()
        self._budget.count(now)
        key = self._key(outbound.target, outbound.headers) if self._hashes else b""
        while True:
            try:
                upstream = self._upstreams.pick(now, call.tried, key)
            except DestinationError as error:
                error.attempts = max(1, call.attempt)
                call.tell(error)
                raise
            upstream.circuit.enter()
            upstream.busy += 1
            call.attempt += 1
            try:
                exchange = await self._exchange(upstream, call)
            except DestinationError as error:
                upstream.busy -= 1
                wait = self._after(upstream, call, error)
                if wait is None:
                    call.tell(error)
                    raise
            except BaseException:
                upstream.busy -= 1
                upstream.circuit.abandoned()
                raise
            else:
                wait = self._unwanted(call, exchange)
                if wait is None:
                    upstream.circuit.answered()
                    return HttpReply(exchange, upstream, call, self._settle)
                call.reached = failure("upstream_unavailable", f"the upstream answered with {exchange.status}", sent=True)
                call.reached.upstream = upstream.origin
                upstream.busy -= 1
                upstream.circuit.failed(self._now())
                self._upstreams.note(upstream, failed=True, now=self._now)
                await exchange.close()
            call.tried |= {upstream}
            await asyncio.sleep(wait)
            now = self._now()

    def _after(self, upstream: Upstream, call: Call, error: DestinationError) -> float | None:
        """Seconds until the next attempt; None when the error is the answer."""
        error.upstream, error.attempts = upstream.origin, call.attempt
        self._judge(upstream, error)
        if error.sent:
            call.reached = error
        return self._policy.delay(call.failed(error.code, sent=error.sent), self._now())

    def _unwanted(self, call: Call, exchange: Exchange) -> float | None:
        """Seconds until the next attempt; None when this response is the answer."""
        if exchange.status not in self._policy.statuses:
            return None
        asked = retry_after(exchange.headers, self._clock.now_ns() * NANO)
        return self._policy.delay(call.failed(str(exchange.status), sent=True, wait=asked), self._now())

    async def _exchange(self, upstream: Upstream, call: Call) -> Exchange:
        """The response's head, or DestinationError."""
        client = upstream.client(self._bounds)
        bound = call.bound
        bound.until = min(asyncio.get_running_loop().time() + call.idle, call.deadline)
        try:
            with bound:
                if isinstance(call.body, Body):
                    exchange = await self._upload(client, call.outbound, call.body, bound)
                else:
                    exchange = await client.request(call.outbound.method, call.outbound.target, call.outbound.headers, call.body)
        except TimeoutError:
            if not bound.expired:
                raise
            raise late(bound.until >= call.deadline) from None
        if exchange.status < 200:
            await exchange.close()
            raise failure("upstream_protocol", "the upstream switched protocols without being asked to", sent=True)
        if exchange.status > 599:  # as a server's error (RFC 9110 §15)
            await exchange.close()
            raise failure("upstream_protocol", f"the upstream answered with {exchange.status}, which is no status of HTTP", sent=True)
        return exchange

    async def _upload(self, client: HttpClient, outbound: Outbound, body: Body, bound: Bound) -> Exchange:
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

    async def _connect(self, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        upstream = self._upstreams.pick(self._now(), key=self._key(target, headers) if self._hashes else b"")
        wait = self._bounds.connect + self._bounds.idle
        bound = None if wait == math.inf else wait
        upstream.circuit.enter()
        upstream.busy += 1

        def closed() -> None:
            upstream.busy -= 1
            self._gate.leave()

        try:
            socket = await self._websocket.connect(upstream.origin, target, headers, subprotocols, bound, closed)
        except DestinationError as error:
            upstream.busy -= 1
            error.upstream = upstream.origin
            self._judge(upstream, error)
            raise
        except BaseException:
            upstream.busy -= 1
            upstream.circuit.abandoned()
            raise
        upstream.circuit.succeeded()
        return socket

    def _key(self, target: str, headers: Headers) -> bytes:
        """What is hashed of a request; empty where it has none of it."""
        if not self._hashed:
            return target.partition("?")[0].encode()
        return next((value for name, value in headers if name == self._hashed), b"")

    def _judge(self, upstream: Upstream, error: DestinationError) -> None:
        """What is the request's fault says nothing about the upstream."""
        if error.status < 500:
            upstream.circuit.abandoned()
        else:
            upstream.circuit.failed(self._now())
            self._upstreams.note(upstream, failed=True, now=self._now)

    def _settle(self, upstream: Upstream, status: int, ended: bool | None) -> None:
        self._gate.leave()
        upstream.busy -= 1
        if ended is not None:
            self._upstreams.note(upstream, failed=not ended or status >= 500, now=self._now)
        if ended is None:
            upstream.circuit.abandoned()
        elif ended and status not in FAILED_STATUSES:
            upstream.circuit.succeeded()
        else:
            upstream.circuit.failed(self._now())

    def _now(self) -> float:
        return self._clock.monotonic_ns() * NANO
