"""Risk only ever rises with what is found or not known, and never lies below the intent's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import Classification, Finding, Level, Signals, Status
from router.stages.risk import DEFAULT_WEIGHTS, LEVELS, RiskModel, Thresholds, noisy_or

MODEL = RiskModel()
SURE = Classification(Status.CLASSIFIED, "x", 0.97, scope=0.98, novelty=0.4)
SKIPPED = Classification(Status.SKIPPED)
NOTHING = Signals()

unit = st.floats(0, 1)
finding_names = st.sampled_from(
    [
        "pii.iban",
        "pii.email",
        "secret.jwt",
        "injection",
        "text.hidden_characters",
        "text.mixed_script",
        "size.large",
        "unusual.size",
        "unusual.rate",
        "new",
    ]
)
findings = st.lists(st.builds(Finding, finding_names, unit), max_size=5).map(tuple)
signals_of = st.builds(
    Signals, findings, unknown=st.sampled_from([(), ("pii",), ("injection", "secret")]), learning=st.sampled_from([(), ("unusual.rate",)])
)
classifications = st.builds(Classification, st.sampled_from(Status), st.none() | st.just("x"), st.none() | unit, novelty=st.none() | unit)
intent_risks = st.none() | st.sampled_from([level.value for level in Level])


def with_finding(name: str, score: float = 1.0) -> Signals:
    return Signals((Finding(name, score),))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("confidence", [0.6, 0.8, 0.99])
def test_an_ordinary_request_has_its_intents_level(level: Level, confidence: float) -> None:
    """A well-classified request without findings is as risky as its intent, whatever the accepted confidence."""
    assert MODEL.weigh(level.value, NOTHING, replace(SURE, confidence=confidence, novelty=0.9)).level is level


@pytest.mark.parametrize("level", LEVELS)
def test_a_rule_decides_without_doubt(level: Level) -> None:
    """A deterministic rule leaves the intent as the only contribution."""
    risk = MODEL.weigh(level.value, NOTHING, replace(SURE, confidence=1.0, novelty=0.0))
    assert [each.name for each in risk.contributions] == ["intent"]
    assert risk.level is level


def test_no_intent_needed_is_no_risk() -> None:
    """A rule that needs no intent contributes nothing."""
    assert MODEL.weigh(None, NOTHING, SKIPPED).score == 0.0
    assert MODEL.weigh(None, NOTHING, SKIPPED).level is Level.LOW


@pytest.mark.parametrize("name", ["pii.email", "pii.iban", "size.large"])
def test_ordinary_personal_data_keeps_a_low_request_low(name: str) -> None:
    """An address or an account in a well-classified low-risk request is everyday business."""
    assert MODEL.weigh("low", with_finding(name), SURE).level is Level.LOW


@pytest.mark.parametrize(
    ("name", "score", "level"), [("secret.jwt", 1.0, "medium"), ("injection", 0.7, "high"), ("injection", 0.45, "medium")]
)
def test_attacks_and_leaks_raise_the_level(name: str, score: float, level: str) -> None:
    """A credential makes a low-risk request medium, a clear injection makes it high."""
    assert MODEL.weigh("low", with_finding(name, score), SURE).level.value == level


def test_unknown_signals_raise_the_level() -> None:
    """A body that could not be inspected is not treated as clean."""
    assert MODEL.weigh("low", Signals(unknown=("pii",)), SURE).level is Level.MEDIUM


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.CLASSIFIED, Status.SKIPPED)])
def test_no_classification_is_medium_at_least(status: Status) -> None:
    """A request that nobody understood is not low risk."""
    assert MODEL.weigh(None, NOTHING, Classification(status)).level is Level.MEDIUM


@pytest.mark.parametrize("risk", ["", "Low", "extreme"])
def test_an_unknown_intent_risk_counts_as_critical(risk: str) -> None:
    """A level that does not exist is never read as low."""
    assert MODEL.weigh(risk, NOTHING, SURE).level is Level.CRITICAL


def test_a_classified_intent_without_risk_counts_as_critical() -> None:
    """An intent that the catalog does not have is never read as low."""
    assert MODEL.weigh(None, NOTHING, SURE).level is Level.CRITICAL


@pytest.mark.parametrize("number", [None, float("nan"), -1.0])
def test_a_missing_number_is_full_doubt(number: float | None) -> None:
    """Without a usable confidence the uncertainty is whole."""
    risk = MODEL.weigh("low", NOTHING, replace(SURE, confidence=number))
    assert {each.name: each.score for each in risk.contributions}["uncertainty"] == DEFAULT_WEIGHTS["uncertainty"]


@pytest.mark.parametrize("number", [None, float("nan"), -0.1, 1.1, 1.0])
def test_a_missing_novelty_is_the_highest(number: float | None) -> None:
    """A text that nothing is known of is not taken for a familiar one."""
    risk = MODEL.weigh("low", NOTHING, replace(SURE, novelty=number))
    assert {each.name: each.score for each in risk.contributions}["novelty"] == DEFAULT_WEIGHTS["novelty"]


@pytest.mark.parametrize(("novelty", "share"), [(0.0, 0.0), (0.9, 0.0), (0.95, 0.5), (1.0, 1.0)])
def test_only_the_most_unusual_tenth_is_novel(novelty: float, share: float) -> None:
    """Nine of ten ordinary texts add nothing."""
    contributions = {each.name: each.score for each in MODEL.weigh("low", NOTHING, replace(SURE, novelty=novelty)).contributions}
    assert contributions.get("novelty", 0.0) == pytest.approx(share * DEFAULT_WEIGHTS["novelty"])


@pytest.mark.parametrize(("injection", "share"), [(None, 0.0), (0.0, 0.0), (0.8, 0.0), (0.9, 0.5), (1.0, 1.0), (float("nan"), 1.0)])
def test_a_likely_injection_is_a_contribution(injection: float | None, share: float) -> None:
    """From where it is likely on, and wholly where the number makes no sense; nothing where the encoder was not asked."""
    contributions = {each.name: each.score for each in MODEL.weigh("low", NOTHING, replace(SURE, injection=injection)).contributions}
    assert contributions.get("injection_likely", 0.0) == pytest.approx(share * DEFAULT_WEIGHTS["injection_likely"])


def test_what_is_unusual_has_contributions_of_its_own() -> None:
    """Size and rate are weighed apart, and so is that too little was seen to say."""
    signals = Signals((Finding("unusual.size", 0.5), Finding("unusual.rate", 1.0)), learning=("x",))
    contributions = {each.name: each.score for each in MODEL.weigh("low", signals, SURE).contributions}
    assert contributions["unusual_size"] == DEFAULT_WEIGHTS["unusual_size"] / 2
    assert contributions["unusual_rate"] == DEFAULT_WEIGHTS["unusual_rate"]
    assert contributions["learning"] == DEFAULT_WEIGHTS["learning"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_start_from_nothing_keeps_the_intents_level(level: Level) -> None:
    """While everything is still learnt, ordinary requests are as risky as their intents."""
    assert MODEL.weigh(level.value, Signals(learning=("unusual.size", "unusual.rate")), replace(SURE, confidence=0.6)).level is level


def test_contributions_have_names() -> None:
    """Policy can read what made the risk."""
    signals = Signals((Finding("pii.iban", 1.0), Finding("pii.email", 1.0), Finding("injection", 0.5)), unknown=("secret",))
    risk = MODEL.weigh("medium", signals, SURE)
    assert [each.name for each in risk.contributions] == ["intent", "uncertainty", "pii", "injection", "unknown_signals"]
    assert risk.score == pytest.approx(noisy_or(each.score for each in risk.contributions))


def test_a_weight_can_be_replaced() -> None:
    """The catalog's weights count, for a group and for one kind of finding."""
    assert RiskModel(weights={"pii": 0.9}).weigh("low", with_finding("pii.email"), SURE).level is Level.CRITICAL
    narrow = RiskModel(weights={"pii.iban": 0.9})
    assert narrow.weigh("low", with_finding("pii.iban"), SURE).level is Level.CRITICAL
    assert narrow.weigh("low", with_finding("pii.email"), SURE).level is Level.LOW


def test_thresholds_can_be_replaced() -> None:
    """The catalog says where levels begin."""
    strict = RiskModel(Thresholds(0.05, 0.08, 0.1))
    assert strict.weigh("low", NOTHING, SURE).level is Level.CRITICAL


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    """A weight that would break the range is an error at construction."""
    with pytest.raises(ValueError, match="risk weight 'pii'"):
        RiskModel(weights={"pii": weight})


@given(intent_risks, signals_of, classifications)
def test_the_score_is_in_range_and_the_level_no_lower_than_the_intents(risk: str | None, signals: Signals, found: Classification) -> None:
    """Whatever comes in, the score lies in 0..1 and the intent's own risk is the floor."""
    weighed = MODEL.weigh(risk, signals, found)
    assert 0.0 <= weighed.score <= 1.0
    assert risk is None or LEVELS.index(weighed.level) >= LEVELS.index(Level(risk))
    assert all(0.0 < each.score <= 1.0 for each in weighed.contributions)
    assert len({each.name for each in weighed.contributions}) == len(weighed.contributions)


@given(intent_risks, signals_of, classifications, st.builds(Finding, finding_names, unit))
def test_another_finding_never_lowers_the_risk(risk: str | None, signals: Signals, found: Classification, more: Finding) -> None:
    """Risk is monotone in what was found."""
    before = MODEL.weigh(risk, signals, found)
    after = MODEL.weigh(risk, replace(signals, findings=(*signals.findings, more)), found)
    assert after.score >= before.score - 1e-12
    assert LEVELS.index(after.level) >= LEVELS.index(before.level)


@given(intent_risks, findings, classifications)
def test_not_knowing_never_lowers_the_risk(risk: str | None, found_signals: tuple[Finding, ...], found: Classification) -> None:
    """Signals that could not be computed and a confidence that is missing only raise it."""
    known = MODEL.weigh(risk, Signals(found_signals), found)
    assert MODEL.weigh(risk, Signals(found_signals, unknown=("injection",)), found).score >= known.score
    assert MODEL.weigh(risk, Signals(found_signals, learning=("unusual.size",)), found).score >= known.score
    assert MODEL.weigh(risk, Signals(found_signals), replace(found, confidence=None, novelty=None)).score >= known.score


@given(signals_of, classifications)
def test_a_riskier_intent_never_lowers_the_risk(signals: Signals, found: Classification) -> None:
    """Score and level rise with the intent's risk."""
    weighed = [MODEL.weigh(level.value, signals, found) for level in LEVELS]
    assert [each.score for each in weighed] == sorted(each.score for each in weighed)
    assert [LEVELS.index(each.level) for each in weighed] == sorted(LEVELS.index(each.level) for each in weighed)
