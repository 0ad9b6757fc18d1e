"""How a first request with an idempotency key ends decides what the next hears: what may have had its effect is not dispatched again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from adapters.local_repeats import LocalRepeats
from router.doors.runtime import KeptAnswers
from router.errors import DestinationError, ReviewError, StateError
from router.ports import Turn
from router.system import SystemClock
from tests.faults.gateway_harness import ALLOW, House, Reply

KEEPING = KeptAnswers(required=False, seconds=60, most=1000)


def house(policy: Mapping[str, Any] | None = None, repeats: Any = None, keeping: KeptAnswers = KEEPING) -> House:
    made = House(policy=policy)
    options = replace(made.runtime.options, keeping={"pay": keeping})
    made.runtime = replace(made.runtime, options=options, repeats=repeats or LocalRepeats(SystemClock()))
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


class _Failing:
    async def hold(self, decision: Any, outbound: Any) -> None:
        raise ReviewError("full")


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


async def test_an_exception_that_nobody_foresaw_keeps_the_key() -> None:
    """It may have happened."""
    made = house()
    made.answer = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await ask(made)
    made.answer = House().answer
    again = await ask(made)
    assert (again.status, again.code, len(made.reached)) == (409, "idempotency_unanswered", 1)
