"""Telling people of held requests: who is told what, once, and what becomes of what cannot be told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.memory_ledger import MemoryLedger
from adapters.memory_notices import MemoryNotices
from adapters.memory_notifier import MemoryNotifier
from router.errors import DestinationError, ReviewError
from router.ports import Change, Review
from router.review.notices import EVENTS, SETTLED, Filter, Wanted, notices
from router.review.notifying import Budget, Channels, Notifying
from router.review.state import State
from router.system import SystemRandom
from tests.unit.identity.parts import HandClock
from tests.unit.review.parts import RITA, Desk

NS = 1_000_000_000
ALL = Filter(frozenset(EVENTS))
LINK = "https://lockgate.example.com/console/reviews/{review}"


class Yard:
    """A desk whose held requests are told of over one channel, `duty`."""

    def __init__(self, desk: Desk, clock: HandClock) -> None:
        self.desk, self.clock = desk, clock
        self.store, self.channel = MemoryNotices(), MemoryNotifier()
        self.notifying = self.node()

    def node(self, name: str = "one", per_minute: int = 60, **wanted: Any) -> Notifying:
        made = Notifying(self.store, self.desk.store, self.clock, SystemRandom(), name, shared=True)
        self.take_up(made, per_minute=per_minute, **wanted)
        return made

    def take_up(self, notifying: Notifying, passing: Filter = ALL, before_s: float = 600.0, per_minute: int = 60) -> None:
        wanted = (Wanted("duty", passing, before_s, 3600.0),)
        notifying.take_up(Channels(LINK, wanted, {"duty": self.channel}, {"duty": Budget(per_minute)}))

    async def rounds(self, notifying: Notifying | None = None) -> None:
        told = notifying or self.notifying
        await told.round()
        await told.settled()

    async def held(self, number: int = 1, **wanted: Any) -> str:
        review = await self.desk.held(number, **wanted)
        self.notifying.changed(review)
        return review

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(notice.event, notice.review) for notice, _ in self.channel.told]


@pytest.fixture
async def yard(desk: Desk, clock: HandClock) -> AsyncIterator[Yard]:
    made = Yard(desk, clock)
    yield made
    await made.notifying.close()


async def review_of(desk: Desk, **wanted: Any) -> Review:
    found = await desk.store.get(await desk.held(**wanted))
    assert found is not None
    return found


async def test_a_held_request_is_told_once_with_a_link(yard: Yard) -> None:
    """However often it is looked at; what is told has nothing personal, and the link is to the review."""
    review = await yard.held()
    for _ in range(3):
        yard.notifying.changed(review)
        await yard.rounds()
    ((notice, link),) = yard.channel.told
    assert (notice.event, notice.review, notice.risk, notice.route) == ("held", review, "medium", "bank.ask")
    assert link == f"https://lockgate.example.com/console/reviews/{review}"
    assert "anna" not in repr(notice)
    assert yard.notifying.counts["duty", "sent"] == 1


async def test_that_it_expires_soon_is_told_then(yard: Yard) -> None:
    """Not before, and not of what was decided."""
    first, second = await yard.held(1), await yard.held(2)
    await yard.rounds()
    yard.clock.forward(3001)
    await yard.desk.service.reject(second, RITA, "")
    await yard.rounds()
    assert sorted(yard.told) == [("expiring", first), ("held", first), ("held", second)]
    assert yard.notifying.counts["duty", "moot"] == 1


async def test_a_short_life_is_told_of_at_its_half(desk: Desk) -> None:
    """And not at once with the news that there is a request."""
    review = await review_of(desk, expires="10m")
    (soon,) = notices(review, [Wanted("duty", Filter(frozenset({"expiring"})), 3600.0, 60.0)])
    assert soon.due_ns == review.held.created_ns + 300 * NS


@pytest.mark.parametrize(
    ("event", "told"),
    [("escalated", "escalated"), ("information_asked", "information_asked"), ("information_given", "held"), ("endorsed", None)],
)
async def test_steps_that_people_hear_of(desk: Desk, event: str, told: str | None) -> None:
    """Each time that it happens, under an id of its own; most steps they do not hear of."""
    review = await review_of(desk)
    step = Change(event, "pending", "pending", 20)
    found = list(notices(replace(review, history=(*review.history, step, step)), [Wanted("duty", ALL, 60.0, 60.0)]))
    assert [notice.event for notice in found] == ["held", *([told] * 2 if told else []), "expiring"]
    assert len({notice.id for notice in found}) == len(found)


@pytest.mark.parametrize(
    ("passing", "wanted"),
    [
        (Filter(frozenset({"held"})), 1),
        (Filter(frozenset({"escalated"})), 0),
        (Filter(frozenset({"held"}), risks=frozenset({"medium"})), 1),
        (Filter(frozenset({"held"}), risks=frozenset({"critical"})), 0),
        (Filter(frozenset({"held"}), routes=("bank.*",)), 1),
        (Filter(frozenset({"held"}), routes=("bank", "other.*")), 0),
        (Filter(frozenset({"held"}), roles=frozenset({"manager", "x"})), 1),
        (Filter(frozenset({"held"}), roles=frozenset({"x"})), 0),
    ],
)
async def test_filters_say_who_hears_of_what(desk: Desk, passing: Filter, wanted: int) -> None:
    """By event, risk, route and the roles of whom policy wants a decision."""
    assert len(list(notices(await review_of(desk), [Wanted("duty", passing, 60.0, 60.0)]))) == wanted


@pytest.mark.parametrize("state", sorted(SETTLED))
async def test_nobody_hears_of_what_needs_nobody(desk: Desk, state: str) -> None:
    """Whatever its history says."""
    assert list(notices(replace(await review_of(desk), state=state), [Wanted("duty", ALL, 60.0, 60.0)])) == []


def test_every_state_is_one_that_needs_somebody_or_is_not() -> None:
    """A new state that nobody thought of here is told of; this says which ones are."""
    assert {state for state in State if state not in SETTLED} >= {State.PENDING}
    assert {State.APPROVED, State.REJECTED, State.EXPIRED, State.RELEASED, State.DISPATCHING, State.DONE, State.FAILED} <= SETTLED


async def test_a_crash_before_anything_was_noted_loses_nothing(yard: Yard) -> None:
    """Whoever starts next looks at everything that waits."""
    review = await yard.desk.held()  # and then the process is gone
    await yard.rounds(yard.node("two"))
    assert yard.told == [("held", review)]


async def test_a_crash_while_it_was_told_tells_it_again_under_its_id(yard: Yard) -> None:
    """At least once: another node has it when the lease is over, and not before."""
    await yard.held()
    now_ns = yard.clock.now_ns()
    await yard.notifying._note(next(iter(yard.notifying._changed)))
    (leased,) = await yard.store.lease("gone", now_ns, now_ns + 60 * NS, 9)
    await yard.channel.tell(leased, "")  # and then that node is gone
    other = yard.node("two")
    await yard.rounds(other)
    assert len(yard.channel.told) == 1
    yard.clock.forward(61)
    await yard.rounds(other)
    assert len({notice.id for notice, _ in yard.channel.told}) == 1
    assert len(yard.channel.told) == 2


async def test_two_nodes_tell_it_once(yard: Yard) -> None:
    """Both saw it, and one has the lease."""
    review, other = await yard.held(), yard.node("two")
    other.changed(review)
    await yard.notifying.round()
    await other.round()
    await yard.notifying.settled()
    await other.settled()
    assert yard.told == [("held", review)]


async def test_what_fails_is_tried_again_with_growing_waits_and_then_given_up(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    """Within its patience; that it was given up is counted and logged with its reason."""
    review = await yard.held()
    yard.channel.failing = DestinationError("no", "upstream_denied")
    tries = 0
    for _ in range(3600):
        await yard.rounds()
        yard.clock.forward(1)
        tries = yard.notifying.counts["duty", "postponed"]
        if yard.notifying.counts["duty", "failed"]:
            break
    assert 10 < tries < 40
    assert yard.notifying.counts["duty", "failed"] == 1
    assert f"the notice held of the held request {review} was not told by duty: upstream_denied" in caplog.text
    yard.channel.failing = None
    await yard.rounds()
    assert [event for event, _ in yard.told if event == "held"] == []


async def test_it_is_told_once_the_channel_takes_it_again(yard: Yard) -> None:
    """And not before the other side wants it."""
    await yard.held()
    yard.channel.failing = DestinationError("slowly", "upstream_throttled")
    yard.channel.failing.wait = 120.0
    await yard.rounds()
    yard.channel.failing = None
    yard.clock.forward(119)
    await yard.rounds()
    assert yard.told == []
    yard.clock.forward(2)
    await yard.rounds()
    assert len(yard.told) == 1


async def test_a_channel_that_nobody_configured_any_more_gets_nothing(yard: Yard) -> None:
    """What was to be told by it is tried until its patience ends: another node may know it."""
    await yard.held()
    yard.channel.failing = DestinationError("no", "connect_failed")
    await yard.rounds()
    yard.notifying.take_up(Channels())
    yard.clock.forward(10)
    await yard.rounds()
    assert {row.reason for row in yard.store.rows.values() if row.notice.event == "held"} == {"notifier_unknown"}


async def test_a_flood_is_told_as_fast_as_the_channel_may_be_used(yard: Yard) -> None:
    """The rest waits, in its own order, and costs no attempt."""
    yard.take_up(yard.notifying, passing=Filter(frozenset({"held"})), per_minute=5)
    for number in range(1, 13):
        await yard.held(number)
    told = []
    for _ in range(4):
        await yard.rounds()
        told.append(len(yard.channel.told))
        yard.clock.forward(60)
    assert told == [5, 10, 12, 12]
    assert {notice.attempts for notice, _ in yard.channel.told} == {0}


async def test_a_channel_that_is_too_slow_for_all_gives_the_rest_up_in_time(yard: Yard) -> None:
    """Named as such."""
    yard.take_up(yard.notifying, passing=Filter(frozenset({"held"})), per_minute=1)
    for number in range(1, 4):
        await yard.held(number, expires="10d")
    await yard.rounds()
    assert sorted(row.reason for row in yard.store.rows.values()) == ["", "notifier_busy", "notifier_busy"]
    yard.notifying.channels.budgets["duty"].per_minute = 0
    yard.notifying.channels.budgets["duty"].under_way = 99
    yard.clock.forward(3601)
    await yard.rounds()
    assert sorted(row.reason for row in yard.store.rows.values()) == ["", "notice_expired", "notice_expired"]


async def test_a_new_configuration_tells_those_who_were_not_told(yard: Yard) -> None:
    """Of what waits already."""
    yard.take_up(yard.notifying, passing=Filter(frozenset({"escalated"})))
    review = await yard.held()
    await yard.rounds()
    assert yard.told == []
    yard.take_up(yard.notifying)
    await yard.rounds()
    assert yard.told == [("held", review)]


class _Away(MemoryNotices):
    """A store that does not answer while `away`."""

    away = True

    async def add(self, notices: Any) -> None:
        if self.away:
            raise ReviewError("the store of notices does not answer")
        await super().add(notices)


async def test_a_store_that_does_not_answer_is_asked_again(desk: Desk, clock: HandClock, ledger: MemoryLedger) -> None:
    """Holding does not notice; what was to be told is told later."""
    yard = Yard(desk, clock)
    store = yard.store = _Away()
    yard.notifying = yard.node()
    review = await yard.held()
    with pytest.raises(ReviewError):
        await yard.rounds()
    store.away = False
    await yard.rounds()
    assert yard.told == [("held", review)]


def test_figures_begin_with_zeros() -> None:
    """So that a first failure is a rise."""
    notifying = Notifying(MemoryNotices(), None, HandClock(), SystemRandom(), "one", shared=False)  # type: ignore[arg-type]  # not asked
    notifying.take_up(Channels(LINK, (), {"duty": MemoryNotifier()}, {}))
    assert list(notifying.figures()) == [("duty", result, 0) for result in ("sent", "postponed", "failed", "moot")]
