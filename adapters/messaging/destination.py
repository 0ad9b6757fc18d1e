"""A destination over a peer that takes messages: bounded in time, number and size, tried again where that is safe, and behind a circuit."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import orjson

from adapters.http_upstream.circuit import Circuit
from adapters.messaging.config import MessagingConfig
from adapters.messaging.document import JSON
from adapters.messaging.message import Message, message
from router.errors import DestinationError
from router.ports import Clock, Headers, Marks, Outbound, Random, Socket, Tallies
from router.quick import quickly_made

NANO = 1e-9
PASSING = frozenset(
    {"connect_failed", "connect_timeout", "upstream_reset", "upstream_unavailable", "upstream_timeout", "upstream_throttled"}
)
"""Failures after which another sending may do better."""

STATUS = {
    "connect_failed": 502,
    "connect_timeout": 504,
    "upstream_timeout": 504,
    "upstream_reset": 502,
    "upstream_unavailable": 503,
    "upstream_throttled": 503,
    "upstream_protocol": 502,
    "upstream_refused": 502,  # the peer understood, and says no: another sending gets the same answer
    "work_failed": 502,  # it was done, and ended badly: another sending gets the same answer
    "upstream_denied": 502,  # our credential does not suffice there
    "tls_failed": 502,
    "circuit_open": 503,
    "concurrency_exceeded": 503,
    "destination_closed": 503,
    "input_unmapped": 422,
    "body_too_large": 413,
    "endpoint_refused": 422,  # what the request makes of a URL leads where none may
    "endpoint_address_refused": 502,
    "endpoint_gone": 502,
    "answer_refused": 502,  # the peer's answer breaks a rule of the destination
    "token_budget_spent": 429,
    "token_budget_unavailable": 503,
    "websocket_unsupported": 502,
}


FINAL = frozenset({"upstream_refused", "work_failed", "input_unmapped", "body_too_large", "endpoint_refused", "endpoint_gone"})


def failure(code: str, sentence: str, *, sent: bool = False, wait: float | None = None) -> DestinationError:
    """`sent`: the message may have arrived. `wait`: seconds that the peer asked for."""
    made = DestinationError(sentence, code, STATUS[code], sent=sent)
    made.wait, made.final = wait, code in FINAL
    return made


@quickly_made
@dataclass(frozen=True, slots=True)
class Receipt:
    """What the peer said. 202: it has the message; 200: it has done what it was asked, and `content` is its answer. `place`: where the
    message went, without secrets, for the record. `work`: by which the peer's `Follower` finds again what was set in motion, if that is
    anything."""

    place: str
    content: bytes
    content_type: str = JSON
    status: int = 202
    work: str = ""


def receipt(place: str, details: Mapping[str, Any], status: int = 202, work: str = "") -> Receipt:
    return Receipt(place, orjson.dumps(dict(details)), JSON, status, work)


class Peer(Protocol):
    """One kind's client. It translates its library's errors by `failure`, and need not bound its own time: it is cancelled when time is up,
    which counts as `sent`."""

    repeatable: bool
    """Whether the peer acts once on messages with the same id, so that any of them may be sent again."""

    async def open(self) -> None:
        """Raises ConfigError for settings that cannot work. A peer that does not answer is no reason to raise: it may come back."""

    async def close(self) -> None:
        """Also after a failed `open`; twice is harmless."""

    async def ping(self) -> None:
        """Raises DestinationError when a message could not be sent now."""

    async def deliver(self, message: Message) -> Receipt:
        """Returns when the peer has acknowledged the message, durably where it can. Raises DestinationError."""


@runtime_checkable
class Sharing(Protocol):
    """A peer that counts, or finds something out, together with those of other nodes."""

    def share(self, tallies: Tallies | None, endpoints: Marks | None) -> None: ...


class Acknowledged:
    """A receipt as a reply."""

    __slots__ = ("_content", "attempts", "headers", "status", "upstream", "work")

    def __init__(self, receipt: Receipt, attempts: int) -> None:
        self.status = receipt.status
        self.headers: Headers = [
            (b"content-type", receipt.content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(receipt.content)),
        ]
        self.upstream = receipt.place
        self.work = receipt.work
        self.attempts = attempts
        self._content = receipt.content

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._content:
            yield self._content

    async def close(self) -> None:
        return None


class MessageDestination:
    """Implements `router.ports.Destination`."""

    def __init__(self, name: str, settings: MessagingConfig, peer: Peer, clock: Clock, random: Random) -> None:
        self.name = name
        self._settings = settings
        self._timeout = settings.timeout
        self._peer = peer
        self._clock = clock
        self._random = random
        self._circuit = Circuit(settings.circuit.failures, settings.circuit.open)
        self._busy = _Busy()

    def __repr__(self) -> str:
        return f"MessageDestination({self.name}, under_way={self._busy.count})"

    def with_timeouts(self, *, connect: float | None = None, idle: float | None = None, total: float | None = None) -> MessageDestination:
        """The same destination with another time-out in all, seconds; the other two mean nothing here."""
        view = copy.copy(self)
        view._timeout = total if total is not None else self._timeout
        return view

    def share(self, tallies: Tallies | None, endpoints: Marks | None) -> None:
        """What nodes share, for a peer that has a use for it; None where each keeps for itself."""
        if isinstance(self._peer, Sharing):
            self._peer.share(tallies, endpoints)

    async def open(self) -> None:
        await self._peer.open()
        self._busy.open = True

    async def close(self) -> None:
        self._busy.open = False
        await self._peer.close()

    async def ping(self) -> None:
        self._check()
        await self._peer.ping()

    async def send(self, outbound: Outbound) -> Acknowledged:
        self._check()
        if self._busy.count >= self._settings.concurrency:
            raise failure("concurrency_exceeded", f"{self.name} already has {self._settings.concurrency} requests under way")
        self._busy.count += 1
        try:
            made = message(outbound, await self._whole(outbound), self._settings.input, self._timeout)
            return await self._sent(made, repeatable=outbound.idempotent or self._peer.repeatable)
        finally:
            self._busy.count -= 1

    async def connect(self, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        raise failure("websocket_unsupported", f"{self.name} takes no WebSockets")

    async def _sent(self, made: Message, *, repeatable: bool) -> Acknowledged:
        until = self._now() + self._timeout
        attempt = 1
        reached: DestinationError | None = None
        while True:
            if not self._circuit.allows(self._now()):
                raise _told(failure("circuit_open", f"{self.name} failed too often just now"), reached, attempt - 1)
            self._circuit.enter()
            try:
                answer = await self._delivered(made)
            except DestinationError as error:
                wait = self._after(error, attempt, until, repeatable=repeatable)
                if wait is None:
                    told = _told(error, reached, attempt)
                    if told is not error:
                        raise told from error
                    raise
                reached = error if error.sent else reached
            except BaseException:
                self._circuit.abandoned()
                raise
            else:
                self._circuit.succeeded()
                return Acknowledged(answer, attempt)
            await asyncio.sleep(wait)
            attempt += 1
            made = replace(made, repeated=True, within=max(0.0, until - self._now()))

    async def _delivered(self, made: Message) -> Receipt:
        try:
            async with asyncio.timeout(made.within):
                return await self._peer.deliver(made)
        except TimeoutError:
            raise failure("upstream_timeout", f"{self.name} did not answer within {self._timeout:g} s", sent=True) from None

    def _after(self, error: DestinationError, attempt: int, until: float, *, repeatable: bool) -> float | None:
        """Seconds until the next sending; None when the error is the answer."""
        if error.status < 500:
            self._circuit.abandoned()
        elif error.code in PASSING:
            self._circuit.failed(self._now())
        else:
            self._circuit.succeeded()  # it answered
        retries = self._settings.retries
        if error.code not in PASSING or attempt >= retries.attempts or (error.sent and not repeatable):
            return None
        wait: float = min(retries.max_backoff, retries.backoff * 2 ** (attempt - 1)) * self._random.random()  # full jitter
        wait = max(wait, error.wait or 0.0)
        return wait if self._now() + wait < until else None

    async def _whole(self, outbound: Outbound) -> bytes:
        if isinstance(outbound.body, bytes):
            pieces, size = [outbound.body], len(outbound.body)
        else:
            pieces, size = [], 0
            async for piece in outbound.body:
                pieces.append(piece)
                size += len(piece)
                if size > self._settings.most:
                    break
        if size > self._settings.most:
            raise failure("body_too_large", f"{self.name} takes bodies of at most {self._settings.most} bytes")
        return b"".join(pieces)

    def _check(self) -> None:
        if not self._busy.open:
            raise failure("destination_closed", f"{self.name} is not open")

    def _now(self) -> float:
        return self._clock.monotonic_ns() * NANO


def _told(error: DestinationError, reached: DestinationError | None, attempts: int) -> DestinationError:
    """How an earlier sending failed that may have arrived, where the last one certainly did not: whoever takes that for a request that
    reached nobody would do it again."""
    told = reached if reached is not None and not error.sent else error
    told.attempts = max(1, attempts)
    return told


class _Busy:
    """Shared by all views of a destination."""

    __slots__ = ("count", "open")

    def __init__(self) -> None:
        self.count = 0
        self.open = False
