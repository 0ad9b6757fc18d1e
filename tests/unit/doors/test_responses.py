"""Who is asked back is told what is in doubt, and no more than the catalog lets be told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.decision import Candidate, Classification, Decision, Outcome, Result, Status
from router.doors.responses import ended
from tests.unit.doors.parts import decision

DESCRIPTIONS = {"cancel": "Stop a payment.", "refund": "Get money back.", "status": "Where a payment is."}
CANDIDATES = tuple(Candidate(name, 0.0, 0.3) for name in ("cancel", "refund", "status", "secret"))


def unclear(*plausible: str, status: int = 422, reason: str = "several_plausible") -> Decision:
    found = Classification(Status.AMBIGUOUS, candidates=CANDIDATES, prediction_set=plausible, reason=reason)
    return decision(classification=found, route=None, outcome=Outcome(Result.ABSTAINED, status, reason))


async def told(made: Decision) -> dict[str, Any]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await ended(send, made, DESCRIPTIONS)
    answer: dict[str, Any] = json.loads(sent[1]["body"])
    return answer


async def test_the_intents_in_doubt_are_named_with_their_descriptions() -> None:
    """Those of the prediction set, in its order, and no less likely ones."""
    answer = await told(unclear("refund", "cancel"))
    assert (answer["status"], answer["type"]) == (422, "urn:lockgate:problem:several_plausible")
    assert answer["candidates"] == [
        {"intent": "refund", "description": "Get money back."},
        {"intent": "cancel", "description": "Stop a payment."},
    ]


async def test_without_a_set_the_likeliest_are_named() -> None:
    """As where the text is about no intent."""
    assert [each["intent"] for each in (await told(unclear()))["candidates"]] == ["cancel", "refund", "status"]


async def test_what_is_not_to_be_told_is_not_named() -> None:
    """An intent that the catalog refuses without a word is not named as another one's neighbour either."""
    assert [each["intent"] for each in (await told(unclear("secret", "cancel")))["candidates"]] == ["cancel"]


async def test_a_refusal_names_nothing() -> None:
    """Where abstention is configured as a refusal."""
    assert (await told(unclear("cancel", "refund", status=403)))["candidates"] == []


@pytest.mark.parametrize(
    ("reason", "said"),
    [("several_plausible", "which one"), ("several_intents", "one after the other"), ("negated", "not to be done"), ("other", "not clear")],
)
async def test_the_question_fits_the_doubt(reason: str, said: str) -> None:
    """Each reason has its own."""
    answer = await told(unclear("cancel", reason=reason))
    assert said in answer["detail"]
