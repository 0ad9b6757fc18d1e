"""What is told of a delivery, from its row and from records."""

from __future__ import annotations

from typing import Any

import pytest

from router.audit.beside import Waiting
from router.delivery.fates import Fate, State, recorded, waiting
from router.ports import Delivery, Due

NS = 1_000_000_000


def row(due: Due = Due.DISPATCH, *, dead: bool = False, due_ns: int = 0, leased_ns: int = 0) -> Waiting:
    return Waiting(1, dead, Delivery("d", "orders", "shop", due, "k", b"", 1, due_ns, 90 * NS, leased_ns=leased_ns, attempts=2, reason="x"))


def decision(result: str | None = None) -> dict[str, Any]:
    outcome = None if result is None else {"result": result, "status": 403, "reason": "denied", "attempts": 0, "response_bytes": 0}
    route = {"name": "orders", "destination": "shop"}
    return {"schema": "lockgate.decision.v1", "time": "t0", "route": route, "request": {"door": "gateway"}, "outcome": outcome}


def ended(result: str, status: int = 200, reason: str = "", attempts: int = 1) -> dict[str, Any]:
    told = {"result": result, "status": status, "reason": reason, "attempts": attempts, "response_bytes": 7}
    return {"schema": "lockgate.outcome.v1", "time": f"t{attempts}", "outcome": told}


def fate(*leaves: dict[str, Any]) -> Fate:
    found = recorded("d", [(leaf, "k" if leaf is leaves[0] else "other") for leaf in leaves])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("found", "state", "wait_s"),
    [
        (row(), State.PENDING, 1),
        (row(due_ns=40 * NS), State.PENDING, 40),
        (row(due_ns=40 * NS, leased_ns=50 * NS), State.PENDING, 50),
        (row(due_ns=10**6 * NS), State.PENDING, 3600),
        (row(Due.HOLD), State.HELD, 1),
        (row(dead=True), State.DEAD, 0),
    ],
)
def test_what_has_a_row_is_told_from_it_and_when_to_ask_again(found: Waiting, state: State, wait_s: int) -> None:
    told = waiting(found, 0)
    assert (told.state, told.wait_s, told.attempts, told.reason, told.key_id) == (state, wait_s, 2, "x", "k")
    assert told.is_delivery(())


@pytest.mark.parametrize(
    ("leaves", "state"),
    [
        ([decision(), ended("routed")], State.DELIVERED),
        ([decision(), ended("failed", 502, "delivery_expired", 4)], State.DROPPED),
        ([decision(), ended("failed", 409, "subject_erased")], State.DROPPED),
        ([decision()], State.UNCERTAIN),
        ([decision("denied")], State.DENIED),
        ([decision("abstained")], State.DENIED),
        ([decision("held")], State.HELD),
        ([decision("held"), ended("denied", 403, "review_rejected")], State.DENIED),
        ([decision("held"), ended("routed")], State.DELIVERED),
        # at least once: a worker that was late failed where another one had done it, or did it after it was given up
        ([decision(), ended("routed"), ended("failed", 502, "connect_failed", 2)], State.DELIVERED),
        ([decision(), ended("failed", 502, "delivery_expired"), ended("routed", attempts=2)], State.DELIVERED),
    ],
)
def test_what_has_none_is_told_from_records(leaves: list[dict[str, Any]], state: State) -> None:
    told = fate(*leaves)
    assert (told.state, told.key_id, told.route) == (state, "k", "orders")
    assert told.status == (200 if state is State.DELIVERED else 0)
    assert bool(told.ended) == (state not in (State.HELD, State.UNCERTAIN))


def test_without_a_decision_there_is_nothing_to_tell() -> None:
    assert recorded("d", []) is None
    assert recorded("d", [(ended("routed"), "k")]) is None


def test_what_was_relayed_while_its_caller_waited_is_no_delivery() -> None:
    told = fate(decision(), ended("routed"))
    assert not told.is_delivery(frozenset())
    assert told.is_delivery({"orders": None})
