"""The in-memory twin of the review store: nothing is durable. For tests of everything that needs one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from router.errors import ReviewError
from router.ports import NEVER, Change, Held, Review, ReviewStep, Stepped


class MemoryReviews:
    """`failing`, when set, is what every call raises."""

    def __init__(self) -> None:
        self.failing: ReviewError | None = None
        self._reviews: dict[str, Review] = {}
        self._due: dict[str, int] = {}
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def add(self, held: Held, change: Change, *, due_ns: int | None = None) -> None:
        known = self._usable().get(held.decision_id)
        if known is None:
            self._reviews[held.decision_id] = Review(held, change.after, (change,))
            self._due[held.decision_id] = held.expires_ns if due_ns is None else due_ns
        elif known.held.content_digest != held.content_digest:
            raise ReviewError("Another request is already held under this decision.", "review_conflict")

    async def get(self, decision_id: str) -> Review | None:
        return self._usable().get(decision_id)

    async def page(self, states: Sequence[str], after: int, limit: int, tenant: str | None = None) -> Sequence[tuple[int, Review]]:
        placed = enumerate(self._usable().values(), start=1)
        wanted = [(place, _bare(review)) for place, review in placed if place > after and (not states or review.state in states)]
        return [each for each in wanted if tenant is None or each[1].held.tenant == tenant][:limit]

    async def change(
        self,
        decision_id: str,
        version: int,
        change: Change,
        *,
        forget: bool = False,
        reply: bytes = b"",
        held: Held | None = None,
        due_ns: int = NEVER,
    ) -> bool:
        known = self._usable().get(decision_id)
        if known is None or known.version != version or known.state != change.before:
            return False
        following = held or known.held
        kept = replace(following, sealed=b"") if forget else following
        self._reviews[decision_id] = Review(kept, change.after, (*known.history, change), reply or known.reply)
        self._due[decision_id] = due_ns
        return True

    async def unrecorded(self) -> Sequence[tuple[str, int, Change]]:
        steps = [
            (decision_id, number, change)
            for decision_id, review in self._usable().items()
            for number, change in enumerate(review.history)
            if not change.recorded
        ]
        return sorted(steps, key=lambda step: (step[2].at_ns, step[0], step[1]))

    async def elsewhere(self, decision_id: str) -> bool:
        return False

    async def recorded(self, decision_id: str, number: int) -> None:
        known = self._usable()[decision_id]
        history = [replace(change, recorded=True) if at == number else change for at, change in enumerate(known.history)]
        self._reviews[decision_id] = replace(known, history=tuple(history))

    async def due(self, now_ns: int, states: Sequence[str]) -> Sequence[str]:
        found = self._usable().items()
        return [decision_id for decision_id, review in found if review.state in states and self._due[decision_id] <= now_ns]

    async def count(self, states: Sequence[str]) -> int:
        return sum(review.state in states for review in self._usable().values())

    async def versions(self, decision_ids: Sequence[str]) -> Mapping[str, int]:
        known = self._usable()
        return {each: known[each].version for each in decision_ids if each in known}

    async def stepped(
        self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None = None
    ) -> Sequence[Stepped]:
        found = [
            Stepped(step.at_ns, decision_id, [_step(change) for change in review.history])
            for decision_id, review in self._usable().items()
            for step in review.history
            if tenant in (None, review.held.tenant) and step.event in events
        ]
        wanted = [each for each in found if (since_ns, after) < (each.at_ns, each.decision_id) and each.at_ns < until_ns]
        return sorted(wanted, key=lambda each: (each.at_ns, each.decision_id))[:limit]

    async def forget_replies(self, event: str, before_ns: int) -> int:
        old = [
            decision_id
            for decision_id, review in self._usable().items()
            if review.reply and any(step.event == event and step.at_ns < before_ns for step in review.history)
        ]
        for decision_id in old:
            self._reviews[decision_id] = replace(self._reviews[decision_id], reply=b"")
        return len(old)

    def _usable(self) -> dict[str, Review]:
        if self.failing is not None:
            raise ReviewError(str(self.failing), self.failing.code)
        if not self._open:
            raise ReviewError("The review store is not open.", "review_store_closed")
        return self._reviews


def _step(change: Change) -> ReviewStep:
    return ReviewStep(change.event, change.at_ns, change.entries[0].key_id if change.entries else "")


def _bare(review: Review) -> Review:
    return replace(review, held=replace(review.held, sealed=b""), reply=b"")
