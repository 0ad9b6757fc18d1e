"""How a first request with an idempotency key ends decides what the next hears: what may have had its effect is not dispatched again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from adapters.local_repeats import LocalRepeats
from router.decision import Subject
from router.doors.relay import TOO_LARGE
from router.doors.repeating import LONGEST_KEY, REPLAYED
from router.doors.runtime import KeptAnswers
from router.errors import DestinationError, ReviewError, StateError
from router.ports import Turn
from router.system import SystemClock
from tests.faults.gateway_harness import ALLOW, CLERK, House, Reply

KEEPING = KeptAnswers(required=False, seconds=60, most=1000)


def house(policy: Mapping[str, Any] | None = None, repeats: Any = None, keeping: KeptAnswers = KEEPING, caller: Subject = CLERK) -> House:
    made = House(policy=policy, caller=caller)
    options = replace(made.runtime.options, keeping={"pay": keeping})
    made.runtime = replace(made.runtime, options=options, repeats=LocalRepeats(SystemClock()) if repeats is None else repeats)
    return made


async def ask(made: House, key: str = "k") -> Reply:
    return await made.ask(headers=[(b"idempotency-key", key.encode())])


def endings(made: House) -> list[tuple[str, int, str]]:
    outcomes = [leaf["outcome"] for leaf in made.leaves if leaf["schema"] == "lockgate.outcome.v1"]
    return [(each["result"], each["status"], each["reason"]) for each in outcomes]


@pytest.mark.parametrize(
    ("code", "sent", "dispatched", "hears"),
    [
        ("connect_failed", False, 2, 200),
        ("circuit_open", False, 2, 200),
        ("upstream_reset", True, 1, 409),
        ("upstream_timeout", True, 1, 409),
    ],
)
async def test_a_failure_lets_go_of_the_key_only_where_nothing_was_sent(code: str, sent: bool, dispatched: int, hears: int) -> None:
    """The second one is dispatched, or refused."""
    made = house()
    made.answer = DestinationError("it failed", code, 502, sent=sent)
    assert (await ask(made)).status == 502
    made.answer = House().answer
    again = await ask(made)
    assert (again.status, len(made.reached)) == (hears, dispatched)


async def test_an_error_of_the_service_is_its_answer() -> None:
    """Whatever its status: the service said it, and says it again."""
    made = house()
    made.answer = replace(House().answer, status=503)  # type: ignore[type-var]
    first, again = await ask(made), await ask(made)
    assert (first.status, again.status, again.body, len(made.reached)) == (503, 503, first.body, 1)
    assert again.headers[b"idempotent-replayed"] == b"true"
    assert endings(made) == [("routed", 503, ""), ("routed", 503, "idempotency_replayed")]


async def test_what_policy_does_not_allow_any_more_is_not_answered_either() -> None:
    """The second is judged as any request."""
    policy = {"admission": ALLOW, "decision": ALLOW}
    made = house(policy)
    assert (await ask(made)).status == 200
    denied = house({"admission": ALLOW, "decision": {"effect": "deny", "reasons": [{"code": "access.gone"}]}}, made.runtime.repeats)
    refused = await ask(denied)
    assert (refused.status, refused.code) == (403, "access.gone")


@pytest.mark.parametrize(("most", "status", "ending"), [(4, 200, ("routed", 200, REPLAYED)), (3, 502, ("failed", 502, TOO_LARGE))])
async def test_of_a_kept_answer_no_more_is_told_than_policy_allows_by_now(most: int, status: int, ending: tuple[str, int, str]) -> None:
    """As of one that is not kept, which may have come under another policy; the service is asked for none."""
    made = house()
    first = await ask(made)
    limited = {**ALLOW, "obligations": [{"name": "limit_response", "params": {"bytes": most}}]}
    later = house({"admission": ALLOW, "decision": limited}, made.runtime.repeats)
    again = await ask(later)
    assert (first.body, again.status, again.complete, len(later.reached)) == (b"done", status, True, 0)
    assert (again.body == first.body) is (status == 200)
    assert endings(later) == [ending]


async def test_that_a_request_waits_is_told_again_whatever_an_answer_may_have() -> None:
    """It is no service's answer; what the service answered before policy wanted a review is one."""
    limit = {"name": "limit_response", "params": {"bytes": 1}}
    policy = {"admission": ALLOW, "decision": {"effect": "review", "reasons": [{"code": "four_eyes"}], "obligations": [limit]}}
    made = house(policy)
    first, again = await ask(made), await ask(made)
    assert (first.status, again.status, again.body) == (202, 202, first.body)

    answered = house()
    answered.answer = replace(House().answer, status=202)  # type: ignore[type-var]
    assert (await ask(answered)).status == 202
    assert (await ask(house(policy, answered.runtime.repeats))).code == TOO_LARGE


@pytest.mark.parametrize(("key", "status"), [("", 400), ("k", 200), ("k" * LONGEST_KEY, 200), ("k" * (LONGEST_KEY + 1), 400)])
async def test_a_key_is_neither_empty_nor_long(key: str, status: int) -> None:
    """Such a one is refused, and remembered by nobody."""
    made = house()
    asked = await ask(made, key)
    assert (asked.status, len(made.reached)) == (status, int(status == 200))
    if status == 400:
        assert asked.code == "idempotency_key_invalid"
        assert endings(made) == [("denied", 400, "idempotency_key_invalid")]
    assert len(made.runtime.repeats) == int(status == 200)  # type: ignore[arg-type]  # the local ones


async def test_where_no_answers_are_kept_a_key_is_the_services_affair() -> None:
    """It is passed on as it came."""
    made = House()
    assert (await ask(made, "k" * (LONGEST_KEY + 1))).status == 200
    assert dict(made.reached[0].headers)[b"idempotency-key"] == b"k" * (LONGEST_KEY + 1)


async def test_no_caller_is_answered_what_another_was() -> None:
    """However their names and keys run together."""
    ann, other = replace(CLERK, id="alice", tenant="acme"), replace(CLERK, id="alice acme", tenant="x")
    made = house(caller=ann)
    assert (await ask(made, "x k")).status == 200
    later = house(repeats=made.runtime.repeats, caller=other)
    answer = await ask(later, "k")
    assert (answer.status, len(later.reached), answer.headers.get(b"idempotent-replayed")) == (200, 1, None)


async def test_a_held_request_is_held_once() -> None:
    """Who repeats it hears the same 202, and reviewers see one request; one that could not be held may be made again."""
    made = house({"admission": ALLOW, "decision": {"effect": "review", "reasons": [{"code": "four_eyes"}]}})
    first, again = await ask(made), await ask(made)
    assert (first.status, again.status, again.body, len(made.holds.held)) == (202, 202, first.body, 1)
    assert again.headers[b"idempotent-replayed"] == b"true"
    assert endings(made) == [("held", 202, "idempotency_replayed")]

    full = house({"admission": ALLOW, "decision": {"effect": "review", "reasons": [{"code": "four_eyes"}]}})
    holder, full.runtime = full.runtime.holder, replace(full.runtime, holder=_Failing())
    assert (await ask(full)).status == 503
    full.runtime = replace(full.runtime, holder=holder)
    assert (await ask(full)).status == 202


async def test_one_that_may_be_held_is_not_held_again() -> None:
    """Its answer was lost: a person would be asked about both, and with two approvals it would be done twice."""
    made = house({"admission": ALLOW, "decision": {"effect": "review", "reasons": [{"code": "four_eyes"}]}})
    holder, made.runtime = made.runtime.holder, replace(made.runtime, holder=_Failing(unsettled=True))
    first = await ask(made)
    made.runtime = replace(made.runtime, holder=holder)
    again = await ask(made)
    assert (first.status, again.status, again.code, made.holds.held) == (503, 409, "idempotency_unanswered", [])
    assert endings(made) == [("failed", 503, "review_store_unavailable"), ("denied", 409, "idempotency_unanswered")]


class _Failing:
    def __init__(self, *, unsettled: bool = False) -> None:
        self._unsettled = unsettled

    async def hold(self, decision: Any, outbound: Any) -> None:
        failed = ReviewError("full")
        failed.unsettled = self._unsettled
        raise failed


class _Forgetful:
    """Claims, and then does not answer any more."""

    def __init__(self, *, begins: bool) -> None:
        self._begins = begins

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        if self._begins:
            return Turn.FIRST, b""
        raise StateError("gone")

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        raise StateError("gone")

    async def release(self, key: str, token: str) -> None:
        raise StateError("gone")


async def test_an_answer_that_cannot_be_kept_reaches_its_caller() -> None:
    """It happened, and is on record; that it is not kept is in the log."""
    made = house(repeats=_Forgetful(begins=True))
    assert (await ask(made)).status == 200
    assert endings(made) == [("routed", 200, "")]


@pytest.mark.parametrize(("goes_on", "status", "dispatched"), [(False, 503, 0), (True, 200, 1)])
async def test_without_anybody_to_ask_it_is_as_configured(goes_on: bool, status: int, dispatched: int) -> None:
    """Refused by name and recorded, or dispatched; without a key nobody is asked."""
    made = house(repeats=_Forgetful(begins=False), keeping=replace(KEEPING, open=goes_on))
    assert ((await ask(made)).status, len(made.reached)) == (status, dispatched)
    assert endings(made) == [("routed", 200, "") if goes_on else ("denied", 503, "idempotency_unavailable")]
    assert (await made.ask()).status == 200


class _Late(LocalRepeats):
    """Hears a claim, and is too late to say so."""

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        await super().begin(key, fingerprint, token, seconds)
        raise StateError("late")


@pytest.mark.parametrize(("goes_on", "statuses"), [(False, [503, 200]), (True, [200, 200])])
async def test_a_claim_that_was_heard_and_not_answered_leaves_no_key_under_way(goes_on: bool, statuses: list[int]) -> None:
    """Whoever was refused for it asks again and is the first; whoever went on has the answer kept. Either way it is dispatched once."""
    keeping, late = replace(KEEPING, open=goes_on), _Late(SystemClock())
    made = house(repeats=late, keeping=keeping)
    first = await ask(made)
    kept = LocalRepeats(SystemClock())
    kept._kept = late._kept
    later = house(repeats=kept, keeping=keeping)
    again = await ask(later)
    assert ([first.status, again.status], len(made.reached) + len(later.reached)) == (statuses, 1)
    assert endings(later) == [("routed", 200, REPLAYED if goes_on else "")]


class _Later(SystemClock):
    hours = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.hours * 3600 * 1_000_000_000


class _Killed(LocalRepeats):
    """Whoever claims here is killed before it says how it ended."""

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        return None


@pytest.mark.parametrize(("keep", "hours", "status"), [(86_400, 23, 409), (86_400, 25, 200), (60, 0, 409), (60, 2, 200)])
async def test_what_nobody_knows_the_end_of_is_not_done_again_while_its_answer_would_be_kept(keep: int, hours: int, status: int) -> None:
    """It may have had its effect."""
    clock = _Later()
    made = house(repeats=_Killed(clock), keeping=replace(KEEPING, seconds=keep))
    assert (await ask(made)).status == 200
    clock.hours = hours
    assert ((await ask(made)).status, len(made.reached)) == (status, 1 if status == 409 else 2)


async def test_an_exception_that_nobody_foresaw_keeps_the_key() -> None:
    """It may have happened."""
    made = house()
    made.answer = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await ask(made)
    made.answer = House().answer
    again = await ask(made)
    assert (again.status, again.code, len(made.reached)) == (409, "idempotency_unanswered", 1)
