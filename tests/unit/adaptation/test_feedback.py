"""What people say about decisions."""

from __future__ import annotations

import pytest

from router.audit.records.record import open_personal
from router.errors import AuditError, LockgateError, RefusedError
from tests.unit.adaptation.parts import ANNA, DECISION, RITA, RUBEN, Learning, leaf, said


async def test_an_opinion_is_recorded_under_its_decision(learning: Learning) -> None:
    """Who said it and why is sealed under their own key; nothing of it stands in the leaf."""
    found = await learning.feedback.say(DECISION, said("wrong", "pay", "she said pay"), RITA)
    key_id, key = await learning.keys.key_for("rita")
    assert (found["verdict"], found["intent"], found["by"], found["own"], found["version"]) == ("wrong", "pay", key_id, False, 1)
    (told,) = learning.leaves
    assert (told["id"], told["event"], told["details"]["intent"], told["details"]["classified"]) == (DECISION, "feedback", "pay", "cancel")
    (entry,) = learning.ledger.entries
    assert entry.key_id == key_id
    assert b"rita" not in entry.leaf
    assert b"she said" not in entry.leaf
    assert open_personal(entry, key) == {"actor": "rita", "comment": "she said pay"}


async def test_the_same_once_more_changes_nothing(learning: Learning) -> None:
    """It is answered the same, and recorded once."""
    first = await learning.feedback.say(DECISION, said("right"), RITA)
    learning.clock.forward(5)
    assert await learning.feedback.say(DECISION, said("right"), RITA) == first
    assert len(learning.leaves) == 1


@pytest.mark.parametrize("other", [said("wrong", "pay"), said("right", comment="though late")])
async def test_somebody_may_change_their_mind(learning: Learning, other: dict[str, str]) -> None:
    """Both are on record, and the later one counts; a comment counts as well."""
    await learning.feedback.say(DECISION, said("right"), RITA)
    found = await learning.feedback.say(DECISION, other, RITA)
    assert (found["verdict"], found["version"]) == (other["verdict"], 2)
    assert [each["details"]["number"] for each in learning.leaves] == [1, 2]
    assert len((await learning.feedback.opinions(DECISION))["opinions"]) == 1


async def test_a_second_opinion_of_somebody_else_is_kept_as_disagreement(learning: Learning) -> None:
    """Neither replaces the other."""
    await learning.feedback.say(DECISION, said("wrong", "pay"), RITA)
    assert not (await learning.feedback.opinions(DECISION))["disagreement"]
    await learning.feedback.say(DECISION, said("wrong", "ask"), RUBEN)
    found = await learning.feedback.opinions(DECISION)
    assert [each["intent"] for each in found["opinions"]] == ["pay", "ask"]
    assert found["disagreement"]


async def test_the_word_of_the_one_who_asked_is_marked(learning: Learning) -> None:
    """It is kept, and no disagreement comes of it."""
    await learning.feedback.say(DECISION, said("right"), RITA)
    own = await learning.feedback.say(DECISION, said("wrong", "pay"), ANNA)
    assert own["own"]
    assert not (await learning.feedback.opinions(DECISION))["disagreement"]


@pytest.mark.parametrize(
    ("status", "intent", "opinion", "code"),
    [
        ("classified", "cancel", said("wrong", "cancel"), "feedback_contradicts"),
        ("classified", "cancel", said("wrong", "fly"), "feedback_intent_unknown"),
        ("classified", "cancel", said("right", "pay"), "request_invalid"),
        ("out_of_scope", None, said("out_of_scope"), "feedback_contradicts"),
        ("ambiguous", None, said("right"), "feedback_contradicts"),
        ("skipped", None, said("wrong", "pay"), "feedback_unclassified"),
    ],
)
async def test_what_contradicts_itself_is_refused(learning: Learning, status: str, intent: str, opinion: dict[str, str], code: str) -> None:
    """With a named reason, and nothing is kept."""
    learning.trail.decisions[DECISION] = ("anna", leaf(intent, status))
    with pytest.raises(RefusedError) as told:
        await learning.feedback.say(DECISION, opinion, RITA)
    assert told.value.code == code
    assert learning.leaves == []
    assert (await learning.feedback.opinions(DECISION))["opinions"] == []


async def test_an_abstention_can_be_given_its_intent(learning: Learning) -> None:
    """These are what a classifier learns most from."""
    learning.trail.decisions[DECISION] = ("anna", leaf(None, "ambiguous"))
    assert (await learning.feedback.say(DECISION, said("wrong", "cancel"), RITA))["intent"] == "cancel"


async def test_an_unknown_decision_is_none(learning: Learning) -> None:
    """404, with the code that the audit trail gives."""
    with pytest.raises(AuditError) as told:
        await learning.feedback.say("0198", said("right"), RITA)
    assert told.value.code == "decision_unknown"


async def test_without_a_ledger_nothing_is_kept(learning: Learning) -> None:
    """Who asks is told before, and not after."""
    learning.ledger.failing = AuditError("away", "audit_disk_full")
    with pytest.raises(AuditError):
        await learning.feedback.say(DECISION, said("right"), RITA)
    assert (await learning.feedback.opinions(DECISION))["opinions"] == []


async def test_what_a_failing_ledger_did_not_take_is_recorded_once_it_does(learning: Learning, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked hears that it is not recorded; the next round does it, and asking again finds it done."""
    taking = learning.ledger.append_many

    async def failing(entries: object) -> list[int]:
        raise AuditError("away", "audit_disk_full")

    monkeypatch.setattr(learning.ledger, "append_many", failing)
    with pytest.raises(LockgateError, match="has no effect before it is recorded"):
        await learning.feedback.say(DECISION, said("right"), RITA)
    monkeypatch.setattr(learning.ledger, "append_many", taking)
    await learning.keeping.record()
    assert (await learning.feedback.say(DECISION, said("right"), RITA))["version"] == 1
    assert len(learning.leaves) == 1


async def test_pages_go_on_where_the_one_before_ended(learning: Learning) -> None:
    """By verdict where that is asked for."""
    for number in range(5):
        learning.trail.decisions[f"d{number}"] = ("anna", leaf())
        await learning.feedback.say(f"d{number}", said("right" if number % 2 else "wrong"), RITA)
    first, place = await learning.feedback.page(None, 0, 3)
    rest, end = await learning.feedback.page(None, place or 0, 3)
    assert [each["decision_id"] for each in (*first, *rest)] == [f"d{number}" for number in range(5)]
    assert end is None
    assert [each["decision_id"] for each in (await learning.feedback.page("right", 0, 9))[0]] == ["d1", "d3"]
