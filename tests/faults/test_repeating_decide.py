"""Repeated calls of the decide API: how the first ends decides what the next hears, and nothing refused by now is let through by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from adapters.local_repeats import LocalRepeats
from router.doors.decide import DecideDoor
from router.doors.decide_models import DecideRequest
from router.doors.decide_repeating import Decided
from router.doors.runtime import KeptAnswers, Runtime
from router.errors import AuditError, LockgateError, RefusedError, ReviewError, StateError
from router.ports import Turn
from router.system import SystemClock, SystemRandom, UuidV7
from tests.faults.gateway_harness import ALLOW, CLERK, REVIEW, SURE, House, ScriptedTier
from tests.unit.identity.parts import HandClock

DENY = {"effect": "deny", "reasons": [{"code": "access.gone", "message": "no"}]}
ASKED = DecideRequest(text="cancel payment 4711")


class Api:
    """The door over a house; `repeats` may be another's."""

    def __init__(self, house: House, repeats: Any = None, **kept: Any) -> None:
        self.house = house
        keeping = KeptAnswers(**{"required": False, "seconds": 60, "most": 0, **kept})
        options = replace(house.runtime.options, decide_keeping=keeping)
        house.runtime = replace(house.runtime, options=options, repeats=LocalRepeats(SystemClock()) if repeats is None else repeats)

        @contextmanager
        def using() -> Iterator[Runtime]:
            yield house.runtime

        self._door = DecideDoor(using, SystemClock(), UuidV7(), SystemRandom(), house.seen)

    async def ask(self, *keys: str, wanted: DecideRequest = ASKED) -> Decided:
        await self.house.ledger.open()
        return await self._door.decide([(b"idempotency-key", key.encode()) for key in keys], "127.0.0.1", wanted)

    async def refused(self, *keys: str, wanted: DecideRequest = ASKED) -> tuple[str, int]:
        with pytest.raises(RefusedError) as caught:
            await self.ask(*keys, wanted=wanted)
        return caught.value.code, caught.value.status

    def records(self, schema: str) -> int:
        return sum(leaf["schema"] == f"lockgate.{schema}.v1" for leaf in self.house.leaves)


def of(decided: Decided) -> Mapping[str, Any]:
    found: Mapping[str, Any] = orjson.loads(decided.document)
    return found


def denying() -> House:
    return House(policy={"admission": ALLOW, "decision": DENY})


async def test_a_call_under_way_is_not_decided_twice() -> None:
    """409 while the first is being decided, whose caller hears its decision; afterwards the second hears the same."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> Any:
        reached.set()
        await go_on.wait()
        return SURE

    api = Api(House(tier=ScriptedTier(slowly), deadline_s=30))
    first = asyncio.create_task(api.ask("k"))
    await reached.wait()
    assert await api.refused("k") == ("idempotency_under_way", 409)
    go_on.set()
    again = await api.ask("k") if (decided := await first) else None
    assert again == Decided(decided.document, replayed=True)


async def test_a_key_is_for_one_question_of_one_caller() -> None:
    """Written otherwise it is the same question; another question is refused, undecided; another caller has keys of his own."""
    api = Api(House())
    first = await api.ask("k", wanted=DecideRequest(body={"message": "cancel it", "a": 1}))
    again = await api.ask("k", wanted=DecideRequest(body={"a": 1, "message": "cancel it"}))
    assert (again.document, again.replayed, first.replayed) == (first.document, True, False)
    assert await api.refused("k") == ("idempotency_key_reused", 422)
    assert (api.records("decision"), api.records("outcome")) == (2, 1)
    other = Api(House(caller=replace(CLERK, id="otto")), api.house.runtime.repeats)
    assert not (await other.ask("k")).replayed


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (("a", "b"), "idempotency_key_invalid"),
        (("",), "idempotency_key_invalid"),
        (("x" * 256,), "idempotency_key_invalid"),
        ((), "idempotency_key_missing"),
    ],
)
async def test_a_key_that_is_none_is_refused(keys: tuple[str, ...], code: str) -> None:
    """400, before anything is decided."""
    api = Api(House(), required=True)
    assert await api.refused(*keys) == (code, 400)
    assert api.records("decision") == 0


async def test_a_refusal_is_repeated_and_never_softened() -> None:
    """Who was refused hears the same decision again, also when policy would allow it by now."""
    before = Api(denying())
    first = await before.ask("k")
    for house in (denying(), House()):
        again = await Api(house, before.house.runtime.repeats).ask("k")
        assert again == Decided(first.document, replayed=True)
    assert of(first)["outcome"]["reason"] == "access.gone"


async def test_what_is_refused_by_now_is_not_let_through_by_what_was_allowed() -> None:
    """The repetition's own decision is given, as if there had been none before."""
    before = Api(House())
    assert of(await before.ask("k"))["outcome"] is None
    again = await Api(denying(), before.house.runtime.repeats).ask("k")
    assert (again.replayed, of(again)["outcome"]["reason"]) == (False, "access.gone")


async def test_a_call_without_a_decision_lets_go_of_its_key() -> None:
    """A ledger that fails once: the second call is the first, and is decided."""
    api = Api(House())
    append, api.house.ledger.append = api.house.ledger.append, _unwritable  # type: ignore[method-assign]
    with pytest.raises(LockgateError):
        await api.ask("k")
    api.house.ledger.append = append  # type: ignore[method-assign]
    assert not (await api.ask("k")).replayed


@pytest.mark.parametrize(("unsettled", "hears"), [(False, ("review_store_unavailable", 503)), (True, ("idempotency_unanswered", 409))])
async def test_a_call_that_may_be_held_keeps_its_key(unsettled: bool, hears: tuple[str, int]) -> None:
    """A person would be asked about both."""
    api, wanted = Api(House(policy={"admission": ALLOW, "decision": REVIEW})), DecideRequest(text="cancel payment 4711", hold=True)
    api.house.holds.failing = ReviewError("no answer")
    api.house.holds.failing.unsettled = unsettled
    assert await api.refused("k", wanted=wanted) == ("review_store_unavailable", 503)
    assert await api.refused("k", wanted=wanted) == hears


async def test_a_call_that_may_be_held_keeps_its_key_also_where_that_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the control process, which has both, has gone."""
    api, wanted = Api(House(policy={"admission": ALLOW, "decision": REVIEW})), DecideRequest(text="cancel payment 4711", hold=True)
    ledger = api.house.ledger

    async def gone(_: Any) -> None:
        ledger.failing = AuditError("it has gone")
        failed = ReviewError("no answer")
        failed.unsettled = True
        raise failed

    monkeypatch.setattr(api.house.holds, "hold", gone)
    with pytest.raises(AuditError):
        await api.ask("k", wanted=wanted)
    ledger.failing = None
    assert await api.refused("k", wanted=wanted) == ("idempotency_unanswered", 409)


@pytest.mark.parametrize("how", ["cut off", "unforeseen"])
async def test_a_call_that_ends_while_it_is_held_keeps_its_key(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Reviewers may see it, or will."""
    api, wanted = Api(House(policy={"admission": ALLOW, "decision": REVIEW})), DecideRequest(text="cancel payment 4711", hold=True)
    hold, reached = api.house.holds.hold, asyncio.Event()

    async def then_fails(held: Any) -> None:
        await hold(held)
        if how == "unforeseen" or reached.is_set():
            reached.set()
            raise ZeroDivisionError
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(api.house.holds, "hold", then_fails)
    asking = asyncio.create_task(api.ask("k", wanted=wanted))
    await reached.wait()
    if how == "cut off":
        asking.cancel()
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], ZeroDivisionError | asyncio.CancelledError)
    assert await api.refused("k", wanted=wanted) == ("idempotency_unanswered", 409)
    assert len(api.house.holds.held) == 1


async def test_a_call_that_takes_long_to_be_held_keeps_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the store is away and many wait for it: whoever asks again meanwhile is held only once."""
    clock = HandClock()
    api = Api(House(policy={"admission": ALLOW, "decision": REVIEW}), LocalRepeats(clock), seconds=86_400)
    wanted, hold, reached, go_on = (
        DecideRequest(text="cancel payment 4711", hold=True),
        api.house.holds.hold,
        asyncio.Event(),
        asyncio.Event(),
    )

    async def slowly(held: Any) -> None:
        reached.set()
        await go_on.wait()
        await hold(held)

    monkeypatch.setattr(api.house.holds, "hold", slowly)
    first = asyncio.create_task(api.ask("k", wanted=wanted))
    await reached.wait()
    monkeypatch.setattr(api.house.holds, "hold", hold)
    clock.forward(3_601.0)
    assert await api.refused("k", wanted=wanted) == ("idempotency_under_way", 409)
    go_on.set()
    await first
    assert len(api.house.holds.held) == 1


async def _unwritable(*_: Any, **__: Any) -> Any:
    raise AuditError("the disk is full")


class _Forgetful:
    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        raise StateError("gone")

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        raise StateError("gone")

    async def release(self, key: str, token: str) -> None:
        raise StateError("gone")


async def test_without_anybody_who_remembers_the_configuration_decides() -> None:
    """Refused before a decision, or decided twice."""
    closed = Api(House(), _Forgetful())
    assert await closed.refused("k") == ("idempotency_unavailable", 503)
    assert closed.records("decision") == 0
    opened = Api(House(), _Forgetful(), open=True)
    assert of(await opened.ask("k"))["id"] != of(await opened.ask("k"))["id"]


class _Late(LocalRepeats):
    """Hears a claim, and is too late to say so; once."""

    late = True

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        found = await super().begin(key, fingerprint, token, seconds)
        if self.late:
            self.late = False
            raise StateError("late")
        return found


async def test_a_claim_that_was_heard_and_not_answered_leaves_no_key_under_way() -> None:
    """Whoever was refused for it asks again and is the first; whoever was given a decision all the same is given it again."""
    api = Api(House(), _Late(SystemClock()))
    assert await api.refused("k") == ("idempotency_unavailable", 503)
    assert not (await api.ask("k")).replayed
    going_on = Api(House(), _Late(SystemClock()), open=True)
    first = await going_on.ask("k")
    assert await going_on.ask("k") == Decided(first.document, replayed=True)
