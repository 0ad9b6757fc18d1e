"""Labelling what was sampled."""

from __future__ import annotations

import pytest

from router.adaptation.labelling import DONE, GONE, verdict_of
from router.decision import Subject
from router.errors import RefusedError
from tests.unit.adaptation.labelling_parts import LEASE_S, TASK, Labelling
from tests.unit.adaptation.parts import ANNA, DECISION, RITA, RUBEN, Learning


@pytest.fixture
async def labelling(learning: Learning) -> Labelling:
    return Labelling(learning)


async def test_a_label_is_on_record_and_a_correction(labelling: Labelling) -> None:
    """What contradicts the decision is an opinion like any other, and says where it comes from."""
    await labelling.sampled()
    assert await labelling.claimed(RITA) == TASK
    assert (await labelling.service.answer(TASK, "pay", RITA, None)).state == DONE
    feedback, label = labelling.learning.leaves
    assert (feedback["event"], feedback["details"]["verdict"], feedback["details"]["reason"]) == ("feedback", "wrong", "labelled")
    assert (label["event"], label["details"]["label"], label["details"]["strategies"], label["id"]) == (
        "labelled",
        "pay",
        "random",
        DECISION,
    )
    assert "rita" not in str(label)


async def test_the_same_answer_again_changes_nothing_and_another_is_refused(labelling: Labelling) -> None:
    """An answer may get lost; minds are not changed once the answer counts."""
    await labelling.sampled()
    await labelling.claimed(RITA)
    first = await labelling.service.answer(TASK, "pay", RITA, None)
    again = await labelling.service.answer(TASK, "pay", RITA, None)
    assert again.terms == first.terms
    assert len(labelling.learning.leaves) == 2
    with pytest.raises(RefusedError) as caught:
        await labelling.service.answer(TASK, "cancel", RITA, None)
    assert caught.value.code == "label_answered"


async def test_two_people_label_it_where_two_are_wanted(labelling: Labelling) -> None:
    """Never the same one twice, nor a third; how long each took is kept."""
    await labelling.sampled(wanted=2)
    assert await labelling.claimed(RITA) == TASK
    labelling.learning.clock.forward(5)
    await labelling.service.answer(TASK, "cancel", RITA, None)
    assert await labelling.claimed(RITA) is None
    assert await labelling.claimed(RUBEN) == TASK
    assert await labelling.claimed(Subject("third", "user")) is None
    done = await labelling.service.answer(TASK, "unsure", RUBEN, None)
    assert done.state == DONE
    assert sorted((each["label"], each["dwell_ns"]) for each in done.terms["answers"].values()) == [
        ("cancel", 5_000_000_000),
        ("unsure", 0),
    ]


async def test_unsure_says_nothing_of_the_decision(labelling: Labelling) -> None:
    """So it is no correction."""
    await labelling.sampled()
    await labelling.claimed(RITA)
    await labelling.service.answer(TASK, "unsure", RITA, None)
    assert [each["event"] for each in labelling.learning.leaves] == ["labelled"]


async def test_a_claim_is_one_persons_until_it_lapses(labelling: Labelling) -> None:
    """Then another may have it, and the first one's answer comes too late."""
    await labelling.sampled()
    assert await labelling.claimed(RITA) == TASK
    assert await labelling.claimed(RUBEN) is None
    labelling.learning.clock.forward(int(LEASE_S) + 1)
    assert await labelling.claimed(RUBEN) == TASK
    with pytest.raises(RefusedError) as caught:
        await labelling.service.answer(TASK, "pay", RITA, None)
    assert caught.value.code == "label_unclaimed"
    assert labelling.learning.leaves == []


async def test_nobody_labels_what_they_asked_or_spoke_about(labelling: Labelling) -> None:
    """They know too much of it."""
    await labelling.sampled()
    assert await labelling.claimed(ANNA) is None
    await labelling.learning.feedback.say(DECISION, {"verdict": "right", "intent": "", "reason": "looked_at", "comment": ""}, RITA)
    assert await labelling.claimed(RITA) is None
    assert await labelling.claimed(RUBEN) == TASK


async def test_a_text_that_is_gone_ends_its_task(labelling: Labelling) -> None:
    """As after an erasure; the next one is there at once."""
    await labelling.sampled()
    labelling.text = None
    assert await labelling.claimed(RITA) is None
    assert await labelling.state() == GONE
    assert await labelling.claimed(RUBEN) is None
    assert labelling.opened == [(TASK, "rita")]


async def test_what_was_skipped_is_left_to_others(labelling: Labelling) -> None:
    """And does not come back."""
    await labelling.sampled()
    await labelling.claimed(RITA)
    await labelling.service.skip(TASK, RITA, None)
    assert await labelling.claimed(RITA) is None
    assert await labelling.claimed(RUBEN) == TASK


async def test_what_is_claimed_is_shown_again_to_whose_it_is(labelling: Labelling) -> None:
    """Each time on record; it changes nothing, also not for how long it is theirs. Nobody else gets it, nor they once it lapsed."""
    await labelling.sampled()
    claimed = await labelling.service.claim(RITA, None)
    assert claimed is not None
    labelling.learning.clock.forward(5)
    before = await labelling.learning.store.get("label_task", TASK)
    assert await labelling.service.shown(TASK, RITA, None) == (claimed[0], "stop it", claimed[2])
    assert await labelling.learning.store.get("label_task", TASK) == before
    assert labelling.opened == [(TASK, "rita"), (TASK, "rita")]
    for late, who in ((0, RUBEN), (int(LEASE_S), RITA)):
        labelling.learning.clock.forward(late)
        with pytest.raises(RefusedError) as caught:
            await labelling.service.shown(TASK, who, None)
        assert caught.value.code == "label_unclaimed"
    assert len(labelling.opened) == 2


async def test_another_tenants_text_is_not_there(labelling: Labelling) -> None:
    """Neither listed nor claimed nor answered."""
    await labelling.sampled(tenant="halden")
    assert await labelling.claimed(RITA, "other") is None
    assert await labelling.service.page(RITA, "other", 0, 10) == ([], None)
    assert await labelling.claimed(RITA, "halden") == TASK
    with pytest.raises(RefusedError) as caught:
        await labelling.service.answer(TASK, "pay", RITA, "other")
    assert caught.value.code == "label_unknown"


async def test_a_label_is_an_intent_of_the_catalog(labelling: Labelling) -> None:
    """Or one of the two words."""
    with pytest.raises(RefusedError) as caught:
        await labelling.service.answer(TASK, "fly", RITA, None)
    assert caught.value.code == "feedback_intent_unknown"


@pytest.mark.parametrize(
    ("status", "classified", "label", "verdict"),
    [
        ("classified", "pay", "pay", "right"),
        ("classified", "pay", "cancel", "wrong"),
        ("classified", "pay", "out_of_scope", "out_of_scope"),
        ("out_of_scope", None, "out_of_scope", "right"),
        ("out_of_scope", None, "pay", "wrong"),
        ("ambiguous", None, "pay", "wrong"),
        ("undetermined", None, "out_of_scope", "out_of_scope"),
        ("classified", "pay", "unsure", None),
    ],
)
def test_what_a_label_says_of_a_decision(status: str, classified: str | None, label: str, verdict: str | None) -> None:
    """The same that somebody would have said who saw it."""
    assert verdict_of({"status": status, "classified": classified}, label) == verdict
