"""Held requests in the control process: kept, shown, decided about by people and by time, and sent when they say so."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from router.cursors import place_after
from router.decision import Subject
from router.errors import AuditError, LockgateError, RefusedError, ReviewError
from router.ports import Change, Clock, Held, HeldRequests, Ledger, Review
from router.review import records, terms, views
from router.review.attempting import Asked, Attempting
from router.review.attempts import Kind
from router.review.deadlines import due_ns, overdue
from router.review.dispatching import Dispatching
from router.review.forgetting import forget_subject
from router.review.judging import Judging
from router.review.looking import Looking
from router.review.opinions import Opinions
from router.review.people import People
from router.review.recording import Recording
from router.review.state import UNDECIDED, Event, State
from router.review.taking import take

log = logging.getLogger("lockgate.reviews")
ROUND_S = 5.0
WAIT_S = 10.0
MANY = 1000
NONE = Opinions(lambda: None)
OPEN = "open"  # every state in which somebody has still to decide


class ReviewService:
    """`pending` is how many wait for a person."""

    def __init__(
        self,
        store: HeldRequests,
        ledger: Ledger,
        people: People,
        clock: Clock,
        recording: Recording,
        dispatching: Dispatching,
        judging: Judging,
        opinions: Opinions = NONE,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._people = people
        self._clock = clock
        self._recording = recording
        self._dispatching = dispatching
        self._attempting = Attempting(store, ledger, people, clock, judging, opinions)
        self._looking = Looking(self._attempting, ledger, people, clock)
        self._rounds: asyncio.Task[None] | None = None
        self.pending = 0

    async def hold(self, held: Held) -> None:
        """The record comes first: a crash between the two leaves a record of something that nobody was told is held, and that cannot be
        dispatched. Raises AuditError, ReviewError, which are `unsettled` where it may be held all the same."""
        key = await self._people.key(held.subject_key_id)
        if key is None:
            raise ReviewError("The key under which the request is sealed is unknown here.", "subject_erased")
        change = records.held_change(held, self._clock.now_ns(), key)
        for entry in change.entries:
            await self._ledger.append(entry)
        if await self._added(held, change) is None:  # destroyed meanwhile, and what was held may have been ended before this
            await forget_subject(self._store, self._recording, self._clock, held.subject_key_id)
            raise ReviewError("The key under which the request is sealed was destroyed.", "subject_erased")
        await self._counted()

    async def _added(self, held: Held, change: Change) -> bytes | None:
        """The key under which it is sealed, once it is held. That it is not is only certain where the store says so, or was never asked."""
        try:
            await self._store.add(held, change, due_ns=due_ns(held, change.after, (change,)))
        except ReviewError as error:
            error.unsettled = error.code == ReviewError.code and not error.untouched
            raise
        try:
            return await self._people.key(held.subject_key_id)
        except AuditError as error:
            error.unsettled = True
            raise

    async def list(
        self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None
    ) -> tuple[list[views.Json], str | None]:
        """(summaries, cursor of the next page)"""
        if state not in (None, OPEN, *State):
            raise RefusedError(f"There is no state '{state}'; there are {OPEN}, {', '.join(State)}.", "request_invalid", 422)
        states = UNDECIDED if state == OPEN else () if state is None else (state,)
        return views.page(await self._store.page(states, place_after(cursor) or 0, limit, tenant), limit)

    async def get(self, review_id: str) -> dict[str, Any] | None:
        review = await self._store.get(review_id)
        return None if review is None else await views.whole(review, self._people)

    async def approve(
        self, review_id: str, subject: Subject, comment: str, content_digest: str, version: int | None = None
    ) -> dict[str, Any]:
        """With the last approval that is needed the request is sent; an upstream that takes long is not waited for. Raises ReviewError,
        and AuditError: an approval that was stored but is not recorded yet stands, and nothing is sent before it is."""
        return await self.attempt(review_id, subject, Asked(Kind.APPROVE, comment, content_digest, version))

    async def reject(self, review_id: str, subject: Subject, comment: str, version: int | None = None) -> dict[str, Any]:
        """Raises ReviewError, AuditError."""
        return await self.attempt(review_id, subject, Asked(Kind.REJECT, comment, version=version))

    async def attempt(self, review_id: str, subject: Subject, asked: Asked) -> dict[str, Any]:
        """What a person tries; asked for again it is the same, and says the same. Raises ReviewError, AuditError."""
        await self.taken(review_id, subject, asked)
        return await self._shown(review_id)

    async def taken(self, review_id: str, subject: Subject, asked: Asked) -> bool:
        """Whether it was taken now, and not before; in the ledger either way when it returns. Raises as `attempt`."""
        try:
            change = await self._attempting.attempt(review_id, subject, asked)
        except ReviewError as error:
            if error.code == "review_superseded":
                await self._record(review_id)
            raise
        if change is not None:
            await self._counted()
        await self._record(review_id)
        if change is not None and change.after == State.APPROVED:
            await asyncio.wait((self._dispatching.start(review_id),), timeout=WAIT_S)
        return change is not None

    async def values(self, review_id: str, subject: Subject) -> dict[str, Any]:
        """What this person may change of it, as it is now; on record before it is told. Raises ReviewError, AuditError."""
        return await self._looking.values(review_id, subject)

    async def modified(self, review_id: str, subject: Subject, asked: Asked) -> dict[str, Any]:
        """As `values`, with what it would become; nothing is changed. Raises ReviewError, AuditError."""
        return await self._looking.modified(review_id, subject, asked)

    async def question(self, review_id: str, subject: Subject) -> dict[str, Any]:
        """What a reviewer asks whoever asked for the request; told to nobody else. Raises ReviewError."""
        review = await self._store.get(review_id)
        if review is None:
            raise ReviewError("There is no such held request.", "review_not_found")
        return {**await self._attempting.question(review, subject), "version": review.version}

    async def expire_due(self) -> None:
        """Takes the steps that time has made due."""
        now_ns = self._clock.now_ns()
        for decision_id in await self._store.due(now_ns, UNDECIDED):
            review = await self._store.get(decision_id)
            event = None if review is None else overdue(review, now_ns)
            if review is not None and event is not None:
                try:
                    await self._timed(review, event, now_ns)
                except ReviewError as error:
                    log.error("the held request %s should be %s by now: %s", decision_id, event, error)
        await self._counted()

    async def _timed(self, review: Review, event: Event, now_ns: int) -> None:
        held, reason = None, ""
        if event is Event.ESCALATED:
            held = await self._attempting.escalated(review)
        elif event is Event.EXPIRED and now_ns < review.held.expires_ns:
            reason = "review_unanswered"
        to = terms.resting(review.held) if event is Event.LAPSED else None
        await take(self._store, review, records.timed(review, event, now_ns, to, reason, held), held)

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
            self.pending = await self._store.count(UNDECIDED)
        except ReviewError as error:
            log.error("the held requests could not be counted: %s", error)
