"""A request for several things where one of them cannot be decided, or understood, or sent: nothing is done that is not on record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.decision import Classification, Status
from router.delivery.judging import Terms
from router.doors.runtime import StepOptions
from router.errors import AuditError
from router.ports import Entry
from tests.faults.gateway_harness import SURE, House

BOTH = b'{"message": "please cancel payment 4711 and then tell me the status of 4712"}'


class Clauses:
    """A tier that knows two intents by their words; `unclear` are words in which it sees neither any more, once it has read the whole."""

    name = "encoder"

    def __init__(self, unclear: str = "") -> None:
        self.unclear, self.read = unclear, 0

    async def classify(self, text: str) -> Classification:
        self.read += 1
        if self.unclear and self.read > 3 and self.unclear in text:
            return Classification(Status.CLASSIFIED, "status", 0.3, 0.9, 0.9, tier="encoder")
        intent = "status" if "status" in text and "cancel" not in text else "cancel"
        return replace(SURE, intent=intent)


def house(tier: Clauses | None = None, **more: Any) -> House:
    made = House(tier or Clauses())
    made.runtime = replace(made.runtime, options=replace(made.runtime.options, steps=StepOptions()), **more)
    return made


def ends(made: House) -> dict[str, tuple[str, str]]:
    """By decision."""
    leaves = [leaf for leaf in made.leaves if leaf["schema"] == "lockgate.outcome.v1"]
    assert len({leaf["id"] for leaf in leaves}) == len(leaves)
    return {leaf["id"]: (leaf["outcome"]["result"], leaf["outcome"]["reason"]) for leaf in leaves}


async def test_each_of_several_things_is_decided_and_sent() -> None:
    """And the whole has an outcome of its own, which is how the tests below know that they would see what goes on."""
    made = house()
    reply = await made.ask(BOTH)
    assert (reply.status, len(made.reached)) == (207, 2)
    assert sorted(ends(made).values()) == [("routed", ""), ("routed", ""), ("split", "several_intents")]


async def test_a_step_that_cannot_be_recorded_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is sent; the one that was on record already is ended there as abandoned."""
    made = house()
    append, decisions = made.ledger.append, [0]

    async def full_at_the_third(entry: Entry) -> int:
        decisions[0] += b"lockgate.decision.v1" in entry.leaf
        if decisions[0] == 3 and b"lockgate.decision.v1" in entry.leaf:
            raise AuditError("The disk is full.", "audit_disk_full")
        return await append(entry)

    monkeypatch.setattr(made.ledger, "append", full_at_the_third)
    reply = await made.ask(BOTH)
    assert (reply.status, reply.code, made.reached) == (503, "audit_disk_full", [])
    assert sorted(ends(made).values()) == [("failed", "audit_disk_full"), ("failed", "step_abandoned")]


async def test_where_one_step_is_not_understood_none_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decision abstains by itself; the other is ended as unclear, and so is the whole."""
    made = house(Clauses("status"))
    monkeypatch.setattr(made.runtime.pipeline.stages.cascade, "_remember", lambda *_: None)
    reply = await made.ask(BOTH)
    assert (reply.status, reply.code, made.reached) == (422, "several_intents", [])
    assert sorted(ends(made).values()) == [("abstained", "step_unclear"), ("abstained", "step_unclear")]


async def test_a_step_on_a_route_that_is_delivered_is_refused() -> None:
    """Its caller waits for an answer that a delivery does not give."""
    made = house(deliveries={"pay": Terms()})
    reply = await made.ask(BOTH)
    assert {each["reason"] for each in reply.problem["steps"]} == {"delivery_unsupported"}
    assert ends(made)[reply.problem["steps"][0]["decision_id"]] == ("failed", "delivery_unsupported")
    assert made.reached == []
