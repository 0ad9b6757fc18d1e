"""What the caller of a held request hears of it: at once that it waits, and at `GET /.lockgate/reviews/{decision id}` how it ended.

`Prefer: wait=N` (RFC 7240 §4.3) has the answer wait for that end, for as long as the configuration lets it: on the request itself, and
on the GET, there also for whatever comes next after the ETag that `If-None-Match` names.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from router.decision import Subject
from router.doors.body import Receive
from router.doors.following import follows
from router.doors.forwarding import HOP_BY_HOP
from router.doors.own_space import PREFIX, Told, Visit, missing
from router.doors.responses import Send
from router.doors.runtime import Runtime
from router.ports import Headers
from router.problems import problem
from router.review.standing import DONE, RELEASED, Standing
from router.review.waiting import Waiter, Waits
from router.times import instant

SEGMENT = "reviews"
AGAIN_S = 5
MARK = (b"idempotent-replayed", b"true")
WAITING = {"type": "lockgate.waiting"}
"""Says to the gate that what follows may take long and costs next to nothing. It goes no further."""
NS = 1_000_000_000
IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}")
LONGEST_PREFER = 1024
# From a token on it always matches. With spaces before the token, each of many would be read to the last one, and from each anew.
PREFERENCE = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s;,"]*)))?[^,]*(?:,|$)')
_KEPT_BACK = HOP_BY_HOP | {b"content-length", b"date"}
Look = Callable[[], Awaitable[Standing | None]]


def place_of(decision_id: str) -> bytes:
    return f"{PREFIX}{SEGMENT}/{decision_id}".encode()


def held_headers(decision_id: str, subject: Subject) -> Headers:
    """Beside the 202: where the end is to be seen, and when it may be worth a look. None for callers whom nobody identified."""
    return [(b"location", place_of(decision_id)), (b"retry-after", b"%d" % AGAIN_S)] if follows(subject) else []


def preferred_wait(headers: Headers, most_s: float) -> float:
    """Seconds; 0 where the caller does not ask for it, or nobody may wait. What cannot be read, or is too long, is no preference (RFC
    7240 §2)."""
    for name, value in headers:
        if name.lower() != b"prefer" or len(value) > LONGEST_PREFER:
            continue
        for token, quoted, bare in PREFERENCE.findall(value.decode("latin-1")):
            seconds = quoted or bare
            if token.lower() == "wait" and seconds.isascii() and seconds.isdigit():
                return min(float(seconds[:9]), most_s)  # the first one counts
    return 0.0


def applied(seconds: float) -> tuple[bytes, bytes]:
    return b"preference-applied", b"wait=%d" % seconds


def tag(standing: Standing) -> bytes:
    return b'"%d"' % standing.version


async def awaited(waiter: Waiter, look: Look, seconds: float, receive: Receive | None, *, beyond: bytes = b"") -> Standing | None:
    """What it came to: its end, a question that was not there before or, with `beyond` as the tag of what is known, the next change; else
    what it is when the time is over. Raises ClientGone where the caller leaves."""
    first: Standing | None = None
    until = time.monotonic() + seconds
    gone = asyncio.ensure_future(_left(receive)) if receive is not None else None
    try:
        while True:
            found = await look()
            if found is None or found.ended or (beyond and tag(found) != beyond):
                return found
            if first is not None and found.question is not None and found.question != first.question:
                return found  # only its caller can answer
            first = first or found
            waiter.version = found.version
            changed = asyncio.ensure_future(waiter.changed(until))
            await asyncio.wait({changed, gone} if gone is not None else {changed}, return_when=asyncio.FIRST_COMPLETED)
            if not changed.done():
                changed.cancel()
                raise GoneError
            if not changed.result():
                return found
    finally:
        if gone is not None:
            gone.cancel()


async def _left(receive: Receive) -> None:
    """Returns when the caller is gone; what is left of his body until then is nothing."""
    while (await receive())["type"] != "http.disconnect":
        continue


class GoneError(Exception):
    """The caller left; there is nobody to answer."""


def told(standing: Standing, decision_id: str, keep_ns: int, now_ns: int) -> Told:
    """The answer for the one who asked."""
    own: Headers = [(b"x-lockgate-decision-id", decision_id.encode()), (b"x-lockgate-review", standing.state.encode())]
    if not standing.ended:
        return _json(202, _document(standing, decision_id), [*own, (b"etag", tag(standing)), (b"retry-after", b"%d" % AGAIN_S)])
    if standing.state == RELEASED:
        return _json(200, _document(standing, decision_id), [*own, (b"etag", tag(standing))])
    if standing.state != DONE:
        status, reason = standing.status or 409, standing.reason or f"review_{standing.state}"
        return _problem(status, f"The held request is {standing.state}; nothing more comes of it.", decision_id, own, code=reason)
    answer = standing.answer
    if answer is None or now_ns >= standing.ended_ns + keep_ns:
        detail = f"The request was sent and answered with {standing.status}; the answer is not kept any more."
        return _problem(410, detail, decision_id, own, code="answer_expired", answered=standing.status)
    if not answer.whole:
        detail = f"The request was sent and answered with {standing.status}; the answer was too long or broke off, and is not kept."
        return _problem(410, detail, decision_id, own, code="answer_not_kept", answered=standing.status)
    headers = [(name, value) for name, value in answer.headers if _passes(name)]
    if not any(name.lower() == b"content-type" for name, _ in headers) and answer.content_type:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    return Told({}, status=answer.status, headers=[*headers, *own], body=answer.body)


def replied(standing: Standing, decision_id: str, *, again: bool) -> Told:
    """To who answered a question. `again`: it had been said before, and counts once."""
    own: Headers = [(b"x-lockgate-decision-id", decision_id.encode()), (b"x-lockgate-review", standing.state.encode())]
    own += [(b"etag", tag(standing)), (b"location", place_of(decision_id))]
    return _json(200, _document(standing, decision_id), [*own, MARK] if again else own)


def _document(standing: Standing, decision_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {"decision_id": decision_id, "state": standing.state, "expires": instant(standing.expires_ns)}
    asked = standing.question
    if asked is not None:
        until = {"answer_by": instant(min(asked.respond_ns, standing.expires_ns))} if asked.respond_ns else {}
        where = {"answer_at": place_of(decision_id).decode(), "if_match": tag(standing).decode()}
        found["question"] = {"number": asked.number, "text": asked.text, **until, **where}
    return found


class ReviewReader:
    """`GET /.lockgate/reviews/{decision id}` of the gateway. Only looks."""

    def __init__(self, waits: Waits, now_ns: Callable[[], int]) -> None:
        self._waits = waits
        self._now_ns = now_ns

    async def read(self, runtime: Runtime, subject: Subject, name: str, visit: Visit) -> Told:
        """404 for who did not ask for it, and for what there never was."""
        keys, options = runtime.keys, runtime.options.held
        if not IDENTIFIER.fullmatch(name) or not follows(subject) or keys is None:
            raise missing()
        key_id, _ = await keys.key_for(subject.id)
        known = visit.field(b"if-none-match")
        seconds = preferred_wait(visit.headers, options.wait_s) if visit.receive is not None else 0.0
        look = lambda: self._waits.feed.standing(name, key_id, subject.tenant)  # noqa: E731  # asked again and again
        standing, waited = await self._found(name, look, seconds, known, visit)
        if standing is None:
            raise missing()
        if known and known == tag(standing) and not standing.ended:
            return Told({}, status=304, headers=[(b"etag", known), *waited], body=b"")
        found = told(standing, name, int(options.keep_s * NS), self._now_ns())
        return Told(found.document, found.wait_s, found.status, [*found.headers, *waited], found.body)

    async def _found(self, name: str, look: Look, seconds: float, known: bytes, visit: Visit) -> tuple[Standing | None, Headers]:
        """With what is to be said of having waited."""
        waiter = self._waits.begin(name) if seconds else None
        if waiter is None:
            return await look(), []
        with waiter:
            found = await look()
            if found is None or found.ended or (known and tag(found) != known):
                return found, [applied(seconds)]
            await visit.waits()
            return await awaited(waiter, look, seconds, visit.receive, beyond=known), [applied(seconds)]


def _json(status: int, document: Any, headers: Headers) -> Told:
    own: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return Told({}, status=status, headers=[*own, *headers], body=orjson.dumps(document))


def _problem(status: int, detail: str, decision_id: str, headers: Headers, *, code: str, **extra: Any) -> Told:
    own: Headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    body = problem(status, code, detail=detail, decision_id=decision_id, **extra)
    return Told({}, status=status, headers=[*own, *headers], body=body)


def _passes(name: bytes) -> bool:
    lower = name.lower()
    return lower not in _KEPT_BACK and not lower.startswith(b"x-lockgate-")


def waiting_passes(send: Send) -> Callable[[], Awaitable[None]]:
    """Tells whoever passes the answer on that it will take its time."""

    async def say() -> None:
        await send(WAITING)

    return say
