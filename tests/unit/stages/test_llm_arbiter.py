"""The arbiter is asked about what the tiers left open, and whatever becomes of it never costs their answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from adapters.local_answers import LocalAnswers
from router.decision import Candidate, Classification, Status
from router.errors import ClassifierError
from router.ports import Arbiter, Completion
from router.stages.classification import Cascade, Thresholds
from router.stages.llm_arbiter import UNSURE, LlmArbiter
from router.stages.llm_calibration import LlmCalibration, Measured
from router.stages.llm_choice import Described
from router.system import SystemClock
from tests.contract.test_shared_answers import Seen
from tests.unit.stages.requests import text_request

THRESHOLDS = Thresholds(confidence=0.7, margin=0.2, scope=0.5)
OPEN = Classification(
    Status.CLASSIFIED, "cancel", 0.5, 0.3, 0.9, candidates=(Candidate("cancel", 3.0, 0.5), Candidate("pay", 2.9, 0.2)), tier="encoder"
)
CALIBRATION = LlmCalibration("m@1", "p", "c", Measured(95, 5, 5), Measured(95, 5, 2), Measured(95, 5, 2))
DESCRIBED = {name: Described(name, f"What {name} is.") for name in ("cancel", "pay")}


class Encoder:
    name = "encoder"

    def __init__(self, answer: Classification) -> None:
        self.answer = answer
        self.asked = 0

    async def classify(self, text: str) -> Classification:
        self.asked += 1
        return self.answer


class Model:
    """A language model in memory: chooses the intent that it was told to, by the id under which it finds it."""

    def __init__(self, intent: str | None, model: str = "m@1") -> None:
        self.intent = intent
        self.model = model
        self.users: list[str] = []

    async def complete(self, system: str, user: str, schema: Mapping[str, Any]) -> Completion:
        self.users.append(user)
        ids = {option.get("name"): option["id"] for option in json.loads(user)["options"]}
        return Completion(json.dumps({"choice": ids[self.intent]}), self.model)


class Answering:
    name = "llm"

    def asks(self, judged: Classification) -> bool:
        return judged.reason in UNSURE

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def arbitrate(self, text: str, scored: Classification) -> Classification:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # also what is no classification


def arbiter(model: Model, calibration: LlmCalibration | None = CALIBRATION, **options: Any) -> LlmArbiter:
    defaults: dict[str, Any] = {"allowed": frozenset(DESCRIBED), "mask": str, "prompt_digest": "p", "catalog_digest": "c"}
    return LlmArbiter(model, DESCRIBED, calibration, **(defaults | options))


def cascade(asked: Arbiter, scored: Classification = OPEN, thresholds: Thresholds = THRESHOLDS) -> Cascade:
    intents = {"cancel": thresholds, "pay": thresholds}
    tier = Encoder(scored)
    return Cascade([tier], thresholds, intents, catalog_digest="c", deadline_s=5.0, cache_size=10, clock=SystemClock(), arbiter=asked)


async def classify(asked: Arbiter, scored: Classification = OPEN, thresholds: Thresholds = THRESHOLDS) -> Classification:
    return await cascade(asked, scored, thresholds).classify(text_request("stop it"), None, False)


@pytest.mark.parametrize("scores", [{"margin": 0.0}, {"confidence": 0.1}])
async def test_what_the_encoder_leaves_open_is_decided(scores: dict[str, float]) -> None:
    """An ambiguous or undetermined text gets the model's intent, with measured confidence and the time that it took."""
    found = await classify(arbiter(Model("pay")), replace(OPEN, **scores))
    assert (found.status, found.intent, found.tier, found.prediction_set) == (Status.CLASSIFIED, "pay", "llm", ("pay",))
    assert (found.confidence, found.threshold, found.catalog_digest) == (CALIBRATION.disagree.confidence, 0.7, "c")
    assert [stage for stage, _ in found.stages_ns] == ["llm"]
    reason = "margin_too_small" if "margin" in scores else "confidence_too_low"
    assert [(each.tier, each.intent, each.reason) for each in found.earlier_tiers] == [("encoder", "cancel", reason)]


@pytest.mark.parametrize("scores", [{"confidence": 0.9}, {"scope": 0.1}, {"intent": "unknown"}])
async def test_what_the_encoder_decides_is_not_asked(scores: dict[str, Any]) -> None:
    """An accepted answer, a text about no intent and a failure are none of the arbiter's business."""
    model = Model("pay")
    await classify(arbiter(model), replace(OPEN, **scores))
    assert model.users == []


async def test_out_of_scope_is_asked_where_that_is_wanted() -> None:
    """What the arbiter is asked about is configured."""
    asked = arbiter(Model("cancel"), asked_about=UNSURE | {"out_of_scope"})
    assert (await classify(asked, replace(OPEN, scope=0.1))).status is Status.CLASSIFIED


async def test_a_route_that_does_not_allow_it_keeps_its_texts() -> None:
    """Where the likeliest intent's route allows no language model, no text leaves, and the abstention is what it would be without one."""
    model = Model("pay")
    found = await classify(arbiter(model, allowed=frozenset({"pay"})))
    assert (found.status, found.reason, model.users) == (Status.UNDETERMINED, "confidence_too_low", [])


async def test_an_intent_whose_route_does_not_allow_it_is_not_chosen() -> None:
    """The model may be asked, and still not send a request where it may not."""
    found = await classify(arbiter(Model("pay"), allowed=frozenset({"cancel"})))
    assert (found.status, found.intent, found.reason, found.tier) == (Status.UNDETERMINED, None, "llm_not_allowed", "encoder")


async def test_a_text_leaves_masked() -> None:
    """What the mask takes out is in no question; texts that differ in that alone are one question."""
    model = Model("pay")
    asked = arbiter(model, mask=lambda text: text.replace("ann@example.org", "[email]"), cache_size=2)
    for text in ("write to ann@example.org", "write to [email]"):
        await asked.arbitrate(text, OPEN)
    assert [json.loads(user)["text"] for user in model.users] == ["write to [email]"]


async def test_a_text_that_cannot_be_masked_stays_here() -> None:
    """A mask that fails is a failure of the arbiter, before anything was sent."""

    def broken(text: str) -> str:
        raise RuntimeError(text)

    model = Model("pay")
    found = await classify(arbiter(model, mask=broken))
    assert (found.status, found.reason, model.users) == (Status.UNDETERMINED, "llm_failed", [])


async def test_one_of_several_plausible_intents_is_chosen() -> None:
    """Where the encoder is sure but of more than one, the model says which."""
    several = replace(OPEN, confidence=0.9, margin=0.5, prediction_set=("cancel", "pay"))
    found = await classify(arbiter(Model("pay")), several)
    assert (found.status, found.intent, found.prediction_set) == (Status.CLASSIFIED, "pay", ("pay",))


async def test_what_is_not_to_be_done_is_not_chosen() -> None:
    """A model's choice is taken back as an encoder's is, where the text says what not to do."""
    found = await cascade(arbiter(Model("cancel"))).classify(text_request("do not cancel it"), None, False)
    assert (found.status, found.intent, found.reason) == (Status.UNDETERMINED, None, "negated")


async def test_none_of_these_is_out_of_scope() -> None:
    """The request abstains, as one about nothing that is served here."""
    found = await classify(arbiter(Model(None)))
    assert (found.status, found.intent, found.tier) == (Status.OUT_OF_SCOPE, None, "llm")


@pytest.mark.parametrize(
    "calibration", [None, replace(CALIBRATION, prompt_digest="another"), replace(CALIBRATION, catalog_digest="another")]
)
async def test_a_model_that_is_not_calibrated_is_not_asked(calibration: LlmCalibration | None) -> None:
    """Without a calibration for this prompt and catalog the encoder's answer stands, and no text leaves."""
    model = Model("pay")
    found = await classify(arbiter(model, calibration))
    assert (found.status, found.intent, found.reason, found.tier) == (Status.UNDETERMINED, None, "llm_uncalibrated", "encoder")
    assert model.users == []


async def test_a_model_without_any_gain_is_not_asked() -> None:
    """Where no kind of answer was found to be better, there is nothing to ask for."""
    model = Model("pay")
    assert (await classify(arbiter(model, LlmCalibration("m@1", "p", "c")))).reason == "llm_no_gain"
    assert model.users == []


async def test_another_version_leaves_the_encoders_answer() -> None:
    """The scores, candidates and status are the encoder's; the reason says why."""
    found = await classify(arbiter(Model("pay", "m@2")), replace(OPEN, margin=0.0))
    assert (found.status, found.intent, found.reason, found.tier) == (Status.AMBIGUOUS, None, "llm_version_unknown", "encoder")
    assert (found.prediction_set, found.candidates, found.confidence) == (("cancel", "pay"), OPEN.candidates, 0.5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ClassifierError("spent", "llm_budget"), "llm_budget"),
        (TimeoutError(), "llm_late"),
        (ValueError("broken"), "llm_failed"),
        (None, "llm_malformed"),
        (replace(OPEN, intent="refund"), "llm_malformed"),
        (replace(OPEN, intent=None), "llm_malformed"),
        (replace(OPEN, status=Status.AMBIGUOUS), "llm_malformed"),
        (replace(OPEN, intent="pay", confidence=None), "llm_confidence_too_low"),
        (replace(OPEN, intent="pay", confidence=float("nan")), "llm_confidence_too_low"),
        (replace(OPEN, intent="pay", confidence=0.69), "llm_confidence_too_low"),
    ],
)
async def test_whatever_goes_wrong_leaves_the_encoders_abstention(answer: object, reason: str) -> None:
    """An error, nonsense, an intent that was not offered or too little confidence is never an intent."""
    found = await classify(Answering(answer))
    assert (found.status, found.intent, found.reason, found.tier, found.confidence) == (Status.UNDETERMINED, None, reason, "encoder", 0.5)


async def test_a_candidate_that_the_catalog_lacks_is_no_intent() -> None:
    """Even an arbiter that names a candidate cannot bring in an intent without thresholds."""
    scored = replace(OPEN, candidates=(*OPEN.candidates, Candidate("refund", 0.1, 0.1)))
    assert (await classify(Answering(replace(OPEN, intent="refund")), scored)).reason == "intent_unknown"


async def test_a_stated_risk_holds_for_the_arbiter_by_itself() -> None:
    """With `max_error` its confidence must reach 1 - max_error, however low the encoder's threshold is."""
    at_risk = replace(THRESHOLDS, confidence=0.7, max_error=0.01)
    assert (await classify(arbiter(Model("pay")), thresholds=at_risk)).reason == "llm_confidence_too_low"
    proven = replace(CALIBRATION, disagree=Measured(299, 0, 0))
    assert (await classify(arbiter(Model("pay"), proven), thresholds=at_risk)).intent == "pay"


async def test_what_cannot_be_proved_for_an_intent_no_arbiter_proves() -> None:
    """A threshold that nothing reaches, as a reviewed file may have, is not passed by a model either."""
    never = replace(THRESHOLDS, confidence=2.0, max_error=0.01)
    proven = replace(CALIBRATION, disagree=Measured(299, 0, 0))
    assert (await classify(arbiter(Model("pay"), proven), thresholds=never)).reason == "llm_confidence_too_low"


async def test_a_long_text_is_not_sent() -> None:
    """One text cannot spend what all others may."""
    model = Model("pay")
    found = await cascade(arbiter(model)).classify(text_request("stop it " * 300), None, False)
    assert (found.reason, model.users) == ("llm_text_long", [])


async def test_the_encoders_answer_is_kept_when_the_arbiter_is_cancelled() -> None:
    """A caller who leaves while the model thinks has not made the encoder work for nothing."""

    class Slow(Answering):
        async def arbitrate(self, text: str, scored: Classification) -> Classification:
            await asyncio.sleep(60)
            return scored

    slow = cascade(Slow(None))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await slow.classify(text_request("stop it"), None, False)
    slow._arbiter = None
    assert (await slow.classify(text_request("stop it"), None, False)).cached


async def test_choices_are_remembered_by_text_and_candidates() -> None:
    """The same question is not asked again, another one is, and the least recently used is forgotten."""
    model = Model("pay")
    asked = arbiter(model, cache_size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await asked.arbitrate(text, OPEN)
    assert [json.loads(user)["text"] for user in model.users] == ["a", "b", "c", "b"]
    described = {**DESCRIBED, "refund": Described("refund", "Money back.")}
    wider = LlmArbiter(
        model,
        described,
        CALIBRATION,
        allowed=frozenset(described),
        mask=str,
        prompt_digest="p",
        catalog_digest="c",
        cache_size=2,
    )
    await wider.arbitrate("a", OPEN)
    await wider.arbitrate("a", replace(OPEN, candidates=(*OPEN.candidates, Candidate("refund", 0.1, 0.1))))
    assert len(model.users) == 6


async def test_only_the_top_candidates_are_offered() -> None:
    """No more than configured, and never one that the catalog does not describe."""
    model = Model("cancel")
    many = (Candidate("gone", 4.0, 0.3), *OPEN.candidates)
    await arbiter(model, candidates=2).arbitrate("a", replace(OPEN, candidates=many))
    assert [option.get("name") for option in json.loads(model.users[0])["options"]] == ["cancel", None]


async def test_another_nodes_answer_spares_the_model() -> None:
    """It decides the same, and the classification says that it came from a cache; as what this node remembers itself does."""
    answers = LocalAnswers(60.0, SystemClock(), Seen())
    asked, spared = Model("pay"), Model("cancel")
    first = await arbiter(asked, shared=answers).arbitrate("hm", OPEN)
    again = arbiter(spared, shared=answers, cache_size=5)
    second, third = await again.arbitrate("hm", OPEN), await again.arbitrate("hm", OPEN)
    assert (first.intent, first.cached) == ("pay", False)
    assert second == third == replace(first, cached=True)
    assert (len(asked.users), spared.users) == (1, [])


@pytest.mark.parametrize("other", [{"prompt_digest": "q"}, {"catalog_digest": "d"}, {"mask": str.upper}])
async def test_an_answer_to_another_question_is_none(other: dict[str, Any]) -> None:
    """Another prompt, catalog, measurement, or text."""
    answers = LocalAnswers(60.0, SystemClock(), Seen())
    await arbiter(Model("pay"), shared=answers).choose("hm", OPEN)
    asked = Model("pay")
    await arbiter(asked, replace(CALIBRATION, agree=Measured(90, 5, 5)), shared=answers).choose("hm", OPEN)
    await arbiter(asked, shared=answers, **other).choose("hm", OPEN)
    assert len(asked.users) == 2


@pytest.mark.parametrize("kept", [b"", b"null", b"{}", b'["transfer","m@1"]', b'["pay",""]', b'["pay"]', b'["pay",1]', b"[[],1]"])
async def test_what_is_no_choice_is_asked_again(kept: bytes) -> None:
    """An intent that was not offered is never chosen, whoever says so."""

    class Says:
        async def get(self, tier: str, key: bytes) -> bytes | None:
            return kept

        def put(self, tier: str, key: bytes, answer: bytes) -> None: ...

    asked = Model("pay")
    choice = await arbiter(asked, shared=Says()).choose("hm", OPEN)
    assert (choice.intent, choice.cached, len(asked.users)) == ("pay", False, 1)
