"""Recorded decisions classified again: what is the same within a tolerance, what flips, and what cannot be said."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from router.adaptation.replaying import Replay, replay
from router.audit.questions.query import Found
from router.audit.records.leaf import decision_fields
from router.decision import BodyView, Classification, EarlierTier, Request, RuleMatch, Status, Turn
from tests.unit.telemetry.values import decision

CATALOG = "c" * 64
SURE = Classification(
    Status.CLASSIFIED,
    "payment_status",
    0.91,
    0.7,
    0.98,
    tier="encoder",
    model_digest="m",
    calibration_digest="k",
    catalog_digest=CATALOG,
    earlier_tiers=(EarlierTier("static", "payment_status", "confidence_too_low", 0.4, 0.7, 0.1, 0.9, ()),),
)
UNSURE = replace(SURE, status=Status.UNDETERMINED, intent=None, reason="confidence_too_low")
BY_RULE = Classification(Status.CLASSIFIED, "payment_status", 1.0, 1.0, 1.0, tier="rule", rule=RuleMatch("r", "payment_status", None, {}))
PERSONAL = {"subject": "ann", "text": "Where is 4711?", "path": "/ask", "headers": '[["x-kind","a"]]', "earlier": '[["before","a",["b"]]]'}


class Said:
    """A classifier that says this, and keeps what it was asked."""

    def __init__(self, *answers: Classification | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Request, bool]] = []

    async def classify(self, request: Request, *, no_rule: bool) -> Classification | None:
        self.asked.append((request, no_rule))
        return self.answers.pop(0)


def found(classified: Classification = SURE, sealed: str = "opened", **body: Any) -> Found:
    made = decision()
    request = replace(made.request, body=replace(BodyView(b"Where is 4711?", text="Where is 4711?"), **body))
    leaf = json.loads(json.dumps(decision_fields(replace(made, request=request, classification=classified))))
    return Found(7, leaf, {"key_id": "k-1"}, sealed, PERSONAL if sealed == "opened" else None)


async def replayed(before: Found, after: Classification | None, **more: Any) -> Replay:
    return await replay([before], Said(after), CATALOG, tolerance=0.02, **more)


async def test_the_same_answer_with_numbers_that_are_near_is_reproduced() -> None:
    """Of every tier that was asked both times the largest difference counts."""
    made = await replayed(found(), replace(SURE, confidence=0.905, margin=0.712))
    assert (made.compared, made.same, made.differences, made.not_reproduced) == (1, 1, [], [])
    assert made.largest == pytest.approx(0.012)


@pytest.mark.parametrize(
    "after",
    [
        replace(SURE, confidence=0.88),
        replace(SURE, margin=0.6),
        replace(SURE, scope=None),
        replace(SURE, earlier_tiers=(replace(SURE.earlier_tiers[0], confidence=0.45),)),
    ],
    ids=["confidence", "margin", "a number that is missing", "an earlier tier"],
)
async def test_a_number_that_is_further_off_is_not_reproduced(after: Classification) -> None:
    """Although the answer is the same."""
    made = await replayed(found(), after)
    assert [each.flips for each in made.not_reproduced] == [False]


async def test_an_answer_may_flip_at_its_threshold() -> None:
    """A flip, for the request would go elsewhere; and no contradiction, for the numbers are near."""
    made = await replayed(found(), replace(UNSURE, confidence=0.899))
    assert [each.what for each in made.flips] == ["payment_status → undetermined"]
    assert made.not_reproduced == []
    assert made.groups() == {
        "tier": {"encoder": {"payment_status → undetermined": 1}},
        "tenant": {"-": {"payment_status → undetermined": 1}},
        "subject": {"k-1": {"payment_status → undetermined": 1}},
    }


@pytest.mark.parametrize(("count", "reproduced"), [(19, True), (20, False)])
async def test_many_that_differ_a_little_are_another_models(count: int, reproduced: bool) -> None:
    """Each is within the tolerance; another kind of processor rounds one in ten otherwise, and not all."""
    said = Said(*[replace(SURE, confidence=0.88)] * count)
    made = await replay([found()] * count, said, CATALOG, tolerance=0.25)
    assert (made.not_reproduced, made.reproduced) == ([], reproduced)
    assert made.median == pytest.approx(0.03)


async def test_tiers_that_compute_alike_everywhere_do_not_hide_it() -> None:
    """A static tier's numbers are the same on every processor."""
    exact = replace(SURE, tier="static", earlier_tiers=())
    made = await replay([found(exact)] * 30 + [found()] * 20, Said(*[exact] * 30, *[UNSURE] * 20), CATALOG, tolerance=0.25)
    assert len(made.moved) == 20


async def test_another_answer_that_no_number_explains_is_not_reproduced() -> None:
    """A rule decided then, a tier does now, by the same catalog."""
    made = await replayed(found(replace(BY_RULE, catalog_digest=CATALOG, model_digest="m", calibration_digest="k")), UNSURE)
    assert len(made.not_reproduced) == 1


async def test_what_is_computed_alike_everywhere_has_to_be_the_same() -> None:
    """However far off the numbers of an encoder may be."""
    exact = replace(SURE, tier="static", earlier_tiers=())
    for confidence, contradictions in ((0.9105, 0), (0.92, 1)):
        made = await replay([found(exact)], Said(replace(exact, confidence=confidence)), CATALOG, tolerance=0.25)
        assert len(made.not_reproduced) == contradictions


async def test_an_answer_of_another_tier_of_the_model_is_no_contradiction() -> None:
    """The static tier was switched on or off since; the digests say nothing of that, and no number of one speaks for the other."""
    static, encoder = replace(SURE, tier="static", earlier_tiers=()), replace(UNSURE, earlier_tiers=())
    for before, after in ((static, encoder), (replace(SURE, earlier_tiers=()), replace(static, status=Status.UNDETERMINED, intent=None))):
        made = await replayed(found(before), after)
        assert (len(made.flips), made.not_reproduced) == (1, [])


async def test_another_classifier_may_say_what_it_likes() -> None:
    """Its flips are counted, and nothing has to be reproduced."""
    made = await replayed(found(), replace(UNSURE, confidence=0.1, model_digest="other"))
    assert (len(made.flips), made.same, made.largest, made.not_reproduced) == (1, 0, 0.0, [])


async def test_names_are_told_only_where_they_are_asked_for() -> None:
    for names, subject in ((False, "k-1"), (True, "ann")):
        made = await replayed(found(), UNSURE, names=names)
        assert [each.subject for each in made.flips] == [subject]


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (found(sealed="erased"), "erased"),
        (found(sealed="pruned"), "pruned"),
        (found(Classification(Status.UNDETERMINED, reason="not_admitted")), "admission"),
        (found(truncated=True), "unseen"),
        (found(problem="body_not_text", text=None), "unseen"),
        (found(Classification(Status.UNAVAILABLE, reason="classifier_late")), "unavailable"),
        (found(replace(SURE, tier="llm")), "llm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_said_again_is_counted_by_why(before: Found, why: str) -> None:
    """And the classifier is not asked."""
    made = await replay([before], said := Said(), CATALOG, tolerance=0.02)
    assert (made.compared, dict(made.left_out), said.asked) == (0, {why: 1}, [])


async def test_what_a_rule_would_have_to_see_is_left_out() -> None:
    """Nobody knows what the body held beside its text."""
    made = await replayed(found(), None)
    assert (made.compared, dict(made.left_out)) == (0, {"body": 1})


async def test_a_classifier_that_fails_now_flips_nothing() -> None:
    """It said nothing of the request."""
    made = await replayed(found(), Classification(Status.UNAVAILABLE, reason="classifier_failed"))
    assert (made.compared, dict(made.left_out)) == (0, {"unavailable": 1})


async def test_the_request_is_put_together_from_what_was_sealed() -> None:
    """And whether it is known that no rule holds: where the catalog is the same, and none did."""
    others = replace(SURE, catalog_digest="d")
    await replay([found(), found(others)], said := Said(SURE, SURE), CATALOG, tolerance=0.02)
    (request, known), (_, unknown) = said.asked
    assert (known, unknown) == (True, False)
    assert (request.path, request.headers, request.body.text) == ("/ask", (("x-kind", "a"),), "Where is 4711?")
    assert len(request.body.data) == 14
    assert request.earlier == (Turn("before", "a", ("b",)),)
