"""A language model may override the encoder only as the version that was measured, and only where it was a gain."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaincinv

from router.decision import Candidate, Classification, Status
from router.errors import ClassifierError, ConfigError
from router.stages.llm_calibration import Kind, LlmCalibration, Measured, Observed, least_share, measure, merge

GOOD = Measured(right=95, wrong=5, lost=2)
USELESS = Measured(right=5, wrong=95, lost=60)
CALIBRATION = LlmCalibration("model-7b@1", "p" * 64, "c" * 64, Measured(90, 10, 10), GOOD, Measured(40, 2, 1))
SCORED = Classification(
    Status.CLASSIFIED, "cancel", 0.5, 0.05, 0.9, candidates=(Candidate("cancel", 3.0, 0.5), Candidate("pay", 2.9, 0.45)), tier="encoder"
)


def code(chosen: str | None, model: str, calibration: LlmCalibration) -> str:
    with pytest.raises(ClassifierError) as caught:
        merge(SCORED, chosen, model, calibration)
    return caught.value.code


def test_an_answer_has_the_confidence_of_its_kind() -> None:
    """Agreement and disagreement were measured apart; the margin of the encoder is not the model's."""
    agreed, other = merge(SCORED, "cancel", "model-7b@1", CALIBRATION), merge(SCORED, "pay", "model-7b@1", CALIBRATION)
    assert (agreed.status, agreed.intent, agreed.confidence) == (Status.CLASSIFIED, "cancel", CALIBRATION.agree.confidence)
    assert (other.status, other.intent, other.confidence) == (Status.CLASSIFIED, "pay", CALIBRATION.disagree.confidence)
    assert (other.tier, other.margin, other.calibration_digest, len(other.model_digest)) == ("llm", None, CALIBRATION.digest, 64)
    assert other.candidates == SCORED.candidates


def test_none_of_these_is_out_of_scope() -> None:
    """No intent and no confidence are left."""
    found = merge(SCORED, None, "model-7b@1", CALIBRATION)
    assert (found.status, found.intent, found.confidence, found.reason) == (Status.OUT_OF_SCOPE, None, None, "out_of_scope")


@pytest.mark.parametrize("model", ["", "model-7b", "model-7b@2", "MODEL-7B@1"])
def test_another_version_may_not_override(model: str) -> None:
    """What was measured of one version says nothing of another, and a server that names none is another."""
    assert code("pay", model, CALIBRATION) == "llm_version_unknown"


@pytest.mark.parametrize(("chosen", "kind"), [("cancel", "agree"), ("pay", "disagree"), (None, "none")])
@pytest.mark.parametrize("measured", [Measured(), USELESS, Measured(1, 0, 0), Measured(10, 10, 10)])
def test_without_a_measured_gain_nothing_is_overridden(chosen: str | None, kind: str, measured: Measured) -> None:
    """Nothing measured, too little measured, or as much harm as good: each kind of answer stands by itself."""
    if kind == "agree":
        measured = replace(measured, lost=measured.wrong)
    assert code(chosen, "model-7b@1", replace(CALIBRATION, **{kind: measured})) == "llm_no_gain"


def test_bounds_are_clopper_and_pearsons() -> None:
    """Known values: n of n right gives delta to the power of 1/n; the others are scipy's."""
    for hits, misses in ((1, 0), (1, 9), (9, 1), (50, 50), (700, 300), (3, 2000)):
        assert least_share(hits, misses) == pytest.approx(betaincinv(hits, misses + 1, 0.05), rel=1e-9)
    assert least_share(299, 0) == pytest.approx(0.05 ** (1 / 299))
    assert least_share(299, 0) >= 0.99
    assert least_share(298, 0) < 0.99
    assert (least_share(0, 0), least_share(0, 9)) == (0.0, 0.0)
    assert (Measured(4, 0, 0).may_override, Measured(5, 0, 0).may_override) == (False, True)


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_bound_is_never_over_the_share(hits: int, misses: int) -> None:
    """Confidence is never more than what was seen."""
    assert 0.0 <= least_share(hits, misses) <= hits / max(1, hits + misses)


def test_held_out_answers_are_counted_by_kind() -> None:
    """A wrong intent always does harm, since there was none before; a wrong none of these only where the encoder's first candidate was
    right. None of these for what the encoder took for out of scope already is neither a gain nor a loss."""
    observed = [
        Observed("pay", "pay", "pay"),
        Observed("pay", "cancel", "cancel"),
        Observed("pay", "cancel", "pay"),
        Observed("cancel", "cancel", "pay"),
        Observed("refund", "cancel", "pay"),
        Observed(None, "cancel", None),
        Observed("refund", "cancel", None),
        Observed("cancel", "cancel", None),
        Observed(None, "cancel", None, outside=True),
        Observed("cancel", "cancel", None, outside=True),
        Observed(None, "cancel", "cancel", outside=True),
    ]
    found = measure(observed, "m", "p", "c")
    assert [found.of(kind) for kind in Kind] == [Measured(1, 2, 2), Measured(1, 2, 2), Measured(1, 2, 1)]


def test_a_file_gives_back_what_was_written() -> None:
    """Counts, version and digests survive, and the digest is the same."""
    read = LlmCalibration.from_json(CALIBRATION.to_json())
    assert (read, read.digest) == (CALIBRATION, CALIBRATION.digest)


def changed(**values: object) -> bytes:
    return json.dumps({**json.loads(CALIBRATION.to_json()), **values}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        changed(schema="another"),
        changed(more=1),
        changed(model_reported=""),
        changed(model_reported="model-7b@2"),
        changed(disagree={"right": 96, "wrong": 4, "lost": 2}),
        changed(disagree={"right": 95, "wrong": 5, "lost": 6}),
        changed(disagree={"right": -1, "wrong": 5, "lost": 2}),
        changed(disagree={"right": 95.0, "wrong": 5, "lost": 2}),
        changed(disagree={"right": True, "wrong": 5, "lost": 2}),
        changed(disagree={"right": 95}),
        changed(disagree=[95, 5, 2]),
    ],
)
def test_a_file_that_was_changed_is_refused(data: bytes) -> None:
    """Edited counts, another version, missing or additional keys: one sentence says to make it anew."""
    with pytest.raises(ConfigError) as caught:
        LlmCalibration.from_json(data)
    assert str(caught.value).endswith("make it anew.")
