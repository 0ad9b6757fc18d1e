"""One step, durable: with what is held from then on, and with when to look at it again."""

from __future__ import annotations

from router.ports import Change, Held, HeldRequests, Review
from router.review.deadlines import due_ns
from router.review.state import FORGETTING


async def take(store: HeldRequests, review: Review, change: Change, held: Held | None = None, reply: bytes = b"") -> bool:
    """Whether it was taken; not where somebody else was quicker. Raises ReviewError."""
    following = held or review.held
    due = due_ns(following, change.after, (*review.history, change))
    decision_id, forget = review.held.decision_id, change.after in FORGETTING
    return await store.change(decision_id, review.version, change, forget=forget, reply=reply, held=held, due_ns=due)
