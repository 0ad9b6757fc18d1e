"""An engine's step that asked, was told "held", and waits: it is told how the review ended, by the token that it gave.

The token is sealed under the key of the subject whose request it is, beside the held request, and is never part of a record. It lies with
the notices, which are durable, leased and tried again; but it rests until the review has ended:

    1 the token is durable        crash after it: nothing is held under it, and it is forgotten when its time is over
    2 the request is held
    3 the review ended            crash after it: what rests is looked at when Lockgate starts, and by other nodes now and then
    4 it is due, and told
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from router.errors import DestinationError, ReviewError
from router.ports import Destination, Headers, Held, Notice, Outbound, Review
from router.review.packing import Answer, open_value, seal_value
from router.review.people import People
from router.review.sending import received
from router.review.standing import DONE, RELEASED, Standings

RESUME = "resume"
FAR_NS = 1 << 62
NS = 1_000_000_000
KEPT_S = 7 * 86_400.0
MOST_FIELDS, MOST_CHARS = 8, 4096
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_VALUE = re.compile(r"[!-~]+")
Resuming = Mapping[str, str]
Leads = Callable[[str, bool], Destination | None]


def checked(told: Mapping[str, str]) -> Resuming:
    """What an engine gives to be resumed by. Raises ValueError with one sentence that has nothing of it."""
    if not 1 <= len(told) <= MOST_FIELDS:
        raise ValueError(f"'resume' has one to {MOST_FIELDS} values.")
    for name, value in told.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError("A name in 'resume' is of lower-case letters, digits and hyphens.")
        if len(value) > MOST_CHARS or _VALUE.fullmatch(value) is None:
            raise ValueError(f"A value in 'resume' is up to {MOST_CHARS} printable ASCII characters without spaces.")
    return told


def resting(held: Held, resume: Resuming, key: bytes, now_ns: int, patience_s: float) -> Notice:
    """What is kept of it until the review has ended. `patience_s`: for how long it is tried to be told then."""
    patience_ns = int(patience_s * NS)
    return Notice(
        id=notice_id(held.decision_id),
        review=held.decision_id,
        event=RESUME,
        notifier=f"{RESUME}:{held.route}",
        intent=held.intent or "",
        risk=held.risk,
        route=held.route,
        expires_ns=held.expires_ns,
        made_ns=now_ns,
        due_ns=FAR_NS,
        until_ns=now_ns + patience_ns,
        keep_ns=held.expires_ns + patience_ns + int(KEPT_S * NS),
        sealed=seal_value(key, dict(resume), _bound(held.decision_id)),
    )


def notice_id(review_id: str) -> str:
    return f"rsm_{review_id}"


class Resumer:
    """`leads` gives the destination of a route that is told that a request went ahead, or did not."""

    def __init__(self, standings: Standings, people: People, leads: Leads) -> None:
        self._standings = standings
        self._people = people
        self._leads = leads

    async def tell(self, notice: Notice, review: Review) -> None:
        """Returns once the engine has taken it. Raises DestinationError, `final` where another sending comes to the same, and ReviewError
        where the token cannot be opened."""
        key = await self._people.key(review.held.subject_key_id)
        if key is None:
            raise ReviewError("The key under which the token is sealed was destroyed.", "subject_erased")
        resume: Resuming = open_value(key, notice.sealed, _bound(notice.review))
        standing = await self._standings.whole(review)
        ahead = standing.state in (DONE, RELEASED)
        destination = self._leads(notice.route, ahead)
        if destination is None:
            raise DestinationError("The route has nothing any more that resumes engines.", "destination_unknown")
        told = {
            "decision_id": notice.review,
            "state": standing.state,
            "ahead": ahead,
            "status": standing.status or None,
            "reason": standing.reason or None,
            "answer": _answer(standing.answer),
        }
        answer = await received(await destination.send(_outbound(notice, resume, orjson.dumps(told))))
        if not 200 <= answer.status < 300:
            raise _refused(answer.status)


def _outbound(notice: Notice, resume: Resuming, body: bytes) -> Outbound:
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"x-lockgate-decision-id", notice.review.encode()),
        (b"x-lockgate-route", notice.route.encode()),
        (b"x-lockgate-risk", notice.risk.encode()),
        (b"idempotency-key", notice.id.encode()),
        *((f"resume-{name}".encode(), value.encode()) for name, value in resume.items()),
    ]
    return Outbound("POST", "/", headers, body, idempotent=True, idempotency_key=notice.id)


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    """What the upstream said, where it was kept whole and is text."""
    if answer is None or not answer.whole:
        return None
    try:
        text = answer.body.decode()
        is_json = answer.content_type.partition(";")[0].strip().lower().endswith(("/json", "+json"))
        return {"status": answer.status, "content_type": answer.content_type, "body": orjson.loads(text) if is_json else text}
    except ValueError:
        return {"status": answer.status, "content_type": answer.content_type, "body": None}


def _refused(status: int) -> DestinationError:
    error = DestinationError(f"the engine answered {status}", "upstream_refused" if status < 500 else "upstream_unavailable", sent=True)
    error.final = status < 500 and status not in (408, 425, 429)
    return error


def _bound(review_id: str) -> bytes:
    return f"lockgate.resume.v1\x00{review_id}".encode()
