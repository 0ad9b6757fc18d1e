"""Held requests as reviewers see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.errors import ReviewError
from router.ports import NEVER, Change, Review
from router.review import deadlines, terms
from router.review.answering import SHOWN, is_masked, open_question
from router.review.approving import approvals, counted, missing_roles
from router.review.packing import open_answer, open_content
from router.review.people import People
from router.times import instant

Json = Mapping[str, Any]


def summary(review: Review) -> dict[str, Any]:
    """Nothing of it is personal but the roles of reviewers, which are policy's words."""
    held = review.held
    return {
        "id": held.decision_id,
        "state": review.state,
        "version": review.version,
        "created": instant(held.created_ns),
        "expires": instant(held.expires_ns),
        "intent": held.intent,
        "risk": held.risk,
        "route": held.route,
        "destination": held.destination,
        "tenant": held.tenant,
        "reasons": list(held.summary.get("reasons", ())),
        "reviewers": list(terms.reviewer_roles(held)),
        "each_of": list(terms.each_of(held)),
        "quorum": terms.quorum(held),
        "approvals": counted(review),
        "left_to_asker": terms.left_to_asker(held),
        "level": terms.level(held),
        "levels": list(terms.levels(held)),
        "round": terms.round_of(held),
        "claimed_until": _claimed(review),
        "respond_by": maybe_time(deadlines.next_response(review)),
        "escalates": maybe_time(deadlines.next_escalation(review)),
        "on_expiry": "allow" if terms.allowed_on_expiry(held) else "deny",
        "may_modify": list(terms.changeable(held)),
        "may_reroute": list(terms.other_routes(held)),
    }


async def whole(review: Review, people: People) -> dict[str, Any]:
    key, asking = await people.key(review.held.subject_key_id), await open_question(review, people)
    return {
        **summary(review),
        "content_digest": terms.covers(review.held),
        "policy": _policy(review),
        "missing_roles": list(missing_roles(review.held, await approvals(review, people))),
        "claimed_by": await _claimant(review, people),
        "question": None if asking is None else asking.text,
        "request": _request(review, key),
        "history": [await _step(change, people) for change in review.history],
        "reply": _reply(review, key),
    }


def _request(review: Review, key: bytes | None) -> Json:
    """`problem` says why there is nothing to see: `erased`, `removed` once it is of no more use, or `content_changed`."""
    if not review.held.sealed:
        return {"problem": "removed"}
    if key is None:
        return {"problem": "erased"}
    try:
        content = open_content(key, review.held)
    except ReviewError as error:
        return {"problem": error.code}
    outbound = content.outbound
    return {
        "subject": content.subject,
        "text": content.text,
        "method": outbound.method,
        "target": outbound.target,
        "actors": list(content.actors),
        "information": [
            {"time": instant(each.at_ns), "by": each.by, "question": each.question, "text": each.text, "masked": is_masked(each)}
            for each in content.information
        ],
    }


def _policy(review: Review) -> Json:
    """By which policies it was judged."""
    judged = review.held.summary.get(terms.JUDGED)
    return {"revision": judged["revision"], "digest": judged["bundle"]} if isinstance(judged, Mapping) else {"revision": "", "digest": ""}


async def _claimant(review: Review, people: People) -> str | None:
    claims = [change for change in review.history if change.event in deadlines.CLAIMS and change.entries]
    if not deadlines.claimant(review) or not claims:
        return None
    return (await people.opened(claims[-1].entries[0])).get("reviewer")


def _claimed(review: Review) -> str | None:
    return instant(deadlines.claimed_until(review.held, review.history)) if deadlines.claimant(review) else None


def maybe_time(at_ns: int | None) -> str | None:
    return None if at_ns is None or at_ns == NEVER else instant(at_ns)


async def _step(change: Change, people: People) -> Json:
    personal: Mapping[str, str] = await people.opened(change.entries[0]) if change.entries else {}
    return {
        "time": instant(change.at_ns),
        "event": change.event,
        "from": change.before,
        "to": change.after,
        "by": personal.get("reviewer"),
        "comment": personal.get(SHOWN) or personal.get("comment"),
        "recorded": change.recorded,
    }


def _reply(review: Review, key: bytes | None) -> Json | None:
    if not review.reply:
        return None
    if key is None:
        return {"problem": "erased"}
    try:
        answer = open_answer(key, review.reply, review.held.decision_id)
    except ReviewError as error:
        return {"problem": error.code}
    body = answer.body.decode("utf-8", "replace")
    return {"status": answer.status, "content_type": answer.content_type, "body": body, "whole": answer.whole}


def page(reviews: Sequence[tuple[int, Review]], limit: int) -> tuple[list[Json], str | None]:
    """(summaries, cursor of the next page)"""
    return [summary(review) for _, review in reviews], str(reviews[-1][0]) if len(reviews) == limit else None
