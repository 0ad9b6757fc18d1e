"""What may become of a proposal, and who may say so. Decides only; durability is the store's.

suggested (by Lockgate) ─▶ draft, of the person who makes it theirs | withdrawn

draft ─▶ evaluated ─▶ approved ─▶ rolled_out ─▶ reverted | superseded
  ▲          │            │
  └── voided ┴────────────┘          draft, evaluated and approved ones may be rejected
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any

from router.errors import RefusedError
from router.ports import Lesson

KIND = "proposal"


class State(StrEnum):
    SUGGESTED = "suggested"  # nobody's yet
    DRAFT = "draft"
    EVALUATED = "evaluated"
    APPROVED = "approved"
    ROLLED_OUT = "rolled_out"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"  # a later one says something else about the same
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"  # suggested, and not so any more


class Event(StrEnum):
    SUGGESTED = "suggested"
    ADOPTED = "adopted"  # whoever does so is its author, as if they had drafted it
    WITHDRAWN = "withdrawn"
    DRAFTED = "drafted"
    EVALUATED = "evaluated"
    VOIDED = "voided"  # the catalog or its own texts changed, so that what was measured is about something else
    WORDED = "worded"  # a language model drafted words for it, which are no part of it yet
    EDITED = "edited"  # its author gave it other words
    ENDORSED = "endorsed"  # approved by one of several who must
    APPROVED = "approved"
    REJECTED = "rejected"
    ROLLED_OUT = "rolled_out"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"


class Type(StrEnum):
    NEW_EXAMPLES = "new_examples"
    NEW_INTENT = "new_intent"
    THRESHOLD = "threshold"
    ROUTE = "route"


S, E = State, Event
MOVES: Mapping[tuple[str, Event], State] = {
    ("", E.SUGGESTED): S.SUGGESTED,
    (S.SUGGESTED, E.ADOPTED): S.DRAFT,
    (S.SUGGESTED, E.WITHDRAWN): S.WITHDRAWN,
    (S.SUGGESTED, E.REJECTED): S.REJECTED,
    ("", E.DRAFTED): S.DRAFT,
    (S.DRAFT, E.EVALUATED): S.EVALUATED,
    (S.EVALUATED, E.EVALUATED): S.EVALUATED,
    (S.DRAFT, E.VOIDED): S.DRAFT,
    (S.EVALUATED, E.VOIDED): S.DRAFT,
    (S.APPROVED, E.VOIDED): S.DRAFT,
    (S.EVALUATED, E.ENDORSED): S.EVALUATED,
    (S.DRAFT, E.WORDED): S.DRAFT,
    (S.EVALUATED, E.WORDED): S.EVALUATED,
    (S.DRAFT, E.EDITED): S.DRAFT,
    (S.EVALUATED, E.EDITED): S.DRAFT,
    (S.APPROVED, E.EDITED): S.DRAFT,
    (S.EVALUATED, E.APPROVED): S.APPROVED,
    (S.APPROVED, E.ENDORSED): S.APPROVED,  # policy takes more by now
    (S.APPROVED, E.APPROVED): S.APPROVED,
    (S.DRAFT, E.REJECTED): S.REJECTED,
    (S.EVALUATED, E.REJECTED): S.REJECTED,
    (S.APPROVED, E.REJECTED): S.REJECTED,
    (S.APPROVED, E.ROLLED_OUT): S.ROLLED_OUT,
    (S.ROLLED_OUT, E.REVERTED): S.REVERTED,
    (S.ROLLED_OUT, E.SUPERSEDED): S.SUPERSEDED,
}
OPEN = (S.DRAFT, S.EVALUATED, S.APPROVED)


def move(state: str, event: Event) -> State:
    """Raises RefusedError for what is no step from here."""
    after = MOVES.get((state, event))
    if after is None:
        raise RefusedError(f"The proposal is {state} and cannot be {event}.", "proposal_state", 409)
    return after


def check_approval(proposal: Lesson, people: Collection[str], before: Collection[str], binding: str, override: str) -> None:
    """What holds whatever policy says: another one than who made it, once, about what was measured. `people`: keys of who approves and of
    whom they act for; `before`: of those who have approved it. Raises RefusedError."""
    move(proposal.state, Event.APPROVED)
    if {proposal.terms["author"], *proposal.terms.get("author_acting", ())} & set(people):
        raise RefusedError("Nobody may approve their own proposal, nor in the name of who made it.", "proposal_own", 403)
    if set(people) & set(before):
        raise RefusedError("The same person has approved it before; another one must.", "proposal_approved_before", 409)
    evaluation = proposal.terms["evaluation"]
    if evaluation is None or binding != evaluation["binding"]:
        raise RefusedError("The approval names something else than what was measured.", "proposal_changed", 409)
    if evaluation["faults"] and not override:
        reasons = " ".join(evaluation["faults"])
        raise RefusedError(f"{reasons} It takes an explicit override, with its reason, to approve it all the same.", "proposal_worse", 409)


def digest_of(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def content_digest(proposal: Lesson) -> str:
    """Of what it would change. Texts count by what they are sealed as: that is random, so that nobody can guess a text by it."""
    terms = proposal.terms
    sealed = {text.name: sha256(text.sealed).hexdigest() for text in proposal.texts}
    rationale = [terms["rationale"]] if terms.get("rationale") else []
    return digest_of([terms["type"], terms["intents"], terms["out_of_scope"], sealed, *rationale])
