"""From an approval to the upstream, once, also across a crash. One task for each request; it goes by what is stored, so that going on
after a crash and going on after an approval are the same.

    1 approval durable in the store       crash after it: its record is missing, and is appended before anything else happens
    2 approval durable in the ledger      crash after it: approved and not sent; it is sent, if it is judged now as it was when it was
                                          approved; else it is superseded, and waits anew or ends. Not where that is too long ago
    3 `dispatching` durable in the store  crash after it: it may or may not have been sent. It is sent again under the same idempotency
                                          key where that is harmless (see `with_key`); else it is `uncertain`, for a person to settle
    4 sent                                crash after it: as after 3, nobody can tell these apart
    5 outcome durable in the store        crash after it: its record is missing, and is appended when we are back
    6 outcome durable in the ledger

Of several nodes the one that took the last step goes on; where it is gone, another one does as after a crash. Each of 1, 3 and 5 is a
compare and set, so that of two that try one goes on: a node that was only slow, and was taken for gone, fails there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from router.decision import Outcome, Result
from router.dispatch import content_digest, failure
from router.errors import AuditError, DestinationError, LockgateError, ReviewError
from router.ports import Change, Clock, Destination, HeldRequests, Outbound, Review
from router.review import records, terms
from router.review.approving import approvals, enough
from router.review.judging import Judging
from router.review.packing import Content, open_content, seal_answer
from router.review.people import People
from router.review.recording import Recording
from router.review.sending import KEPT_BYTES, RESPONSE_BYTES, Received, received, with_key
from router.review.state import FORGETTING, Event, State
from router.review.superseding import Superseding
from router.review.terms import NS

log = logging.getLogger("lockgate.reviews")
RETRY_S = 1.0
MOST_REDISPATCHES = 5
MOST_AT_ONCE = 16  # after an outage many may wait, and a destination that is asked too much refuses
TOO_OLD = "approval_too_old"
UNCERTAIN = Outcome(Result.FAILED, 502, "dispatch_uncertain", complete=False)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a route leads now. `name` is the destination's; `deduplicates` says that its service honours `Idempotency-Key`; `kept_bytes`:
    most that is kept of an answer."""

    name: str
    destination: Destination
    deduplicates: bool
    kept_bytes: int = KEPT_BYTES


Ways = Callable[[str, str], Way | None]


@dataclass(frozen=True, slots=True)
class Ready:
    """A request whose seal, digest, approvals and way were checked."""

    way: Way
    outbound: Outbound
    key: bytes


class Dispatching:
    """`good_for`: seconds from an approval within which what was approved may be sent."""

    def __init__(
        self,
        store: HeldRequests,
        recording: Recording,
        people: People,
        clock: Clock,
        ways: Ways,
        judging: Judging,
        good_for: Callable[[], float],
    ) -> None:
        self._store = store
        self._good_for = good_for
        self._recording = recording
        self._people = people
        self._clock = clock
        self._ways = ways
        self._superseding = Superseding(store, people, clock, judging)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    def start(self, decision_id: str) -> asyncio.Task[None]:
        """Goes on with an approved request, or one that a crash left `dispatching`. One task a request, so the second is the first."""
        task = self._tasks.get(decision_id)
        if task is None:
            task = self._tasks[decision_id] = asyncio.create_task(self._run(decision_id))
            task.add_done_callback(lambda _: self._tasks.pop(decision_id, None))
        return task

    @property
    def under_way(self) -> frozenset[asyncio.Task[None]]:
        return frozenset(self._tasks.values())

    async def close(self, grace_s: float) -> None:
        """What is still under way then is left as a crash would leave it."""
        if under_way := self.under_way:
            await asyncio.wait(under_way, timeout=grace_s)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _run(self, decision_id: str) -> None:
        try:
            async with self._places:
                await self._go_on(decision_id)
        except LockgateError as error:  # what is stored says where to go on, and the next round does
            log.error("the held request %s waits: %s", decision_id, error)
        except Exception:
            log.exception("going on with the held request %s failed in a way that nobody foresaw", decision_id)

    async def _go_on(self, decision_id: str) -> None:
        review = await self._store.get(decision_id)
        if review is None or review.elsewhere or review.state not in (State.APPROVED, State.DISPATCHING):
            return
        await self._recording.of(decision_id)  # 2: without it nothing is sent
        crashed = review.state == State.DISPATCHING
        try:
            key, content = await self._approved(review)
            if await self._superseded(review, content, crashed=crashed):
                return
            if terms.left_to_asker(review.held):
                await self._end(review, records.released(review, self._clock.now_ns()))
                return
            ready = self._ready(review, key, content.outbound)
        except ReviewError as error:
            if error.code == "review_unjudged":  # nothing is known against it, so it waits until somebody can say
                raise
            event = Event.UNCERTAIN if crashed else Event.FAILED
            await self._end(review, records.ended(review, event, self._clock.now_ns(), Outcome(Result.FAILED, 409, error.code)))
            return
        if crashed and not _repeatable(review, ready):
            await self._end(review, records.ended(review, Event.UNCERTAIN, self._clock.now_ns(), UNCERTAIN))
            return
        event = Event.REDISPATCHED if crashed else Event.DISPATCHED
        if await self._kept(review, records.dispatching(review, event, self._clock.now_ns())):  # 3
            sent = await self._got(decision_id)
            # Only now, and not where somebody else went on meanwhile because this node was silent for too long.
            if sent is not None and sent.version == review.version + 1:
                await self._send_in_time(sent, ready, crashed=crashed)

    async def _approved(self, review: Review) -> tuple[bytes, Content]:
        """Raises ReviewError where what is stored is not what was approved, and AuditError where the keys do not answer."""
        held = review.held
        key = await self._people.key(held.subject_key_id)
        if key is None:
            raise ReviewError("The key of the one who asked was destroyed.", "subject_erased")
        content = open_content(key, held)
        if content_digest(content.outbound) != held.content_digest:
            raise ReviewError("The held request does not have the digest that was approved.", "content_changed")
        if not self._expired_so(review) and not enough(held, await approvals(review, self._people)):
            raise ReviewError("The approvals are not for this content, or cannot be opened.", "approval_unproven")
        if self._too_old(review):
            raise ReviewError("It was approved too long ago to be sent now.", TOO_OLD)
        return key, content

    def _too_old(self, review: Review) -> bool:
        approved = _approval(review)
        return approved is not None and self._clock.now_ns() - approved.at_ns > self._good_for() * NS

    def _expired_so(self, review: Review) -> bool:
        """Whether it may go because nobody decided in time: its terms, which are bound to its content, say so, and so does the clock."""
        approved = _approval(review)
        late = self._clock.now_ns() >= review.held.expires_ns
        return approved is not None and approved.event == Event.EXPIRY_ALLOWED and late and terms.allowed_on_expiry(review.held)

    async def _superseded(self, review: Review, content: Content, *, crashed: bool) -> bool:
        """Raises ReviewError: `review_superseded` for what may have been sent before, and is not sent again."""
        again = await self._superseding.looked(review, content)
        if again is None or again.same:
            return False
        if crashed:
            raise ReviewError("It would be judged otherwise now, and may have been sent before.", "review_superseded")
        if await self._superseding.supersede(review, again):
            await self._recording.of(review.held.decision_id)
        return True

    def _ready(self, review: Review, key: bytes, outbound: Outbound) -> Ready:
        """Raises ReviewError where it would now go elsewhere."""
        held = review.held
        way = self._ways(held.route, held.destination)
        if way is None or way.name != held.destination:
            raise ReviewError(f"The route '{held.route}' no longer leads to '{held.destination}'.", "route_changed")
        return Ready(way, with_key(outbound, held.decision_id, deduplicates=way.deduplicates), key)

    async def _send_in_time(self, review: Review, ready: Ready, *, crashed: bool) -> None:
        """The store may have been away for days between what was looked at and 3."""
        if self._too_old(review):
            event = Event.UNCERTAIN if crashed else Event.FAILED
            await self._end(review, records.ended(review, event, self._clock.now_ns(), Outcome(Result.FAILED, 409, TOO_OLD)))
        else:
            await self._send(review, ready)

    async def _send(self, review: Review, ready: Ready) -> None:
        started_ns = self._clock.monotonic_ns()
        try:
            limit = review.held.summary.get(RESPONSE_BYTES)
            answer = await received(await ready.way.destination.send(ready.outbound), limit, ready.way.kept_bytes)  # 4
        except DestinationError as error:
            event = Event.UNCERTAIN if error.sent else Event.FAILED
            change = records.ended(review, event, self._clock.now_ns(), failure(error, self._clock.monotonic_ns() - started_ns))
            await self._end(review, change)
        except Exception:  # whatever it was, nobody knows what reached the upstream
            log.exception("sending the held request %s failed in a way that nobody foresaw", review.held.decision_id)
            await self._end(review, records.ended(review, Event.UNCERTAIN, self._clock.now_ns(), UNCERTAIN))
        else:
            await self._answered(review, ready, answer, self._clock.monotonic_ns() - started_ns)

    async def _answered(self, review: Review, ready: Ready, answer: Received, total_ns: int) -> None:
        held, body = review.held, ready.outbound.body
        outcome = answer.outcome(hashlib.sha256(body if isinstance(body, bytes) else b"").hexdigest(), total_ns)
        change = records.ended(review, Event.DONE, self._clock.now_ns(), outcome, (held.subject_key_id, ready.key))
        await self._end(review, change, seal_answer(ready.key, answer.answer(), held.decision_id))

    async def _end(self, review: Review, change: Change, reply: bytes = b"") -> None:
        decision_id = review.held.decision_id
        if not await self._kept(review, change, forget=change.after in FORGETTING, reply=reply):  # 5
            log.error("that the held request %s is %s is not kept: another node went on with it", decision_id, change.event)
            return
        try:
            await self._recording.of(decision_id)  # 6
        except AuditError as error:
            log.error("how the held request %s ended is not recorded yet: %s", decision_id, error)

    async def _kept(self, review: Review, change: Change, *, forget: bool = False, reply: bytes = b"") -> bool:
        """Whether this step was taken. A store that does not answer is asked until it does: should we end here, it counts as after 3."""
        while True:
            try:
                return await self._store.change(review.held.decision_id, review.version, change, forget=forget, reply=reply)
            except ReviewError as error:
                log.error("that the held request %s is %s cannot be stored yet: %s", review.held.decision_id, change.event, error)
                await asyncio.sleep(RETRY_S)

    async def _got(self, decision_id: str) -> Review | None:
        while True:
            try:
                return await self._store.get(decision_id)
            except ReviewError as error:
                log.error("the held request %s cannot be read yet: %s", decision_id, error)
                await asyncio.sleep(RETRY_S)


def _approval(review: Review) -> Change | None:
    return next((change for change in reversed(review.history) if change.after == State.APPROVED), None)


def _repeatable(review: Review, ready: Ready) -> bool:
    tried = sum(change.event == Event.REDISPATCHED for change in review.history)
    return ready.outbound.idempotent and tried < MOST_REDISPATCHES
