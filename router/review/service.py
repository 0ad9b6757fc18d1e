"""Held requests in the control process: kept, shown, decided about by people, and sent when they say so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from router.decision import Subject
from router.errors import AuditError, LockgateError, RefusedError, ReviewError
from router.ports import Change, Clock, Held, HeldRequests, Ledger, Review
from router.review import records, views
from router.review.dispatching import Dispatching
from router.review.forgetting import forget_subject
from router.review.people import People
from router.review.recording import Recording
from router.review.state import FORGETTING, Event, Reviewer, State, approval, rejection

log = logging.getLogger("lockgate.reviews")
ROUND_S = 5.0
WAIT_S = 10.0
MANY = 1000


class ReviewService:
    """`pending` is how many wait for a person."""

    def __init__(
        self, store: HeldRequests, ledger: Ledger, people: People, clock: Clock, recording: Recording, dispatching: Dispatching
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._people = people
        self._clock = clock
        self._recording = recording
        self._dispatching = dispatching
        self._rounds: asyncio.Task[None] | None = None
        self.pending = 0

    async def hold(self, held: Held) -> None:
        """The record comes first: a crash between the two leaves a record of something that nobody was told is held, and that cannot be
        dispatched. Raises AuditError, ReviewError."""
        key = await self._people.key(held.subject_key_id)
        if key is None:
            raise ReviewError("The key under which the request is sealed is unknown here.", "subject_erased")
        change = records.held_change(held, self._clock.now_ns(), key)
        for entry in change.entries:
            await self._ledger.append(entry)
        await self._store.add(held, change)
        if await self._people.key(held.subject_key_id) is None:  # destroyed meanwhile, and what was held may have been ended before this
            await forget_subject(self._store, self._recording, self._clock, held.subject_key_id)
            raise ReviewError("The key under which the request is sealed was destroyed.", "subject_erased")
        await self._counted()

    async def list(
        self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None
    ) -> tuple[list[views.Json], str | None]:
        """(summaries, cursor of the next page)"""
        if state is not None and state not in list(State):
            raise RefusedError(f"There is no state '{state}'; there are {', '.join(State)}.", "request_invalid", 422)
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise RefusedError("The cursor is not one that this API gave.", "request_invalid", 400)
        return views.page(await self._store.page([] if state is None else [state], int(cursor or 0), limit, tenant), limit)

    async def get(self, review_id: str) -> dict[str, Any] | None:
        review = await self._store.get(review_id)
        return None if review is None else await views.whole(review, self._people)

    async def approve(self, review_id: str, subject: Subject, comment: str, content_digest: str) -> dict[str, Any]:
        """With the last approval that is needed the request is sent; an upstream that takes long is not waited for. Raises ReviewError,
        and AuditError: an approval that was stored but is not recorded yet stands, and nothing is sent before it is."""

        def event(review: Review, reviewer: Reviewer) -> Event:
            return approval(review, reviewer, content_digest, self._clock.now_ns())

        change = await self._judge(review_id, subject, comment, event)
        if change.after == State.APPROVED:
            await asyncio.wait((self._dispatching.start(review_id),), timeout=WAIT_S)
        return await self._shown(review_id)

    async def reject(self, review_id: str, subject: Subject, comment: str) -> dict[str, Any]:
        """Raises ReviewError, AuditError."""
        await self._judge(review_id, subject, comment, lambda review, reviewer: rejection(review, reviewer, self._clock.now_ns()))
        return await self._shown(review_id)

    async def expire_due(self) -> None:
        now_ns = self._clock.now_ns()
        for decision_id in await self._store.due(now_ns, State.PENDING):
            review = await self._store.get(decision_id)
            if review is not None and review.state == State.PENDING:
                await self._take(review, records.expired(review, now_ns))
        await self._counted()

    async def resume(self) -> None:
        """Goes on where a crash or a stop ended, and from then on does so in rounds."""
        await self.round()
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._keep_going())

    async def round(self) -> None:
        """Everything that waits for us and not for a person: what expired, what is not recorded, what is approved and not sent."""
        try:
            await self.expire_due()
            await self._recording.everything()
            for _, review in await self._store.page((State.APPROVED, State.DISPATCHING), 0, MANY):
                self._dispatching.start(review.held.decision_id)
        except LockgateError as error:
            log.error("held requests are left as they are for now: %s", error)

    async def close(self, grace_s: float) -> None:
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
        await self._dispatching.close(grace_s)

    async def _keep_going(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                await self.round()
            except Exception:  # the rounds must go on
                log.exception("a round over the held requests failed in a way that nobody foresaw")

    async def _judge(self, review_id: str, subject: Subject, comment: str, event: Callable[[Review, Reviewer], Event]) -> Change:
        await self._ledger.ping()  # a person is told before, not after, that nothing can be recorded
        key_id, key = await self._people.key_for(subject.id)
        reviewer = Reviewer(subject.id, key_id, subject.roles)
        while True:  # again when somebody else was quicker: what they did may change what this is
            review = await self._store.get(review_id)
            if review is None:
                raise ReviewError("There is no such held request.", "review_not_found")
            change = records.judged(review, event(review, reviewer), self._clock.now_ns(), reviewer, key, comment)
            if await self._take(review, change):  # 1
                break
        await self._counted()
        await self._record(review_id)  # 2
        return change

    async def _take(self, review: Review, change: Change) -> bool:
        return await self._store.change(review.held.decision_id, review.version, change, forget=change.after in FORGETTING)

    async def _record(self, review_id: str) -> None:
        try:
            await self._recording.of(review_id)
        except AuditError as error:
            raise AuditError(f"The decision is kept, and nothing happens before it is recorded: {error}", error.code) from error

    async def _shown(self, review_id: str) -> dict[str, Any]:
        shown = await self.get(review_id)
        if shown is None:
            raise ReviewError("There is no such held request.", "review_not_found")
        return shown

    async def _counted(self) -> None:
        """Never fails: what was done just before is durable, and whoever asked for it must hear so."""
        try:
            self.pending = await self._store.count(State.PENDING)
        except ReviewError as error:
            log.error("the held requests could not be counted: %s", error)
