"""Held requests of somebody whose key was destroyed: nobody can open them any more, so they end, and the ledger says why."""

from __future__ import annotations

from collections.abc import AsyncIterator

from router.decision import Outcome, Result
from router.ports import Clock, HeldRequests, Review
from router.review import records
from router.review.recording import Recording
from router.review.state import UNDECIDED, Event, State

ERASED = "subject_erased"
MANY = 1000


async def forget_subject(store: HeldRequests, recording: Recording, clock: Clock, key_id: str) -> list[str]:
    """Ends those that wait for a person or were approved and not sent; one that is being sent was sent before. Their ids. Raises
    ReviewError, AuditError: a step that is stored and not recorded yet is recorded later."""
    ended: list[str] = []
    async for review in _of(store, key_id):
        now_ns = clock.now_ns()
        if review.state in UNDECIDED:
            change = records.expired(review, now_ns, ERASED)
        else:
            change = records.ended(review, Event.FAILED, now_ns, Outcome(Result.FAILED, 409, ERASED))
        if await store.change(review.held.decision_id, review.version, change, forget=True):
            ended.append(review.held.decision_id)
            await recording.of(review.held.decision_id)
    return ended


async def _of(store: HeldRequests, key_id: str) -> AsyncIterator[Review]:
    after = 0
    while page := await store.page((*UNDECIDED, State.APPROVED), after, MANY):
        for _, review in page:
            if review.held.subject_key_id == key_id:
                yield review
        after = page[-1][0]
