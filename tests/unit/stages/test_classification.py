"""The cascade abstains unless a tier's scores reach every threshold, and whatever goes wrong is `unavailable`."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import BodyView, Candidate, Classification, EarlierTier, Language, RuleMatch, Status
from router.errors import ClassifierError
from router.stages.classification import Cascade, Thresholds, normalise
from router.system import SystemClock
from tests.unit.stages.requests import request_of, text_request

THRESHOLDS = Thresholds(confidence=0.7, margin=0.2, scope=0.5)
SURE = Classification(
    Status.CLASSIFIED, "cancel", 0.9, 0.6, 0.9, candidates=(Candidate("cancel", 3.0, 0.9), Candidate("pay", 1.0, 0.3)), tier="encoder"
)
NAN = float("nan")


class Tier:
    """Answers what it is told to and counts how often it was asked."""

    name = "told"

    def __init__(self, answer: Classification | BaseException | Callable[[str], Classification]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def classify(self, text: str) -> Classification:
        self.asked.append(text)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer(text) if callable(self.answer) else self.answer


class SlowTier:
    name = "slow"

    async def classify(self, text: str) -> Classification:
        await asyncio.sleep(60)
        return SURE


class Asked(Protocol):
    name: str

    async def classify(self, text: str) -> Classification: ...


def cascade(
    *tiers: Asked,
    deadline_s: float = 5.0,
    cache_size: int = 10,
    by_intent: dict[str, Thresholds] | None = None,
    languages: tuple[str, ...] | None = None,
) -> Cascade:
    intents = by_intent or {"cancel": THRESHOLDS, "pay": THRESHOLDS}
    return Cascade(
        tiers,
        THRESHOLDS,
        intents,
        catalog_digest="c",
        deadline_s=deadline_s,
        cache_size=cache_size,
        clock=SystemClock(),
        languages=languages,
    )


async def classify(tier: Tier | SlowTier, text: str = "cancel it", **options: float) -> Classification:
    return await cascade(tier, **options).classify(text_request(text), None, False)


async def test_a_language_that_the_encoder_does_not_know_is_undetermined() -> None:
    """Its confidence was calibrated on other texts, so that there is none; the tiers are not even asked."""
    tier = Tier(SURE)
    only = cascade(tier, languages=("en",))
    found = await only.classify(text_request("storniere es"), None, False, Language("de", 0.9))
    assert (found.status, found.intent, found.confidence) == (Status.UNDETERMINED, None, None)
    assert (found.reason, tier.asked) == ("language_unknown_to_encoder", [])


@pytest.mark.parametrize("code", ["en", "und"])
async def test_a_language_that_is_known_or_not_told_is_classified(code: str) -> None:
    """Only what is plainly something else is left alone."""
    found = await cascade(Tier(SURE), languages=("en",)).classify(text_request("cancel it"), None, False, Language(code, 0.9))
    assert found.status is Status.CLASSIFIED


async def test_without_languages_every_language_is_classified() -> None:
    """None means any."""
    found = await cascade(Tier(SURE)).classify(text_request("storniere es"), None, False, Language("de", 0.9))
    assert found.status is Status.CLASSIFIED


async def test_a_rule_decides_in_any_language() -> None:
    """No encoder has to understand what a rule decided."""
    found = await cascade(Tier(SURE), languages=("en",)).classify(
        text_request("storniere es"), RuleMatch("r", "cancel"), False, Language("de", 0.9)
    )
    assert found.intent == "cancel"


async def test_a_sure_answer_is_classified() -> None:
    """Scores over every threshold keep their intent, with the threshold that they passed."""
    found = await classify(Tier(SURE))
    assert (found.status, found.intent, found.threshold, found.prediction_set) == (Status.CLASSIFIED, "cancel", 0.7, ("cancel",))
    assert (found.catalog_digest, found.tier) == ("c", "encoder")


@pytest.mark.parametrize(
    ("scores", "status", "reason"),
    [
        ({"scope": 0.49}, Status.OUT_OF_SCOPE, "out_of_scope"),
        ({"scope": None}, Status.OUT_OF_SCOPE, "out_of_scope"),
        ({"scope": NAN}, Status.OUT_OF_SCOPE, "out_of_scope"),
        ({"margin": 0.19}, Status.AMBIGUOUS, "margin_too_small"),
        ({"margin": None}, Status.AMBIGUOUS, "margin_too_small"),
        ({"margin": NAN}, Status.AMBIGUOUS, "margin_too_small"),
        ({"confidence": 0.69}, Status.UNDETERMINED, "confidence_too_low"),
        ({"confidence": None}, Status.UNDETERMINED, "confidence_too_low"),
        ({"confidence": NAN}, Status.UNDETERMINED, "confidence_too_low"),
    ],
)
async def test_a_score_under_its_threshold_abstains(scores: dict[str, float | None], status: Status, reason: str) -> None:
    """A number that is too small, missing or not a number never passes, and the intent is taken back."""
    found = await classify(Tier(replace(SURE, **scores)))
    assert (found.status, found.intent, found.reason) == (status, None, reason)
    assert found.candidates == SURE.candidates


async def test_scores_at_the_threshold_pass() -> None:
    """Thresholds are the least values that are accepted."""
    assert (await classify(Tier(replace(SURE, confidence=0.7, margin=0.2, scope=0.5)))).status is Status.CLASSIFIED


async def test_ambiguity_names_the_two() -> None:
    """An ambiguous answer says between which two intents."""
    assert (await classify(Tier(replace(SURE, margin=0.0)))).prediction_set == ("cancel", "pay")


@pytest.mark.parametrize(
    ("plausible", "status", "reason"),
    [
        (("cancel",), Status.CLASSIFIED, ""),
        (("cancel", "pay"), Status.AMBIGUOUS, "several_plausible"),
        (("cancel", "pay", "ask"), Status.AMBIGUOUS, "several_plausible"),
        (("cancel", "pay", "ask", "leave"), Status.UNDETERMINED, "too_many_plausible"),
    ],
)
@pytest.mark.parametrize("confidence", [0.9, 0.3])
async def test_what_else_is_plausible_speaks_before_confidence(
    plausible: tuple[str, ...], status: Status, reason: str, confidence: float
) -> None:
    """Two or three plausible intents are a question to the caller, more are none; one is an answer if it is sure enough."""
    found = await classify(Tier(replace(SURE, prediction_set=plausible, confidence=confidence)))
    if len(plausible) == 1 and confidence < THRESHOLDS.confidence:
        status, reason = Status.UNDETERMINED, "confidence_too_low"
    assert (found.status, found.reason, found.prediction_set) == (status, reason, plausible)


async def test_nothing_is_plausible_out_of_scope() -> None:
    """A prediction set is about texts that are about an intent."""
    found = await classify(Tier(replace(SURE, prediction_set=("cancel", "pay"), scope=0.1)))
    assert (found.status, found.prediction_set) == (Status.OUT_OF_SCOPE, ())


PAY = replace(SURE, intent="pay", candidates=SURE.candidates[::-1])
VAGUE = replace(SURE, confidence=0.1)


def by_words(text: str) -> Classification:
    """As a tier would that knows two words."""
    return {(True, False): SURE, (False, True): PAY, (True, True): SURE}.get(("cancel" in text, "pay" in text), VAGUE)


async def test_two_requests_in_one_text_are_ambiguous() -> None:
    """Also where the text as a whole would have been accepted: one request is dispatched once."""
    found = await classify(Tier(by_words), "cancel the first one and pay the other one")
    assert (found.status, found.intent, found.reason) == (Status.AMBIGUOUS, None, "several_intents")
    assert found.prediction_set == ("cancel", "pay")


@pytest.mark.parametrize("text", ["cancel the first one and cancel the other one", "cancel the first one and do it now"])
async def test_clauses_that_agree_or_say_nothing_change_nothing(text: str) -> None:
    """The whole text's answer stands."""
    found = await classify(Tier(by_words), text)
    assert (found.status, found.intent) == (Status.CLASSIFIED, "cancel")


async def test_clauses_are_accepted_by_the_same_thresholds() -> None:
    """One that would abstain by itself is no second intent."""
    lenient = cascade(Tier(by_words), by_intent={"cancel": THRESHOLDS, "pay": replace(THRESHOLDS, confidence=0.95)})
    text = "cancel the first one and pay the other one"
    assert (await lenient.classify(text_request(text), None, False)).status is Status.CLASSIFIED


async def test_a_clause_must_be_plainer_than_a_text() -> None:
    """Circumstances are about something too, though less plainly so."""
    faint = Tier(lambda text: replace(by_words(text), scope=0.6))
    assert (await classify(faint, "cancel the first one and pay the other one")).intent == "cancel"


async def test_two_requests_are_remembered_as_two() -> None:
    """And no clause is asked about again."""
    tier = Tier(by_words)
    both = cascade(tier)
    for _ in range(2):
        found = await both.classify(text_request("cancel the first one and pay the other one"), None, False)
    assert (found.reason, found.cached, len(tier.asked)) == ("several_intents", True, 3)


async def test_clauses_share_the_deadline() -> None:
    """A text is not given more time for having many of them."""

    class Steady:
        name = "steady"

        async def classify(self, text: str) -> Classification:
            await asyncio.sleep(0.04)
            return SURE

    found = await cascade(Steady(), deadline_s=0.1).classify(text_request("do the one. do the two. do the three"), None, False)
    assert (found.status, found.reason) == (Status.UNAVAILABLE, "classifier_late")


async def test_courtesies_are_not_what_tiers_are_asked_about() -> None:
    """Neither around the whole text nor around its clauses."""
    tier = Tier(by_words)
    await classify(tier, "Hi, could you please cancel the first one, and please pay the other one, thanks!")
    assert tier.asked == ["cancel the first one, and please pay the other one", "cancel the first one", "pay the other one"]


@pytest.mark.parametrize("text", ["don't cancel payment 4711", "Please do not cancel it, I want to keep it"])
async def test_what_is_not_to_be_done_is_not_done(text: str) -> None:
    """However sure the tiers are of what it would be."""
    found = await classify(Tier(SURE), text)
    assert (found.status, found.intent, found.reason) == (Status.UNDETERMINED, None, "negated")
    assert found.candidates == SURE.candidates


async def test_an_intent_may_be_about_what_is_not_to_be_done() -> None:
    """Where its own examples negate the same; anything else that is negated in the text still counts."""
    stopping = cascade(Tier(SURE), by_intent={"cancel": replace(THRESHOLDS, negated=frozenset({"send"})), "pay": THRESHOLDS})
    assert (await stopping.classify(text_request("don't send payment 4711"), None, False)).intent == "cancel"
    assert (await stopping.classify(text_request("don't send it. don't cancel it"), None, False)).reason == "negated"


async def test_what_abstains_anyway_keeps_its_reason() -> None:
    """A text that is about no intent is out of scope, negated or not."""
    assert (await classify(Tier(replace(SURE, scope=0.1)), "don't sing")).reason == "out_of_scope"


async def test_a_rule_may_decide_about_a_negated_text() -> None:
    """What a rule's expression matches is what its author wanted."""
    found = await cascade(Tier(SURE)).classify(text_request("don't cancel it"), RuleMatch("r", "pay"), False)
    assert found.intent == "pay"


async def test_an_intent_may_have_its_own_thresholds() -> None:
    """The top intent's thresholds apply, not the listener's."""
    strict = cascade(Tier(SURE), by_intent={"cancel": replace(THRESHOLDS, confidence=0.95)})
    assert (await strict.classify(text_request("x"), None, False)).status is Status.UNDETERMINED


@pytest.mark.parametrize(
    ("tier", "reason"),
    [
        (Tier(ClassifierError("gone", "model_missing")), "model_missing"),
        (Tier(ValueError("broken")), "classifier_failed"),
        (Tier(TimeoutError()), "classifier_late"),
        (Tier(replace(SURE, intent="not-in-the-catalog")), "intent_unknown"),
        (Tier(replace(SURE, intent=None)), "intent_unknown"),
        (Tier(lambda _: None), "classifier_malformed"),  # type: ignore[arg-type, return-value]  # a tier that answers nonsense
        (SlowTier(), "classifier_late"),
    ],
)
async def test_whatever_goes_wrong_is_unavailable(tier: Tier | SlowTier, reason: str) -> None:
    """An error, nonsense, an unknown intent or no answer in time is never an intent."""
    found = await classify(tier, deadline_s=0.05)
    assert (found.status, found.intent, found.reason) == (Status.UNAVAILABLE, None, reason)


async def test_no_tier_is_unavailable() -> None:
    """A cascade without tiers says that it is not configured."""
    found = await cascade().classify(text_request("x"), None, False)
    assert (found.status, found.reason) == (Status.UNAVAILABLE, "classifier_missing")


@pytest.mark.parametrize(
    ("body", "undecided", "reason"),
    [
        (BodyView(b"{", "d", problem="malformed_json"), False, "malformed_json"),
        (BodyView(b"x", "d", text="cancel it", problem="text_too_long"), False, "text_too_long"),
        (BodyView(b"x", None, truncated=True), False, "body_truncated"),
        (BodyView(b"x", "d", text="cancel it"), True, "rule_undecided"),
        (BodyView(), False, "no_text"),
        (BodyView(b"x", "d", text=" \u200b\n\x00 "), False, "no_text"),
    ],
)
async def test_what_cannot_be_judged_is_undetermined(body: BodyView, undecided: bool, reason: str) -> None:
    """Where the text was not seen whole, or a rule before could not be judged, no tier is asked."""
    tier = Tier(SURE)
    found = await cascade(tier).classify(request_of(body), None, undecided)
    assert (found.status, found.intent, found.reason, tier.asked) == (Status.UNDETERMINED, None, reason, [])


async def test_a_rule_decides_for_certain() -> None:
    """A rule's intent needs no tier and has confidence 1, also where the text cannot be read."""
    tier, rule = Tier(SURE), RuleMatch("r", "pay")
    found = await cascade(tier).classify(request_of(BodyView(b"x", None, truncated=True)), rule, False)
    assert (found.status, found.intent, found.confidence, found.tier, found.rule) == (Status.CLASSIFIED, "pay", 1.0, "rule", rule)
    assert tier.asked == []


async def test_a_rule_may_say_that_no_intent_is_needed() -> None:
    """Such a request is skipped, not classified."""
    found = await cascade(Tier(SURE)).classify(text_request("x"), RuleMatch("r", None, "help"), False)
    assert (found.status, found.intent, found.confidence) == (Status.SKIPPED, None, None)


async def test_the_first_tier_that_stands_by_its_answer_counts() -> None:
    """A later tier is asked only where the one before abstains; the last one's answer stands."""
    unsure, sure = Tier(replace(SURE, confidence=0.1)), Tier(replace(SURE, intent="pay"))
    assert (await cascade(Tier(SURE), sure).classify(text_request("x"), None, False)).intent == "cancel"
    assert sure.asked == []
    assert (await cascade(unsure, sure).classify(text_request("x"), None, False)).intent == "pay"
    assert (await cascade(unsure, unsure).classify(text_request("x"), None, False)).status is Status.UNDETERMINED


async def test_an_answer_says_what_tiers_before_it_held_likeliest_and_why_they_did_not_decide() -> None:
    """Also from the cache: by which threshold it was passed over, a tier's own where it abstained by itself; at most three candidates; one
    that was sure is followed by none."""
    four = tuple(Candidate(name, 3.0, 0.1) for name in ("cancel", "pay", "look", "leave"))
    unsure = Tier(replace(SURE, confidence=0.1, candidates=four))
    by_itself = Tier(Classification(Status.UNDETERMINED, None, 0.6, 0.3, 0.9, 0.95, reason="static_unsure", tier="static"))
    pay = Tier(replace(SURE, intent="pay", candidates=(Candidate("pay", 3.0, 0.9),)))
    both = cascade(unsure, by_itself, pay)
    expected = (
        EarlierTier("told", "cancel", "confidence_too_low", 0.1, 0.7, SURE.margin, SURE.scope, four[:3]),
        EarlierTier("told", None, "static_unsure", 0.6, 0.95, 0.3, 0.9),
    )
    for cached in (False, True):
        found = await both.classify(text_request("x"), None, False)
        assert (found.intent, found.cached) == ("pay", cached)
        assert found.earlier_tiers == expected
    assert (await cascade(Tier(SURE), pay).classify(text_request("x"), None, False)).earlier_tiers == ()


async def test_answers_are_cached_by_normalised_text() -> None:
    """The same words in other spacing and with hidden characters are not asked again."""
    tier = Tier(SURE)
    both = cascade(tier)
    first = await both.classify(text_request("cancel it"), None, False)
    second = await both.classify(text_request(" cancel\u200b   it\n"), None, False)
    assert tier.asked == ["cancel it"]
    assert (first.cached, second.cached) == (False, True)
    assert second.intent == "cancel"


async def test_failures_are_not_cached() -> None:
    """A tier that recovers is heard again."""
    tier = Tier(ClassifierError("down"))
    both = cascade(tier)
    await both.classify(text_request("x"), None, False)
    tier.answer = Classification(Status.UNAVAILABLE, reason="starting")
    await both.classify(text_request("x"), None, False)
    tier.answer = SURE
    assert (await both.classify(text_request("x"), None, False)).status is Status.CLASSIFIED


async def test_long_texts_are_cached_by_their_digest() -> None:
    """What callers may make long is not kept, and two long texts with one beginning stay two."""
    tier = Tier(SURE)
    remembering = cascade(tier)
    for text in ("stop " * 1000, "stop " * 1000 + "it", "stop " * 1000):
        await remembering.classify(text_request(text), None, False)
    assert len(tier.asked) == 2
    assert sum(len(key) for key in remembering._cache) == 64


async def test_the_cache_is_bounded() -> None:
    """The least recently used text is forgotten first."""
    tier = Tier(SURE)
    small = cascade(tier, cache_size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await small.classify(text_request(text), None, False)
    assert tier.asked == ["a", "b", "c", "b"]


async def test_no_cache_asks_every_time() -> None:
    """Size 0 turns the cache off."""
    tier = Tier(SURE)
    uncached = cascade(tier, cache_size=0)
    for _ in range(2):
        await uncached.classify(text_request("a"), None, False)
    assert tier.asked == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  cancel \t payment\r\n4711 ", "cancel payment 4711"),
        ("ｃａｎｃｅｌ　４７１１", "cancel 4711"),
        ("can\u200bcel \u202eit\x00", "cancel it"),
        ("Müller", "Müller"),
        ("a\ud800b", "ab"),
        ("", ""),
    ],
)
def test_text_is_normalised(text: str, expected: str) -> None:
    """Compatibility forms, white space and invisible characters do not make another text."""
    assert normalise(text) == expected


@given(st.text(st.characters(codec=None)))
def test_normalised_text_has_nothing_invisible(text: str) -> None:
    """What is left can be seen, is valid Unicode, and has single spaces only."""
    normal = normalise(text)
    assert normal.encode("utf-8").decode("utf-8") == normal
    assert " ".join(normal.split()) == normal
    assert not any(unicodedata.category(character) in ("Cf", "Cc", "Cs") for character in normal)
