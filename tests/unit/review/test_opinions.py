"""What a reviewer's decision says of the intent, and where it goes into the record of the step."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.memory_destination import MemoryDestination
from adapters.memory_ledger import MemoryLedger
from router.errors import RefusedError, ReviewError
from router.ports import Outbound
from router.review.attempts import Kind
from router.stages.routing import IntentEntry, RoutingTable
from tests.unit.audit.samples import SUBJECT
from tests.unit.review.conftest import Bank
from tests.unit.review.parts import RITA, RUBEN, Desk, way

OWN = "payment.cancel"
JSON = Outbound("POST", "/pay", [(b"content-type", b"application/json")], b'{"amount":5}')


def table(*intents: tuple[str, str], on_abstain: str = "clarify") -> RoutingTable:
    return RoutingTable({}, {name: IntentEntry(name, route) for name, route in intents}, on_abstain)


def told(ledger: MemoryLedger, event: str) -> list[dict[str, Any]]:
    """Of each step of that name what its record says of the intent."""
    leaves = [orjson.loads(entry.leaf) for entry in ledger.entries]
    return [
        {name: value for name, value in leaf["details"].items() if name.startswith("opinion")}
        for leaf in leaves
        if leaf.get("event") == event
    ]


@pytest.fixture
async def teaching(desk: Desk, bank: Bank) -> Desk:
    """A desk whose catalog has two intents of which a reviewer may choose the other's route."""
    desk.ways["desk.ask"] = way(MemoryDestination(bank.handle), name="desk")
    desk.table = table((OWN, "bank.ask"), ("ask_person", "desk.ask"))
    return desk


@pytest.mark.parametrize(
    ("intents", "on_abstain", "expected"),
    [
        pytest.param([(OWN, "bank.ask"), ("ask_person", "desk.ask")], "clarify", "ask_person", id="the one intent of that route"),
        pytest.param([(OWN, "bank.ask"), ("ask_person", "desk.ask"), ("complain", "desk.ask")], "clarify", None, id="one of several"),
        pytest.param([(OWN, "bank.ask")], "clarify", None, id="a route of no intent"),
        pytest.param(
            [(OWN, "desk.ask"), ("ask_person", "desk.ask")], "clarify", None, id="its own route, where policy had sent it elsewhere"
        ),
        pytest.param([(OWN, "bank.ask"), ("ask_person", "desk.ask")], "desk.ask", None, id="where abstentions go"),
    ],
)
async def test_another_route_says_something_where_it_is_one_intents(
    teaching: Desk, ledger: MemoryLedger, intents: list[tuple[str, str]], on_abstain: str, expected: str | None
) -> None:
    """Of that intent alone, and nowhere where a request may be sent for other reasons."""
    teaching.table = table(*intents, on_abstain=on_abstain)
    review = await teaching.held(quorum=2, reroute=["desk.ask"])
    await teaching.attempt(review, RITA, Kind.REROUTE, route="desk.ask")
    said = {"opinion": "wrong", "opinion_by": "route", "opinion_intent": expected} if expected else {}
    assert told(ledger, "rerouted") == [said]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {}),
        ({"reason": "misrouted"}, {"opinion": "wrong", "opinion_by": "word"}),
        ({"intent": "ask_person"}, {"opinion": "wrong", "opinion_by": "word", "opinion_intent": "ask_person"}),
    ],
)
async def test_a_rejection_says_what_it_says(teaching: Desk, ledger: MemoryLedger, asked: dict[str, str], expected: dict[str, str]) -> None:
    """Without a word of the classification it says nothing of it."""
    review = await teaching.held()
    await teaching.attempt(review, RITA, Kind.REJECT, **asked)
    assert told(ledger, "rejected") == [expected]


async def test_a_change_says_something_in_words_only(teaching: Desk, ledger: MemoryLedger) -> None:
    """Another amount is no other intent."""
    for number, asked in enumerate([{}, {"intent": "ask_person"}]):
        review = await teaching.held(number, outbound=JSON, modify=["/amount"], quorum=2)
        await teaching.attempt(review, RITA, Kind.MODIFY, changes={"/amount": 4}, **asked)
    assert told(ledger, "modified") == [{}, {"opinion": "wrong", "opinion_by": "word", "opinion_intent": "ask_person"}]


async def test_a_word_and_a_route_are_one_statement(teaching: Desk, ledger: MemoryLedger) -> None:
    """What is named is meant; else what the route says, in words from then on."""
    for number, asked in enumerate([{"reason": "misrouted"}, {"intent": OWN}]):
        review = await teaching.held(number, quorum=2, reroute=["desk.ask"])
        await teaching.attempt(review, RITA, Kind.REROUTE, route="desk.ask", **asked)
    assert [(each["opinion_by"], each["opinion_intent"]) for each in told(ledger, "rerouted")] == [("word", "ask_person"), ("word", OWN)]


async def test_who_undoes_anothers_choice_says_that_the_intent_was_right(teaching: Desk, ledger: MemoryLedger) -> None:
    """So that the two disagree, and nothing is learnt from the first alone."""
    review = await teaching.held(quorum=2, reroute=["desk.ask", "bank.ask"])
    await teaching.attempt(review, RITA, Kind.REROUTE, route="desk.ask")
    await teaching.attempt(review, RUBEN, Kind.REROUTE, route="bank.ask")
    assert [each["opinion"] for each in told(ledger, "rerouted")] == ["wrong", "right"]


async def test_an_approval_says_nothing(teaching: Desk, ledger: MemoryLedger) -> None:
    """Neither of what was held nor of what another reviewer made of it."""
    review = await teaching.held(quorum=2, reroute=["desk.ask"])
    await teaching.attempt(review, RITA, Kind.REROUTE, route="desk.ask")
    await teaching.approve(review, RUBEN)
    await teaching.settled()
    assert told(ledger, "approved") == [{}]


async def test_who_asked_says_nothing(teaching: Desk, ledger: MemoryLedger) -> None:
    """Nobody trains the classifier by taking back what they asked for."""
    review = await teaching.held()
    await teaching.attempt(review, SUBJECT, Kind.REJECT, intent="ask_person")
    assert told(ledger, "rejected") == [{}]


async def test_what_is_refused_says_nothing(teaching: Desk, ledger: MemoryLedger) -> None:
    """It is no step; the attempt is on record as any other."""
    review = await teaching.held(reroute=["desk.ask"])
    with pytest.raises(ReviewError):
        await teaching.attempt(review, RITA, Kind.REROUTE, route="elsewhere", intent="ask_person")
    assert told(ledger, "refused") == [{}]


@pytest.mark.parametrize(
    ("off", "asked", "code"),
    [
        (False, {"intent": "fly"}, "feedback_intent_unknown"),
        (True, {"intent": "ask_person"}, "learning_off"),
        (True, {"reason": "misrouted"}, "learning_off"),
    ],
)
async def test_what_a_reviewer_typed_is_not_dropped_in_silence(teaching: Desk, off: bool, asked: dict[str, str], code: str) -> None:
    """Nothing has happened when they hear of it, and without it the same is done."""
    teaching.table = None if off else teaching.table
    review = await teaching.held()
    with pytest.raises(RefusedError) as heard:
        await teaching.attempt(review, RITA, Kind.REJECT, **asked)
    assert heard.value.code == code
    assert (await teaching.attempt(review, RITA, Kind.REJECT))["state"] == "rejected"


async def test_where_nothing_is_learnt_another_route_says_nothing(teaching: Desk, ledger: MemoryLedger) -> None:
    """The record is as it was before there was anything to learn."""
    teaching.table = None
    review = await teaching.held(quorum=2, reroute=["desk.ask"])
    await teaching.attempt(review, RITA, Kind.REROUTE, route="desk.ask")
    assert told(ledger, "rerouted") == [{}]


async def test_an_answer_that_got_lost_is_given_again(teaching: Desk, ledger: MemoryLedger) -> None:
    """The same words are the same step; other words are another one, which comes too late."""
    review = await teaching.held()
    first = await teaching.attempt(review, RITA, Kind.REJECT, intent="ask_person")
    assert await teaching.attempt(review, RITA, Kind.REJECT, intent="ask_person") == first
    with pytest.raises(ReviewError):
        await teaching.attempt(review, RITA, Kind.REJECT, intent=OWN)
    assert len(told(ledger, "rejected")) == 1
