"""Held requests as reviewers see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from router.errors import ReviewError
from router.ports import Change, Review
from router.review.packing import open_answer, open_content
from router.review.people import People
from router.review.state import approvers, left_to_asker, quorum, reviewer_roles

Json = Mapping[str, Any]
NS = 1_000_000_000


def summary(review: Review) -> dict[str, Any]:
    """Nothing of it is personal but the roles of reviewers, which are policy's words."""
    held = review.held
    return {
        "id": held.decision_id,
        "state": review.state,
        "created": _time(held.created_ns),
        "expires": _time(held.expires_ns),
        "intent": held.intent,
        "risk": held.risk,
        "route": held.route,
        "destination": held.destination,
        "tenant": held.tenant,
        "reasons": list(held.summary.get("reasons", ())),
        "reviewers": list(reviewer_roles(held)),
        "quorum": quorum(held),
        "approvals": len(approvers(review)),
        "left_to_asker": left_to_asker(held),
    }


async def whole(review: Review, people: People) -> dict[str, Any]:
    key = await people.key(review.held.subject_key_id)
    return {
        **summary(review),
        "content_digest": review.held.content_digest,
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
    return {"subject": content.subject, "text": content.text, "method": outbound.method, "target": outbound.target}


async def _step(change: Change, people: People) -> Json:
    personal: Mapping[str, str] = await people.opened(change.entries[0]) if change.entries else {}
    return {
        "time": _time(change.at_ns),
        "event": change.event,
        "from": change.before,
        "to": change.after,
        "by": personal.get("reviewer"),
        "comment": personal.get("comment"),
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


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS, UTC).isoformat().replace("+00:00", "Z")
