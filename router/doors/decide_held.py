"""Where a request stands that a service had held by the decide API, for that service: on its call and at `GET /v1/decide/{decision id}`,
both with `Prefer: wait=N` if it wants to wait. `POST` there answers what a reviewer asks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from router.decision import Subject
from router.doors.answering import is_no_page, key_of, media_of, question_of, text_of
from router.doors.body import Receive
from router.doors.decide_repeating import Decided
from router.doors.following import follows
from router.doors.held import AGAIN_S, IDENTIFIER, applied, awaited, preferred_wait, tag
from router.doors.own_space import missing
from router.doors.runtime import Runtime
from router.errors import LockgateError, RefusedError
from router.review.given import Given
from router.review.standing import Standing
from router.times import instant

log = logging.getLogger("lockgate.decide")
PLACE = "/v1/decide/"
Body = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Following:
    """`document` is None where nothing changed since what the caller knows."""

    document: bytes | None
    headers: dict[str, str]


async def held_too(
    runtime: Runtime, decided: Decided, caller: Subject, headers: Sequence[tuple[bytes, bytes]], receive: Receive | None
) -> Decided:
    """With `review`, where the decision's request is held. That it cannot be told takes nothing away from the decision."""
    document = orjson.loads(decided.document)
    if document["outcome"] is None or document["outcome"]["result"] != "held" or not follows(caller):
        return decided
    review_id = document["id"]
    try:
        found, waited = await _standing(runtime, caller, review_id, headers, receive)
    except LockgateError as error:
        log.error("where the held request %s stands cannot be told now: %s", review_id, error)
        return decided
    if found is None:
        return decided
    more = {"location": f"{PLACE}{review_id}", **({} if found.ended else {"retry-after": str(AGAIN_S)}), **waited}
    return replace(decided, document=orjson.dumps(document | {"review": _told(review_id, found)}), headers=more)


async def followed(
    runtime: Runtime, caller: Subject, review_id: str, headers: Sequence[tuple[bytes, bytes]], receive: Receive | None
) -> Following:
    """Raises RefusedError (404), ReviewError, AuditError."""
    if not IDENTIFIER.fullmatch(review_id) or not follows(caller):
        raise missing()
    known = next((value for name, value in headers if name == b"if-none-match"), b"")
    found, waited = await _standing(runtime, caller, review_id, headers, receive, known)
    if found is None:
        raise missing()
    own = {"etag": tag(found).decode(), **({} if found.ended else {"retry-after": str(AGAIN_S)}), **waited}
    same = known != b"" and known == tag(found)
    return Following(None if same else orjson.dumps(_told(review_id, found)), own)


async def answered(runtime: Runtime, caller: Subject, review_id: str, headers: Sequence[tuple[bytes, bytes]], body: Body) -> Following:
    """1 from no page   2 to a question, by its ETag   3 a text that is one   4 of one's own request   5 durable, on record. Raises
    RefusedError, ReviewError, AuditError."""
    if not is_no_page(headers := list(headers)):  # 1; no page is served here, and none may call
        raise RefusedError("Pages may not call here.", "cors_refused", 403)
    version, key, media = question_of(headers), key_of(headers), media_of(headers)  # 2
    text = text_of(await body(), media)  # 3
    if not IDENTIFIER.fullmatch(review_id) or not follows(caller) or runtime.waits is None or runtime.keys is None:
        raise missing()
    feed, (key_id, _) = runtime.waits.feed, await runtime.keys.key_for(caller.id)
    if await feed.standing(review_id, key_id, caller.tenant) is None:  # 4
        raise missing()
    new = await feed.answer(Given(review_id, caller, text, version, key))  # 5
    found = await feed.standing(review_id, key_id, caller.tenant)
    if found is None:
        raise missing()
    return Following(
        orjson.dumps(_told(review_id, found)), {"etag": tag(found).decode(), **({} if new else {"idempotent-replayed": "true"})}
    )


async def _standing(
    runtime: Runtime,
    caller: Subject,
    review_id: str,
    headers: Sequence[tuple[bytes, bytes]],
    receive: Receive | None,
    known: bytes = b"",
) -> tuple[Standing | None, dict[str, str]]:
    """With what is to be said of having waited."""
    waits, keys = runtime.waits, runtime.keys
    if waits is None or keys is None:
        return None, {}
    key_id, _ = await keys.key_for(caller.id)
    look = partial(waits.feed.standing, review_id, key_id, caller.tenant)
    seconds = preferred_wait(list(headers), runtime.options.held.wait_s)
    waiter = waits.begin(review_id) if seconds else None
    if waiter is None:
        return await look(), {}
    name, value = applied(seconds)
    with waiter:
        return await awaited(waiter, look, seconds, receive, beyond=known), {name.decode(): value.decode()}


def _told(review_id: str, standing: Standing) -> dict[str, Any]:
    asked = standing.question
    return {
        "id": review_id,
        "state": standing.state,
        "expires": instant(standing.expires_ns),
        "approvals": standing.approvals,
        "quorum": standing.quorum,
        "question": None
        if asked is None
        else {
            "number": asked.number,
            "text": asked.text,
            "answer_by": instant(min(asked.respond_ns, standing.expires_ns)) if asked.respond_ns else None,
            "answer_at": f"{PLACE}{review_id}",
            "if_match": tag(standing).decode(),
        },
    }
