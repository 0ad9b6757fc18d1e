"""Requests that carry an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), on routes that keep answers.

Everything before is as with any request: who repeats is identified, limited and judged anew, and what is not allowed any more is not
answered from what was kept. Then: 1 is there a key   2 is it the first request with it   3 dispatch, or hold   4 keep the answer

A crash between 3 and 4 leaves the key claimed until its time is up; the request may have had its effect, so nobody else may repeat it.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from router.caller import caller_key
from router.decision import Outcome, Request, Result, Subject
from router.doors.forwarding import HOP_BY_HOP
from router.doors.relay import Exchange, Relay
from router.doors.responses import Send
from router.doors.runtime import KeptAnswers
from router.errors import RefusedError, StateError
from router.ports import Headers, Repeats, Turn

log = logging.getLogger("lockgate.gateway")
REPLAYED = "idempotency_replayed"
MARK = (b"idempotent-replayed", b"true")
MISSING = "This route wants an Idempotency-Key, so that the request can be repeated safely."
MISSING_CALL = "The decide API wants an Idempotency-Key here, so that the call can be repeated safely."
UNKNOWN = "Whether this request was made before cannot be told now."
SECONDS_UNDER_WAY = 3600
"""How long a key stays claimed by who never says how it ended; longer than any answer takes."""
_NEVER_SENT = frozenset(
    (
        "connect_failed",
        "connect_timeout",
        "tls_failed",
        "circuit_open",
        "no_healthy_upstream",
        "concurrency_exceeded",
        "destination_closed",
        "request_unsendable",
    )
)


def refusal(turn: Turn) -> RefusedError:
    """What who is neither the first nor can be answered hears."""
    if turn is Turn.UNDER_WAY:
        return RefusedError("The first request with this Idempotency-Key is still under way.", "idempotency_under_way", 409)
    if turn is Turn.OTHER:
        return RefusedError("This Idempotency-Key was used for another request.", "idempotency_key_reused", 422)
    detail = "The first request with this Idempotency-Key has ended, and its answer was not kept."
    return RefusedError(detail, "idempotency_unanswered", 409)


def refuse_unremembered(exchange: Exchange) -> None:
    """For a door that remembers no keys: as where nobody can be asked about one. Raises RefusedError."""
    route = exchange.decision.route
    settings = exchange.runtime.options.keeping.get(route.name) if route is not None else None
    if settings is None:
        return
    if exchange.decision.request.idempotency_key is None:
        if settings.required:
            raise RefusedError(MISSING, "idempotency_key_missing", 400)
    elif not settings.open:
        raise RefusedError(UNKNOWN, "idempotency_unavailable", 503)


@dataclass(slots=True)
class Recorded:
    """An answer on its way to the caller; `whole` is False for one that is too long to be kept or was not finished."""

    send: Send
    most: int
    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    long: bool = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            self.long = self.long or len(self.body) + len(message.get("body", b"")) > self.most
            if not self.long:
                self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)
        await self.send(message)

    def packed(self) -> bytes | None:
        if not self.whole or self.long:
            return None
        kept = [(name, value) for name, value in self.headers if name.lower() not in _NOT_KEPT and name.lower() not in HOP_BY_HOP]
        fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in kept]
        return orjson.dumps({"status": self.status, "headers": fields, "body": base64.b64encode(bytes(self.body)).decode()})


_NOT_KEPT = frozenset((b"x-lockgate-decision-id", b"set-cookie"))


class Repeating:
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def act(self, exchange: Exchange, settings: KeptAnswers, send: Send, acting: Callable[[Send], Awaitable[Outcome]]) -> None:
        """`acting` dispatches or holds, and says how it ended."""
        request, repeats = exchange.decision.request, exchange.runtime.repeats
        if request.idempotency_key is None:  # 1
            if settings.required:
                await self._refuse(exchange, "idempotency_key_missing", 400, MISSING, send)
            else:
                await acting(send)
            return
        key, token = _key(request), exchange.decision.id
        try:
            if repeats is None:
                raise StateError("nobody remembers requests here", "idempotency_unavailable")
            turn, answer = await repeats.begin(key, _fingerprint(request), token, SECONDS_UNDER_WAY)  # 2
        except StateError as error:
            log.error("it cannot be told whether a request was repeated: %s", error)
            if settings.open:
                await acting(send)
            else:
                await self._refuse(exchange, "idempotency_unavailable", 503, UNKNOWN, send)
            return
        if turn is Turn.FIRST:
            await self._first(exchange, settings, send, acting, repeats)
        elif turn is Turn.ANSWERED:
            await self._replay(exchange, answer, send)
        else:
            refused = refusal(turn)
            await self._refuse(exchange, refused.code, refused.status, str(refused), send)

    async def _first(
        self, exchange: Exchange, settings: KeptAnswers, send: Send, acting: Callable[[Send], Awaitable[Outcome]], repeats: Repeats
    ) -> None:
        key, token = _key(exchange.decision.request), exchange.decision.id
        recorded, outcome = Recorded(send, settings.most), None
        try:
            outcome = await acting(recorded)  # 3
        finally:
            try:  # 4
                if outcome is not None and _had_no_effect(outcome):
                    await repeats.release(key, token)
                else:
                    complete = outcome is not None and outcome.result in (Result.ROUTED, Result.HELD)
                    await repeats.end(key, token, recorded.packed() if complete else None, settings.seconds)
            except StateError as error:
                log.error("the answer of decision %s is not kept: %s", token, error)

    async def _replay(self, exchange: Exchange, answer: bytes, send: Send) -> None:
        kept = orjson.loads(answer)
        body = base64.b64decode(kept["body"])
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]]
        headers += [(b"x-lockgate-decision-id", exchange.decision.id.encode()), MARK]
        result = Result.ROUTED if exchange.decision.outcome is None else Result.HELD
        outcome = Outcome(result, kept["status"], REPLAYED, total_ns=self._relay.elapsed(exchange), response_bytes=len(body))
        await self._relay.end(exchange, outcome)
        await send({"type": "http.response.start", "status": kept["status"], "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _refuse(self, exchange: Exchange, code: str, status: int, detail: str, send: Send) -> None:
        await self._relay.fail(exchange, Outcome(Result.DENIED, status, code, total_ns=self._relay.elapsed(exchange)), detail, send)


def _had_no_effect(outcome: Outcome) -> bool:
    """Nothing of it reached an upstream."""
    return outcome.result is Result.DENIED or (outcome.result is Result.FAILED and outcome.reason in _NEVER_SENT)


def _key(request: Request) -> str:
    return own_key(request.subject, request.client, request.idempotency_key or "")


def own_key(subject: Subject, client: str, key: str) -> str:
    """Everybody has keys of his own."""
    return f"{caller_key('subject', subject, client)} {subject.tenant or ''} {key}"


def _fingerprint(request: Request) -> str:
    parts = (request.method, request.path, request.query, request.body.digest or "")
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
