"""What a form of these pages sends, and how its answer is told after the redirect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request

from router.errors import RefusedError
from router.review.opinions import MISROUTED

URLENCODED = "application/x-www-form-urlencoded"
MOST_FIELDS, MOST_COMMENT = 20, 2000
UNTAUGHT = ("feedback_intent_unknown", "learning_off")
"""Of what a reviewer says of the classification: refused before anything happened."""
# The address says which, never what: a sentence out of an address could be anybody's.
DONE: Mapping[str, str] = {
    "approved": "Your approval is on record.",
    "rejected": "Rejected, for good.",
    "claim": "It is yours for as long as the claim lasts.",
    "release": "Given back.",
    "ask": "Asked; it waits for an answer.",
    "escalate": "Escalated: only the next level decides now.",
    "modify": "Approved with your changes; earlier approvals do not count.",
    "reroute": "Approved for that route; earlier approvals do not count.",
    "labelled": "Your label is on record.",
    "label_skipped": "It is left to others.",
    "said": "Your opinion is on record.",
    "retried": "It is sent again, for as long as it was tried at first.",
    "dropped": "Dropped, for good; its outcome stays on record as failed.",
    "rollout_approved": "Approved: the first step runs.",
    "rollout_rejected": "Rejected.",
    "rollout_withdrawn": "Withdrawn.",
    "rollout_advanced": "On to the next step.",
    "rollout_rolled_back": "Rolled back: the candidate decides nothing any more.",
    "went_back": "That version is in force now.",
    "proposal_adopted": "It is your proposal now; somebody else has to approve it.",
    "proposal_worded": "A language model drafted words; see below.",
    "proposal_edited": "It has these words now, and has to be measured again.",
    "proposal_evaluated": "Measured; see below.",
    "proposal_approved": "Your approval is on record.",
    "proposal_rejected": "Rejected; its texts are removed.",
    "proposal_rolled_out": "It is in force.",
    "proposal_reverted": "What was in force before is so again.",
    "node_drained": "Draining: this node takes up nothing new. That is on record.",
    "node_resumed": "It serves again. That is on record.",
    "session_ended": "Ended: whoever has it is refused with the next request.",
    "sessions_ended": "All others are ended.",
    "key_revoked": "Revoked, for good; every worker notices within a second or so.",
}


async def posted(request: Request, most: int = MOST_FIELDS) -> Mapping[str, str]:
    """Its fields. Raises RefusedError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != URLENCODED:
        raise RefusedError("This takes the form of its page.", "request_invalid", 422)
    try:
        return dict(parse_qsl((await request.body()).decode("ascii"), keep_blank_values=True, max_num_fields=most, errors="strict"))
    except ValueError:
        raise RefusedError("The form cannot be read.", "request_invalid", 422) from None


def comment_of(fields: Mapping[str, str]) -> str:
    comment = fields.get("comment", "").replace("\r\n", "\n").strip()
    if len(comment) > MOST_COMMENT:
        raise RefusedError(f"A comment can have at most {MOST_COMMENT} characters.", "request_invalid", 422)
    return comment


def misrouted_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """What a reviewer says of the classification besides."""
    return {"intent": fields.get("intent", "").strip() or None, "reason": MISROUTED if fields.get("misrouted") else ""}


def version_of(fields: Mapping[str, str]) -> int | None:
    """Of a request as the page showed it; what happened meanwhile is a conflict."""
    told = fields.get("version", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else None


def done(request: Request) -> str:
    return DONE.get(request.query_params.get("done", ""), "")
