"""What a service does with Lockgate, step by step, whatever makes the calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from lockgate.client.asking import Question
from lockgate.client.calls import Answer, Call, Failure, Flow, Patience, Pause, Trouble, calling
from lockgate.client.errors import (
    AnswerRefused,
    CredentialRefused,
    DecisionUnavailable,
    EvidenceRefused,
    EvidenceUnavailable,
    NoDecision,
    RateLimited,
    RequestRefused,
    ReviewEnded,
    ReviewPending,
    ReviewUnavailable,
)
from lockgate.client.evidence import BATCH, Event, Receipt, batch, receipts
from lockgate.client.reading import MalformedError, read_decision, read_own_review, read_question, read_review
from lockgate.client.values import Decision, Review, ReviewQuestion

REFUSED = {400: RequestRefused, 413: RequestRefused, 422: RequestRefused, 401: CredentialRefused, 403: CredentialRefused, 429: RateLimited}

LONGEST_WAIT_S = 300
"""What is asked of the server at once; it may wait for less."""


@dataclass(frozen=True, slots=True)
class Places:
    """`decide` is the URL of the decide listener, `control` that of the control listener, `gateway` that of the gateway, where they are
    known."""

    decide: str
    control: str | None = None
    gateway: str | None = None


def deciding(places: Places, question: Question, patience: Patience) -> Flow[Decision]:
    """Raises NoDecision. A decision that lets nothing be done is a value; `Decision.enforce` raises."""
    call = Call("POST", f"{places.decide}/v1/decide", question.json(), repeatable=question.repeatable)
    came = yield from calling(call, patience)
    if isinstance(came, Failure):
        kind = CredentialRefused if came.trouble is Trouble.CREDENTIAL else DecisionUnavailable
        raise kind(f"Lockgate gave no decision: {came.why}.", came.trouble.value)
    if came.status != 200:
        raise _no_decision(came)
    try:
        return read_decision(came.body)
    except MalformedError as error:
        raise DecisionUnavailable(f"Lockgate's answer is no decision: {error}.", "malformed", came.status) from error


def reporting(places: Places, events: Sequence[Event], patience: Patience) -> Flow[tuple[Receipt, ...]]:
    """Durable when it returns. Raises EvidenceRefused, EvidenceUnavailable."""
    if places.control is None:
        raise EvidenceUnavailable("This client was given no `control_url`, where evidence is sent to.", "control_unknown")
    call = Call("POST", f"{places.control}/v1/evidence", batch(events), BATCH, repeatable=True, control=True)
    came = yield from calling(call, patience)
    if isinstance(came, Failure):
        raise EvidenceUnavailable(f"Whether the evidence is recorded is not known: {came.why}.", came.trouble.value)
    code, detail = came.problem if came.status != 201 else (None, "")
    if came.status in (400, 409, 413, 415, 422):  # another key helps against 401 and 403, and then it can be sent
        raise EvidenceRefused(detail or f"Lockgate refuses the evidence with status {came.status}.", code)
    if came.status != 201:
        raise EvidenceUnavailable(detail or f"Lockgate answered evidence with status {came.status}.", code)
    try:
        return receipts(came.body, events)
    except MalformedError as error:
        raise EvidenceUnavailable(f"Lockgate's answer is no receipt: {error}.", "malformed") from error


def looking(places: Places, decision_id: str, patience: Patience, wait: float = 0) -> Flow[Review]:
    """Where decisions are asked for, with the same key, and there for up to `wait` seconds; where a `control_url` was given there, at once.
    Raises ReviewUnavailable."""
    name = quote(decision_id, safe="")
    if places.control is not None:
        call = Call("GET", f"{places.control}/v1/reviews/{name}/state", repeatable=True, control=True)
    else:
        call = Call("GET", f"{places.decide}/v1/decide/{name}", repeatable=True, wait=max(0, min(int(wait), LONGEST_WAIT_S)))
    came = yield from calling(call, patience)
    if isinstance(came, Failure):
        passes = came.trouble is not Trouble.CREDENTIAL
        raise ReviewUnavailable(f"Where the held request stands is not known: {came.why}.", came.trouble.value, passes=passes)
    if came.status != 200:
        raise _untold(came)
    try:
        return read_review(came.body)
    except MalformedError as error:
        raise ReviewUnavailable(f"Lockgate's answer is no state: {error}.", "malformed") from error


def questioning(places: Places, decision_id: str, patience: Patience) -> Flow[ReviewQuestion | None]:
    """Where the caller of the gateway sees how its request stands, or the service that had it held. Raises ReviewUnavailable."""
    came = yield from calling(Call("GET", _own(places, decision_id), repeatable=True, gateway=places.gateway is not None), patience)
    if isinstance(came, Failure):
        passes = came.trouble is not Trouble.CREDENTIAL
        raise ReviewUnavailable(f"Whether something is asked is not known: {came.why}.", came.trouble.value, passes=passes)
    if not (came.review if places.gateway is not None else came.status == 200):
        raise _untold(came)
    try:
        return read_question(came.body) if places.gateway is None or came.review == "more_information" else None
    except MalformedError as error:
        raise ReviewUnavailable(f"Lockgate's answer is no question: {error}.", "malformed") from error


def answering(places: Places, decision_id: str, text: str, question: ReviewQuestion, key: str | None, patience: Patience) -> Flow[Review]:
    """To that very question, so that it may be said again. Raises AnswerRefused, ReviewUnavailable."""
    fields = {"if-match": question.tag, **({"idempotency-key": key} if key is not None else {})}
    body = json.dumps({"text": text}).encode()
    at, by_caller = _own(places, decision_id), places.gateway is not None
    came = yield from calling(Call("POST", at, body, repeatable=True, gateway=by_caller, fields=fields), patience)
    if isinstance(came, Failure):
        passes = came.trouble is not Trouble.CREDENTIAL
        raise ReviewUnavailable(f"Whether the answer was taken is not known: {came.why}.", came.trouble.value, passes=passes)
    if came.status in (400, 409, 413, 422):
        code, detail = came.problem
        raise AnswerRefused(detail or f"Lockgate refuses the answer with status {came.status}.", code)
    if came.status != 200:
        raise _untold(came)
    try:
        return read_own_review(came.body) if by_caller else read_review(came.body)
    except MalformedError as error:
        raise ReviewUnavailable(f"Lockgate's answer is no state: {error}.", "malformed") from error


def _own(places: Places, decision_id: str) -> str:
    """Of who calls through the gateway; else of the service that asked for the decision."""
    name = quote(decision_id, safe="")
    return f"{places.decide}/v1/decide/{name}" if places.gateway is None else f"{places.gateway}/.lockgate/reviews/{name}"


def _untold(came: Answer) -> ReviewUnavailable:
    code, detail = came.problem
    return ReviewUnavailable(
        detail or f"Lockgate answered with status {came.status}.", code, passes=came.status >= 500 or came.status == 429
    )


def waiting(places: Places, decision_id: str, patience: Patience, seconds: float, every: float) -> Flow[Review]:
    """Ends when it is released; `every`: seconds between two looks where the server does not wait. A server that is away meanwhile is asked
    again until the time is over. Raises ReviewEnded, ReviewPending, ReviewUnavailable."""
    deadline = patience.now() + seconds
    while True:
        away, review, asked = None, None, patience.now()
        try:
            review = yield from looking(places, decision_id, patience, deadline - asked)
        except ReviewUnavailable as error:
            if not error.passes:
                raise
            away = error
        if review is not None and review.released:
            return review
        if review is not None and not review.waiting:
            raise ReviewEnded(review)
        left = deadline - patience.now()
        if left <= 0:
            raise away if away is not None else ReviewPending(review or Review(decision_id, "pending"))
        if (pause := min(every - (patience.now() - asked), left)) > 0:  # what the server waited for need not be waited for again
            yield Pause(pause)


def _no_decision(came: Answer) -> NoDecision:
    code, detail = came.problem
    kind = REFUSED.get(came.status, DecisionUnavailable)
    if kind is DecisionUnavailable:
        code = code or "server_error"
    return kind(detail or f"Lockgate answered with status {came.status}.", code, came.status, came.retry_after)
