"""Tells people that held requests wait for them: durable, at least once, and never in the way of what is held.

    1 a review changed                 crash after it: it is looked at again when Lockgate starts, and by the other nodes now and then
    2 its notices are durable          crash after it: they are told when somebody leases them
    3 one is leased and told           crash after it: it is told once more when the lease is over, under the same id
    4 that it was told is durable

What fails is tried again until its patience ends. All of it is: a chat's URL that is refused may be mended within the hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from router.errors import DestinationError, LockgateError, ReviewError
from router.ports import Clock, HeldRequests, Notice, Notices, NoticesStanding, Notifier, Random, Review
from router.review.notices import BREAK_GLASS, SETTLED, Wanted, alarms, notices
from router.review.resuming import FAR_NS, RESUME, Resumer, notice_id
from router.review.standing import ENDED
from router.review.state import State

log = logging.getLogger("lockgate.notices")
Untold = Callable[[Notice, str], Awaitable[None]]
NS = 1_000_000_000
LOOK_S = 2.0
LEASE_S, TELL_S = 60.0, 45.0
AT_ONCE, AT_ONCE_EACH = 64, 8
MANY = 1000
SWEEP_S, FORGET_S = 300.0, 3600.0
BACKOFF_S, MOST_BACKOFF_S = 2.0, 300.0
SENT, POSTPONED, FAILED, MOOT = "sent", "postponed", "failed", "moot"
UNREADABLE = frozenset(("subject_erased", "content_changed"))  # what is sealed will never be opened
RESULTS = (SENT, POSTPONED, FAILED, MOOT)
NOTIFIER_UNKNOWN, NOTICE_EXPIRED, NOTIFIER_BUSY = "notifier_unknown", "notice_expired", "notifier_busy"


async def _nobody(notice: Notice, reason: str) -> None:
    """For who keeps no record, as in tests."""


@dataclass(slots=True)
class Budget:
    """Of one notifier: a bucket with a minute's notices in it."""

    per_minute: int
    under_way: int = 0
    left: float = 0.0
    at_ns: int | None = None

    def wait_s(self, now_ns: int) -> float:
        """0 where one may be told now, which is counted then."""
        passed = 60 * NS if self.at_ns is None else now_ns - self.at_ns
        self.left = min(float(self.per_minute), self.left + passed / NS * self.per_minute / 60.0)
        self.at_ns = now_ns
        if self.under_way >= AT_ONCE_EACH:
            return LOOK_S
        if self.left < 1.0:
            return (1.0 - self.left) * 60.0 / self.per_minute
        self.left -= 1.0
        return 0.0


@dataclass(frozen=True, slots=True)
class Channels:
    """What the configuration says now. `link` has `{review}` where the id belongs."""

    link: str = ""
    wanted: Sequence[Wanted] = ()
    by_name: Mapping[str, Notifier] = field(default_factory=dict)
    budgets: Mapping[str, Budget] = field(default_factory=dict)

    def to(self, notice: Notice) -> str:
        if notice.event == BREAK_GLASS:
            parts = urlsplit(self.link)
            return f"{parts.scheme}://{parts.netloc}/console/"
        return self.link.replace("{review}", notice.review)


class Notifying:
    """`owner` is this start of this node; `shared`: other nodes hold requests in the same store."""

    def __init__(self, store: Notices, reviews: HeldRequests, clock: Clock, random: Random, owner: str, *, shared: bool) -> None:
        self._store, self._reviews, self._clock, self._random = store, reviews, clock, random
        self._owner, self._shared = owner, shared
        self.channels = Channels()
        self.resumer: Resumer | None = None
        self._changed: set[str] = set()
        self._going: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._swept_ns: int | None = None
        self._forgot_ns: int | None = None
        self.counts: Counter[tuple[str, str]] = Counter()
        self.standing = NoticesStanding(0, 0)
        self.untold: Untold = _nobody

    def take_up(self, channels: Channels) -> None:
        """Requests that wait already are looked at anew: who is told of now may not have been told of before."""
        self.channels, self._swept_ns = channels, None
        self._wake.set()

    def changed(self, review_id: str) -> None:
        """Never waits and never fails."""
        self._changed.add(review_id)
        self._wake.set()

    async def alarm(self, mark: str, case: str, until_ns: int) -> list[str]:
        """That somebody breaks the glass: durable when it returns, with who is going to be told. Raises ReviewError."""
        made = list(alarms(mark, case, self._clock.now_ns(), until_ns, self.channels.wanted))
        if made:
            await self._store.add(made)
            self._wake.set()
        return [each.notifier for each in made]

    async def keep(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.round()
            except LockgateError as error:
                log.error("notices are left as they are for now: %s", error)
            except Exception:  # the rounds must go on
                log.exception("a round over the notices failed in a way that nobody foresaw")
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def round(self) -> None:
        now_ns = self._clock.now_ns()
        for review_id in list(self._changed):
            await self._note(review_id)
        if self._swept_ns is None or (self._shared and now_ns - self._swept_ns > SWEEP_S * NS):
            await self._sweep()
            self._swept_ns = now_ns
        if self._forgot_ns is None or now_ns - self._forgot_ns > FORGET_S * NS:
            await self._store.forget(now_ns)
            self._forgot_ns = now_ns
        await self._tell_due()
        self.standing = await self._store.standing(self._clock.now_ns())

    async def close(self) -> None:
        """What is under way is told again by whoever leases it next."""
        going = list(self._going)
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)

    async def settled(self) -> None:
        """Returns when nothing is under way."""
        while self._going:
            await asyncio.wait(self._going)

    async def _note(self, review_id: str) -> None:
        self._changed.discard(review_id)  # before it is looked at: it may change meanwhile
        try:
            review = await self._reviews.get(review_id)
            if review is not None and (made := list(notices(review, self.channels.wanted))):
                await self._store.add(made)  # 2
            if review is not None and review.state in ENDED:
                await self._store.hasten(notice_id(review_id), FAR_NS, self._clock.now_ns())
        except BaseException:
            self._changed.add(review_id)
            raise

    async def _sweep(self) -> None:
        open_states, after = [state for state in State if state not in SETTLED], 0
        while page := await self._reviews.page(open_states, after, MANY):
            made = [notice for _, review in page for notice in notices(review, self.channels.wanted)]
            if made:
                await self._store.add(made)
            after = page[-1][0]
        await self._sweep_resting()

    async def _sweep_resting(self) -> None:
        beyond = ""
        while page := await self._store.rests(FAR_NS, beyond, MANY):
            for notice in page:
                review = await self._reviews.get(notice.review)
                if review is not None and review.state in ENDED:
                    await self._store.hasten(notice.id, FAR_NS, self._clock.now_ns())
            beyond = page[-1].id

    async def _tell_due(self) -> None:
        while (free := AT_ONCE - len(self._going)) > 0:
            now_ns = self._clock.now_ns()
            taken = await self._store.lease(self._owner, now_ns, now_ns + int(LEASE_S * NS), free)
            for notice in taken:
                task = asyncio.create_task(self._guarded(notice))
                self._going.add(task)
                task.add_done_callback(self._ended)
            if len(taken) < free:
                return
        # All places are taken: whoever ends wakes the next round.

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._going) == AT_ONCE:
            self._wake.set()
        self._going.discard(task)

    async def _guarded(self, notice: Notice) -> None:
        try:
            await self._one(notice)
        except LockgateError as error:  # its lease ends, and it is leased again
            log.error("the notice %s of %s is left for now: %s", notice.id, notice.notifier, error)
        except Exception:
            log.exception("telling the notice %s failed in a way that nobody foresaw", notice.id)

    async def _one(self, notice: Notice) -> None:
        now_ns = self._clock.now_ns()
        review = await self._reviews.get(notice.review) if notice.event != BREAK_GLASS else None
        if notice.event == RESUME:
            await self._resume(notice, review)
            return
        if notice.event != BREAK_GLASS and (review is None or review.state in SETTLED):
            await self._end(notice, MOOT)
            return
        channel, budget = self.channels.by_name.get(notice.notifier), self.channels.budgets.get(notice.notifier)
        if channel is None or budget is None:
            await self._later(notice, None, reason=NOTIFIER_UNKNOWN)
        elif wait_s := budget.wait_s(now_ns):
            await self._later(notice, wait_s, reason=NOTIFIER_BUSY, tried=False)
        else:
            await self._told(notice, channel, budget)

    async def _resume(self, notice: Notice, review: Review | None) -> None:
        if review is None or self.resumer is None:
            await self._later(notice, None, reason=NOTIFIER_UNKNOWN)
            return
        try:
            async with asyncio.timeout(TELL_S):
                await self.resumer.tell(notice, review)  # 3
        except TimeoutError:
            await self._later(notice, None, reason="upstream_timeout")
        except ReviewError as error:
            if error.code not in UNREADABLE:
                raise
            await self._given_up(notice, error.code)
        except DestinationError as error:
            await (self._given_up(notice, error.code) if error.final else self._later(notice, error.wait, reason=error.code))
        else:
            await self._end(notice, SENT)  # 4

    async def _given_up(self, notice: Notice, reason: str) -> None:
        of = "the incident" if notice.event == BREAK_GLASS else "the held request"
        log.error("the notice %s of %s %s was not told by %s: %s", notice.event, of, notice.review, notice.notifier, reason)
        if notice.event == BREAK_GLASS:  # on record before it is forgotten; a ledger that is down has it tried once more
            await self.untold(notice, reason)
        await self._end(notice, FAILED, reason=reason)

    async def _told(self, notice: Notice, channel: Notifier, budget: Budget) -> None:
        budget.under_way += 1
        try:
            async with asyncio.timeout(TELL_S):
                await channel.tell(notice, self.channels.to(notice))  # 3
        except TimeoutError:
            await self._later(notice, None, reason="upstream_timeout")
        except DestinationError as error:
            await self._later(notice, error.wait, reason=error.code)
        else:
            await self._end(notice, SENT)  # 4
        finally:
            budget.under_way -= 1

    async def _later(self, notice: Notice, wait_s: float | None, *, reason: str, tried: bool = True) -> None:
        now_ns = self._clock.now_ns()
        backoff_s = min(MOST_BACKOFF_S, BACKOFF_S * 2.0 ** min(notice.attempts, 30)) * (1.0 - self._random.random() / 2)
        due_ns = now_ns + int(max(backoff_s if tried else 0.0, wait_s or 0.0) * NS)
        if due_ns > notice.until_ns:
            await self._given_up(notice, reason=reason if tried else NOTICE_EXPIRED)
            return
        if tried:
            self.counts[notice.notifier, POSTPONED] += 1
            log.warning("the notice %s of the held request %s waits for %s: %s", notice.event, notice.review, notice.notifier, reason)
        await self._store.postpone(self._owner, notice.id, notice.attempts + tried, due_ns, reason)

    async def _end(self, notice: Notice, result: str, reason: str = "") -> None:
        if await self._store.end(self._owner, notice.id, result, reason):
            self.counts[notice.notifier, result] += 1

    def figures(self) -> Iterator[tuple[str, str, int]]:
        """(notifier, result, how many), those too that are none: a first failure is to be seen as a rise."""
        names = {*self.channels.by_name, *(name for name, _ in list(self.counts))}
        yield from ((name, result, self.counts[name, result]) for name in sorted(names) for result in RESULTS)
