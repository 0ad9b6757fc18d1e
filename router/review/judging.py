"""What policy is asked about a held request: whether somebody may do what they try, and how the request would be judged now.

Whatever is no answer is a denial: an entry point that is not there, an error, a late or malformed result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from router.decision import Effect, Verdict
from router.errors import ReviewError
from router.ports import Held, Outbound
from router.review import deadlines, terms
from router.review.attempts import Attempt
from router.review.packing import Content

VERSION = 1
ENTRY = "review"
UNANSWERED = "policy_"  # codes of ours, for what is no verdict


@dataclass(frozen=True, slots=True)
class Again:
    """A held request as it would be judged now. `held` has the terms that follow from it and no seal yet; `content` what would be sent.
    `same`: as it was, so that these are those that were given."""

    verdict: Verdict
    held: Held
    content: Content
    same: bool = False

    @property
    def denied(self) -> bool:
        return self.verdict.effect is Effect.DENY

    def settled(self) -> Again:
        """Raises ReviewError `review_unjudged` where policy gave no verdict, which is no reason to give anything up."""
        reason = self.verdict.reasons[0].code if self.denied and self.verdict.reasons else ""
        if reason.startswith(UNANSWERED):
            raise ReviewError(f"Policy could not say how the request would be judged now ({reason}).", "review_unjudged")
        return self


class Judging(Protocol):
    async def attempt(self, document: Mapping[str, Any]) -> Verdict:
        """Of `data.lockgate.review`. Never raises: whatever is no verdict is a denial with its reason's code."""

    async def again(self, held: Held, content: Content, *, outbound: Outbound | None = None, route: str | None = None) -> Again:
        """As `attempt`, of `data.lockgate.decision`, for the same request, or with another `outbound` or `route`. Raises ReviewError where
        it cannot be sent as policy asks."""

    async def mask(self, text: str) -> str:
        """As reviewers may see it. Raises ReviewError where nobody can say."""


def said(verdict: Verdict) -> str:
    """The digest of what a verdict says, by which two are the same."""
    obligations = sorted([each.name, json.dumps(each.params, sort_keys=True, default=dict)] for each in verdict.obligations)
    value = [verdict.effect.value, verdict.reroute, sorted(each.code for each in verdict.reasons), obligations]
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


def judged(verdict: Verdict) -> dict[str, str]:
    """Of a held request's summary."""
    return {"bundle": verdict.digest, "revision": verdict.revision, "said": said(verdict)}


def document(attempt: Attempt, content: Content | None) -> dict[str, Any]:
    """What `data.lockgate.review` is told; described by `policies/schemas/review.json`. People are named by the id of their key, by which
    two records can be known to be one person's."""
    review, held, reviewer = attempt.review, attempt.review.held, attempt.reviewer
    return {
        "version": VERSION,
        "entry": ENTRY,
        "attempt": {"kind": attempt.kind.value, "route": attempt.route, "time": {"ns": attempt.now_ns}},
        "reviewer": {
            "key": reviewer.key_id,
            "id": reviewer.id,
            "type": reviewer.type,
            "roles": list(reviewer.roles),
            "groups": list(reviewer.groups),
            "tenant": reviewer.tenant,
            "authenticated_by": reviewer.authenticated_by,
            "acting": sorted(reviewer.acting),
        },
        "requester": {
            "key": held.subject_key_id,
            "id": content.subject if content is not None else "",
            "acting": sorted(attempt.asker - {held.subject_key_id}),
        },
        "approvals": [
            {"key": each.key_id, "roles": sorted(each.roles), "acting": sorted(each.people - {each.key_id})} for each in attempt.given
        ],
        "review": {
            "id": held.decision_id,
            "state": review.state,
            "intent": held.intent,
            "risk": held.risk,
            "route": held.route,
            "destination": held.destination,
            "tenant": held.tenant,
            "reasons": list(held.summary.get("reasons", ())),
            "reviewers": list(terms.reviewer_roles(held)),
            "each_of": list(terms.each_of(held)),
            "quorum": terms.quorum(held),
            "level": terms.level(held),
            "levels": list(terms.levels(held)),
            "round": terms.round_of(held),
            "claimant": deadlines.claimant(review),
            "information": len(content.information) if content is not None else 0,
        },
    }


def permit(verdict: Verdict) -> None:
    """Raises ReviewError where policy does not let somebody do what they try."""
    if verdict.effect is Effect.ALLOW:
        return
    reason = verdict.reasons[0] if verdict.reasons else None
    if reason is not None and reason.code.startswith(UNANSWERED):
        why = "policy_undefined: is there a package lockgate.review?" if reason.code == "policy_undefined" else reason.code
        raise ReviewError(f"Policy could not say whether this may be done ({why}), so it may not.", "review_unjudged")
    named = f" ({reason.code})" if reason is not None else ""
    raise ReviewError(f"Policy does not let this reviewer do this{named}.", "review_denied")
