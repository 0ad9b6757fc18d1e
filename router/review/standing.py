"""Where a held request stands, as the one who asked may know it: nothing of who decides, and the upstream's answer once there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from router.errors import ReviewError
from router.ports import Change, HeldRequests, Review
from router.review.answering import Question, open_question
from router.review.approving import counted
from router.review.packing import Answer, open_answer
from router.review.people import People
from router.review.terms import quorum

ASKER_KEY = "asker"  # of a held request's summary: the key id of the service that asked on the subject's behalf
ENDED = frozenset(("rejected", "expired", "released", "done", "failed", "uncertain", "superseded", "cancelled"))
DONE, RELEASED = "done", "released"


@dataclass(frozen=True, slots=True)
class Standing:
    """`version` grows with every step. `status` and `reason` are the outcome's that ended it; 0 and empty before. `answer` is what the
    upstream said, while it is kept. `ended_ns`: when it ended, 0 before. `approvals` of the `quorum` that policy wants.
    `question`: a reviewer's that is open."""

    state: str
    version: int
    expires_ns: int
    status: int = 0
    reason: str = ""
    ended_ns: int = 0
    answer: Answer | None = None
    approvals: int = 0
    quorum: int = 1
    question: Question | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def packed(self) -> list[object]:
        answer = self.answer
        told = None if answer is None else [answer.status, answer.content_type, answer.body, answer.whole, list(answer.headers)]
        asked = None if self.question is None else [self.question.text, self.question.respond_ns, self.question.number]
        ended = [self.status, self.reason, self.ended_ns, told]
        return [self.state, self.version, self.expires_ns, *ended, self.approvals, self.quorum, asked]


def unpacked(told: Any) -> Standing:
    """Of what `Standing.packed` made."""
    *fields, answer, approvals, quorum, asked = told
    state, version, expires_ns, status, reason, ended_ns = fields
    kept = None if answer is None else Answer.of(answer)
    question = None if asked is None else Question(*asked)
    return Standing(state, version, expires_ns, status, reason, ended_ns, kept, approvals, quorum, question)


class Standings:
    """`store` is asked for one request, and opens nothing of anybody else's."""

    def __init__(self, store: HeldRequests, people: People) -> None:
        self._store = store
        self._people = people

    async def of(self, review_id: str, key_id: str, tenant: str | None) -> Standing | None:
        """None unless the one whose key this is asked for it. Raises ReviewError, AuditError."""
        review = await self._store.get(review_id)
        return None if review is None or not _asked(review, key_id, tenant) else await self.whole(review)

    async def whole(self, review: Review) -> Standing:
        """Whoever asked for it. Raises AuditError."""
        status, reason = outcome_of(review.history) if review.state in ENDED else (0, "")
        ended_ns = review.history[-1].at_ns if review.state in ENDED else 0
        answer = await self._answer(review) if review.state == DONE and review.reply else None
        people = (counted(review), quorum(review.held))
        question = await open_question(review, self._people)
        return Standing(review.state, review.version, review.held.expires_ns, status, reason, ended_ns, answer, *people, question)

    async def _answer(self, review: Review) -> Answer | None:
        key = await self._people.key(review.held.subject_key_id)
        if key is None:
            return None
        try:
            return open_answer(key, review.reply, review.held.decision_id)
        except ReviewError:
            return None


def outcome_of(history: tuple[Change, ...]) -> tuple[int, str]:
    """Status and reason of the outcome that the last step came with; 0 and empty where it had none."""
    for entry in reversed(history[-1].entries):
        leaf = orjson.loads(entry.leaf)
        if leaf.get("schema") == "lockgate.outcome.v1":
            outcome = leaf["outcome"]
            return int(outcome.get("status") or 0), str(outcome.get("reason") or "")
    return 0, ""


def _asked(review: Review, key_id: str, tenant: str | None) -> bool:
    held = review.held
    asker = held.summary.get(ASKER_KEY)
    if asker is not None and asker == key_id:
        return True
    return held.subject_key_id == key_id and held.tenant == tenant
