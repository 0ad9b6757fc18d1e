"""What whoever asked for a request says to a reviewer's question: once, about that question, and under whose key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.memory_ledger import MemoryLedger
from router.audit.records.record import open_personal
from router.decision import Subject
from router.review import answering
from router.review.attempting import Asked
from router.review.attempts import Kind
from router.review.given import Given, given_of
from router.review.packing import Information
from router.review.standing import Standings, unpacked
from tests.unit.identity.parts import HandClock
from tests.unit.review.parts import ANNA, RITA, RUBEN, Desk
from tests.unit.review.test_machine import refused

BY_BOT = replace(ANNA, claims={"act": {"sub": "bot"}})
BOT = Subject("bot", "service", ("manager",))
IBAN = "DE89370400440532013000"


async def asked(desk: Desk, text: str = "which account?", **held: Any) -> str:
    review_id = await desk.held(**held)
    await desk.attempt(review_id, RITA, Kind.ASK, text)
    return review_id


async def say(desk: Desk, review_id: str, text: str, version: int | None = None, key: str = "", who: Subject = ANNA) -> bool:
    """Whether it was taken now."""
    return await desk.service.taken(review_id, who, Asked(Kind.ANSWER, text, version=version, key=key))


async def said(desk: Desk, review_id: str) -> list[str]:
    return [each["text"] for each in (await desk.service.get(review_id) or {})["request"]["information"]]


async def test_what_is_open_is_told_to_who_asked(desk: Desk) -> None:
    """The latest question, its number, and until when; nothing once it is answered."""
    review_id = await asked(desk, respond="1m")
    review = await desk.store.get(review_id)
    assert review is not None
    standing = await Standings(desk.store, desk.people).whole(review)
    assert unpacked(standing.packed()) == standing
    assert standing.question is not None
    assert (standing.question.text, standing.question.number) == ("which account?", 1)
    assert standing.question.respond_ns == review.history[-1].at_ns + 60_000_000_000
    await say(desk, review_id, "mine")
    after = await desk.store.get(review_id)
    assert after is not None
    assert (await Standings(desk.store, desk.people).whole(after)).question is None


async def test_an_answer_counts_once_however_late_it_comes_again(desk: Desk) -> None:
    """By the version of its question, or by its key; without either only as the last step."""
    review_id = await asked(desk)
    assert await say(desk, review_id, "one", 2, "k")
    assert not await say(desk, review_id, "one", 2)
    assert not await say(desk, review_id, "one")
    await desk.attempt(review_id, RUBEN, Kind.ASK, "and when?")
    assert [await say(desk, review_id, "one", 2), await say(desk, review_id, "one", 9, "k")] == [False, False]
    assert await refused(say(desk, review_id, "two", 4, "k")) == "idempotency_key_reused"
    assert await refused(say(desk, review_id, "two", 2)) == "review_changed"
    assert await say(desk, review_id, "one", 4)
    assert await said(desk, review_id) == ["one", "one"]
    await desk.approve(review_id)
    assert not await say(desk, review_id, "one", 4)
    assert await refused(say(desk, review_id, "three", 4)) == "review_not_pending"


async def test_what_is_repeated_is_on_record_when_it_is_answered(desk: Desk, ledger: MemoryLedger) -> None:
    """Where a crash came between the step and its record, whoever says it again does not hear yes before."""
    review_id = await asked(desk)
    before = len(ledger.entries)
    step = await desk.service._attempting.attempt(review_id, ANNA, Asked(Kind.ANSWER, "mine", version=2))
    assert (step is not None, len(ledger.entries)) == (True, before)
    assert not await say(desk, review_id, "mine", 2)
    assert len(ledger.entries) == before + 1


async def test_time_runs_on_while_an_answer_is_written(desk: Desk, clock: HandClock) -> None:
    """Late by a second it is too late, also before anybody has noticed."""
    review_id = await asked(desk, respond="1m")
    clock.forward(60)
    assert await refused(say(desk, review_id, "mine", 2)) == "review_expired"
    await desk.service.round()
    assert await refused(say(desk, review_id, "mine", 2)) == "review_not_pending"


async def test_reviewers_see_it_masked_and_approve_what_was_said(desk: Desk, ledger: MemoryLedger) -> None:
    """What was said is in its record; two texts that look alike masked are two contents."""
    covers = []
    for number, text in enumerate((f"take {IBAN}", "take DE02120300000000202051")):
        review_id = await asked(desk, number=number + 1)
        await say(desk, review_id, text)
        shown = await desk.service.get(review_id) or {}
        (told,) = shown["request"]["information"]
        assert (text[5:] in json.dumps(shown), told["masked"], told["text"].startswith("take ")) == (False, True, True)
        review = await desk.store.get(review_id)
        assert review is not None
        covers.append(review.held.summary["evidence"]["digest"])
    assert covers[0] != covers[1]
    key = await desk.people.key((await desk.people.key_for(ANNA.id))[0])
    assert key is not None
    personal = [open_personal(entry, key) for entry in ledger.entries if b'"information_given"' in entry.leaf]
    assert personal[0]["comment"] == f"take {IBAN}"
    assert not [entry for entry in ledger.entries if IBAN.encode() in entry.leaf]


async def test_whoever_answers_it_is_sealed_under_the_key_of_who_asked(desk: Desk, ledger: MemoryLedger) -> None:
    """A service that acts for somebody says things about them: they are gone with that one's key. Said again by it they count once."""
    review_id = await asked(desk, asker=BY_BOT)
    assert await say(desk, review_id, "for Zoe", 2, "k", BOT)
    assert not await say(desk, review_id, "for Zoe", 2, "k", BOT)
    given = next(entry for entry in ledger.entries if b'"information_given"' in entry.leaf)
    assert given.key_id == (await desk.people.key_for(ANNA.id))[0]
    shown = await desk.service.get(review_id) or {}
    assert (shown["history"][-1]["by"], shown["history"][-1]["comment"]) == ("bot", "for Zoe")


async def test_nobody_is_asked_in_vain(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no further answer would be taken, no further question is asked."""
    monkeypatch.setattr(answering, "MOST_INFORMATION", 2)
    review_id = await desk.held()
    for number in range(2):
        await desk.attempt(review_id, RITA, Kind.ASK, f"{number}?")
        await say(desk, review_id, f"{number}")
    assert await refused(desk.attempt(review_id, RITA, Kind.ASK, "once more?")) == "information_too_much"
    assert (await desk.approve(review_id))["state"] == "done"


def test_who_says_it_goes_to_the_control_process_as_who_he_is() -> None:
    """With whom he acts for, and none of his other claims, whatever is in them."""
    subject = Subject("an\ud800na", "user", ("a",), ("g",), "t", {"act": {"sub": "bot", "act": {"sub": "x"}}, "big": 2**80}, "jwt")
    given = given_of(Given("r", subject, "text", 3, "k").packed())
    assert given.subject == replace(subject, claims={"act": {"sub": "bot", "act": {"sub": "x"}}})
    assert (given.review_id, given.text, given.version, given.key) == ("r", "text", 3, "k")


def test_what_an_older_release_took_is_not_called_masked() -> None:
    assert not answering.is_masked(Information("q", "text", "anna", 1))
