"""Requests that carry an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), on routes that keep answers.

Everything before is as with any request: who repeats is identified, limited and judged anew, and what is not allowed any more is not
answered from what was kept, nor with more of it than policy allows by now. Then: 1 is there a key   2 is it the first request with it
3 dispatch, or hold   4 keep the answer

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
from router.decision import Decision, Outcome, Request, Result, Subject
from router.dispatch import failure
from router.doors.forwarding import HOP_BY_HOP
from router.doors.relay import TOO_LARGE, Exchange, Relay
from router.doors.responses import Send
from router.doors.runtime import KeptAnswers
from router.errors import DestinationError, RefusedError, StateError
from router.obligations import response_limit
from router.ports import Headers, Repeats, Turn

log = logging.getLogger("lockgate.gateway")
REPLAYED = "idempotency_replayed"
MARK = (b"idempotent-replayed", b"true")
MISSING = "This route wants an Idempotency-Key, so that the request can be repeated safely."
MISSING_CALL = "The decide API wants an Idempotency-Key here, so that the call can be repeated safely."
LONGEST_KEY = 255
LONGEST_STEP_KEY = LONGEST_KEY + 8  # with the step's number behind it
UNFIT = f"One Idempotency-Key of 1 to {LONGEST_KEY} characters may come with a request."
UNKNOWN = "Whether this request was made before cannot be told now."
SECONDS_UNDER_WAY = 3600
"""A key stays claimed by who never says how it ended for as long as an answer would be kept, and for so long at least: longer than any
answer takes."""
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


def keeping(exchange: Exchange) -> KeptAnswers | None:
    """What the route wants of requests with a key; None where it keeps no answers."""
    route = exchange.decision.route
    return exchange.runtime.options.keeping.get(route.name) if route is not None else None


def refuse_unremembered(exchange: Exchange) -> None:
    """For a filter that is not shown answers: as where nobody can be asked about a key. Raises RefusedError."""
    settings = keeping(exchange)
    if settings is not None and _given(exchange.decision.request, settings) is not None and not settings.open:
        raise RefusedError(UNKNOWN, "idempotency_unavailable", 503)


def _given(request: Request, settings: KeptAnswers, longest: int = LONGEST_KEY) -> str | None:
    """Raises RefusedError (400)."""
    key = request.idempotency_key
    if key is None and settings.required:
        raise RefusedError(MISSING, "idempotency_key_missing", 400)
    if key is not None and not 1 <= len(key) <= longest:
        raise RefusedError(UNFIT, "idempotency_key_invalid", 400)
    return key


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

    def packed(self, outcome: Outcome | None) -> bytes | None:
        if not self.whole or self.long:
            return None
        # What it came to, where the caller waited for that, says so in a header field of ours.
        waits = outcome is not None and outcome.result is Result.HELD and all(name != b"x-lockgate-review" for name, _ in self.headers)
        return packed(self.status, self.headers, bytes(self.body), waits=waits)


def packed(status: int, headers: Headers, body: bytes, *, waits: bool = False) -> bytes:
    """An answer as it is kept. `waits`: it is ours, and says that the request is held."""
    kept = [(name, value) for name, value in headers if name.lower() not in _NOT_KEPT and name.lower() not in HOP_BY_HOP]
    fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in kept]
    answer = {"status": status, "headers": fields, "body": base64.b64encode(body).decode()}
    return orjson.dumps({**answer, "waits": True} if waits else answer)


def unpacked(answer: bytes, decision: Decision) -> tuple[int, Headers, bytes]:
    """Status, header fields and body for who repeats the request by that decision. Raises DestinationError where a service's answer is
    larger than policy allows by now."""
    kept = orjson.loads(answer)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]]
    body, limit = base64.b64decode(kept["body"]), response_limit(decision.verdict.obligations)
    if limit is not None and len(body) > limit and not kept.get("waits"):
        raise DestinationError(f"The answer is larger than the {limit} bytes that policy allows.", TOO_LARGE)
    return kept["status"], [*headers, (b"x-lockgate-decision-id", decision.id.encode()), MARK], body


def succeeded(answer: bytes) -> bool:
    """Whether a service did what it was asked, or will when a person says so."""
    return bool(orjson.loads(answer)["status"] < 400)


_NOT_KEPT = frozenset((b"x-lockgate-decision-id", b"set-cookie"))


@dataclass(slots=True)
class Claim:
    """The key of a first request, which is its until somebody says how it ended. Only what is said first counts."""

    repeats: Repeats
    key: str
    token: str
    settings: KeptAnswers
    ended: bool = False

    async def end(self, outcome: Outcome | None, answer: bytes | None) -> None:
        """`outcome`: None where it is not known; `answer`: see `packed`."""
        if outcome is not None and had_no_effect(outcome):
            await self.release()
            return
        complete = outcome is not None and outcome.result in (Result.ROUTED, Result.HELD)
        await self.spend(answer if complete else None)

    async def spend(self, answer: bytes | None) -> None:
        """It is not done again, whatever came of it."""
        await self._once(lambda: self.repeats.end(self.key, self.token, answer, self.settings.seconds))

    async def release(self) -> None:
        """Nothing of it reached an upstream."""
        await self._once(lambda: self.repeats.release(self.key, self.token))

    async def _once(self, say: Callable[[], Awaitable[None]]) -> None:
        if self.ended:
            return
        self.ended = True
        try:
            await say()
        except StateError as error:
            log.error("the answer of decision %s is not kept: %s", self.token, error)


async def claimed(exchange: Exchange, settings: KeptAnswers, longest: int = LONGEST_KEY) -> Claim | bytes | None:
    """The key that is this request's now; the answer that is kept for it; None where nobody remembers it. Raises RefusedError."""
    request, repeats, token = exchange.decision.request, exchange.runtime.repeats, exchange.decision.id
    given = _given(request, settings, longest)  # 1
    if given is None:
        return None
    key = own_key(request.subject, request.client, given)
    if repeats is None:
        log.error("it cannot be told whether a request was repeated: nobody remembers requests here")
        return _untold(settings, None)
    claim = Claim(repeats, key, token, settings)
    try:
        turn, answer = await repeats.begin(key, _fingerprint(request), token, max(SECONDS_UNDER_WAY, settings.seconds))  # 2
    except StateError as error:
        log.error("it cannot be told whether a request was repeated: %s", error)
        if not settings.open:  # who was asked may have heard it, and nothing of this request will follow
            await claim.release()
        return _untold(settings, claim)
    if turn is Turn.FIRST:
        return claim
    if turn is Turn.ANSWERED:
        return answer
    raise refusal(turn)


def _untold(settings: KeptAnswers, claim: Claim | None) -> Claim | None:
    """Where requests go on all the same, the key may be this one's, and how it ended is said. Raises RefusedError (503)."""
    if settings.open:
        return claim
    raise RefusedError(UNKNOWN, "idempotency_unavailable", 503)


class Repeating:
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def act(self, exchange: Exchange, settings: KeptAnswers, send: Send, acting: Callable[[Send], Awaitable[Outcome]]) -> None:
        """`acting` dispatches or holds, and says how it ended."""
        try:
            found = await claimed(exchange, settings)
        except RefusedError as error:
            outcome = Outcome(Result.DENIED, error.status, error.code, total_ns=self._relay.elapsed(exchange))
            await self._relay.fail(exchange, outcome, str(error), send)
            return
        if found is None:
            await acting(send)
        elif isinstance(found, Claim):
            await self._first(found, send, acting)
        else:
            await self._replay(exchange, found, send)

    async def _first(self, claim: Claim, send: Send, acting: Callable[[Send], Awaitable[Outcome]]) -> None:
        recorded, outcome = Recorded(send, claim.settings.most), None
        try:
            outcome = await acting(recorded)  # 3
        finally:
            await claim.end(outcome, recorded.packed(outcome))  # 4

    async def _replay(self, exchange: Exchange, answer: bytes, send: Send) -> None:
        try:
            status, headers, body = unpacked(answer, exchange.decision)
        except DestinationError as error:
            await self._relay.fail(exchange, failure(error, self._relay.elapsed(exchange)), str(error), send)
            return
        await self._relay.end(exchange, replayed(exchange, status, body, self._relay.elapsed(exchange)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def replayed(exchange: Exchange, status: int, body: bytes, total_ns: int) -> Outcome:
    result = Result.ROUTED if exchange.decision.outcome is None else Result.HELD
    return Outcome(result, status, REPLAYED, total_ns=total_ns, response_bytes=len(body))


def had_no_effect(outcome: Outcome) -> bool:
    """Nothing of it reached an upstream."""
    return outcome.result is Result.DENIED or (outcome.result is Result.FAILED and outcome.reason in _NEVER_SENT)


def own_key(subject: Subject, client: str, key: str) -> str:
    """Everybody has keys of his own, whatever stands in them: with a space in who calls or in his tenant, their lengths say where each
    ends. Without, these are names that nodes of other releases know as well, so that they tell each other's repetitions."""
    who, tenant = caller_key("subject", subject, client), subject.tenant or ""
    lengths = f" {len(who)} {len(tenant)} " if " " in who or " " in tenant else ""
    return f"{lengths}{who} {tenant} {key}"


def _fingerprint(request: Request) -> str:
    parts = (request.method, request.path, request.query, request.body.digest or "")
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
