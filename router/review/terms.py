"""What a held request's terms say: who may decide and by when, and what an approval covers. The terms are bound to the sealed content, so
that who can only write to the store cannot change them (`packing`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from router.ports import Held
from router.review.state import State

ASKER = "left_to_asker"  # the service that asked for the decision does what is approved
JUDGED = "judged"  # by which bundle the request was judged, and a digest of what it said; not there for what an older release held
LEVEL, ROUND = "level", "round"
NS = 1_000_000_000
CLAIM_NS = 900 * NS


def covers(held: Held) -> str:
    """The digest that an approval names: what would be sent and where, the risk, the evidence, who must approve, and the policies that
    said so. What an older release held is approved by its content's digest, as it was shown."""
    if JUDGED not in held.summary:
        return held.content_digest
    said = {name: getattr(held, name) for name in Held.__slots__ if name not in ("sealed", "created_ns", "expires_ns")}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.sha256(b"lockgate.review.v1\x00" + text.encode()).hexdigest()


def left_to_asker(held: Held) -> bool:
    """Whether nothing is sent from here once it is approved."""
    return held.summary.get(ASKER) is True


def quorum(held: Held) -> int:
    return max(1, int(held.summary.get("quorum", 1)), len(each_of(held)))


def each_of(held: Held) -> tuple[str, ...]:
    """Roles of which each must approve, by different people. At a higher level only the level's own role counts."""
    return () if level(held) else tuple(held.summary.get("each_of", ()))


def reviewer_roles(held: Held) -> tuple[str, ...]:
    """One of these is needed; none means anybody who may decide at all."""
    at = level(held)
    if at:
        return (levels(held)[at - 1],)
    return tuple(dict.fromkeys((*held.summary.get("reviewers", ()), *each_of(held))))


def levels(held: Held) -> tuple[str, ...]:
    """The role of each level above the first."""
    return tuple(held.summary.get("escalate_to", ()))


def level(held: Held) -> int:
    return int(held.summary.get(LEVEL, 0))


def round_of(held: Held) -> int:
    """How often what is to be approved has changed."""
    return int(held.summary.get(ROUND, 0))


def resting(held: Held) -> State:
    """The state in which it waits for somebody of its level."""
    return State.ESCALATED if level(held) else State.PENDING


def bundle(held: Held) -> str | None:
    """The digest of the policies by which it was judged."""
    judged = held.summary.get(JUDGED)
    return str(judged["bundle"]) if isinstance(judged, Mapping) else None


def said(held: Held) -> str | None:
    """The digest of what those policies said."""
    judged = held.summary.get(JUDGED)
    return str(judged["said"]) if isinstance(judged, Mapping) else None


def claim_ns(held: Held) -> int:
    return _nanoseconds(held, "claim") or CLAIM_NS


def respond_ns(held: Held) -> int | None:
    return _nanoseconds(held, "respond")


def escalate_ns(held: Held) -> int | None:
    return _nanoseconds(held, "escalate")


def allowed_on_expiry(held: Held) -> bool:
    """Only what was of low risk when it was held, and of which policy said so then."""
    return held.summary.get("on_expiry") == "allow" and held.risk == "low" and level(held) == 0


def changeable(held: Held) -> tuple[str, ...]:
    """JSON pointers to what of the body a reviewer may change."""
    return tuple(held.summary.get("modify", ()))


def other_routes(held: Held) -> tuple[str, ...]:
    return tuple(held.summary.get("reroute", ()))


def with_terms(held: Held, **changes: Any) -> dict[str, Any]:
    """The summary with some values replaced, of the next round."""
    return {**held.summary, ROUND: round_of(held) + 1, **changes}


def _nanoseconds(held: Held, name: str) -> int | None:
    value = held.summary.get(f"{name}_ns")
    return int(value) if value else None
