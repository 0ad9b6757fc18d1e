"""What labelled samples say of the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from router.adaptation.estimating import wilson
from router.adaptation.labelling import DONE, GONE, KIND, OPEN
from router.adaptation.measuring import Measured, measure
from router.adaptation.samples import Basis, full_days, sample
from router.ports import Lesson

A_DAY = 50


def task(*labels: str, **told: Any) -> Lesson:
    """A sampled decision for `pay` at 0.9, with what people said of it."""
    terms = {
        "strategies": ["random"],
        "probability": "0.010000",
        "chance": "0.010000",
        "decided": "2026-11-01T10:00:00.000000000Z",
        "tenant": None,
        "classified": "pay",
        "status": "classified",
        "confidence": "0.900000",
        "tier": "encoder",
        "model_digest": "m",
        "catalog_digest": "c",
        "answers": {f"person {place}": {"label": label} for place, label in enumerate(labels)},
    }
    state = told.pop("state", DONE if labels else OPEN)
    return Lesson(KIND, "t", "d", state, 7, {**terms, **told})


def measured(tasks: Sequence[Lesson], basis: Basis = Basis.RANDOM, least: int = 1, a_day: int = A_DAY) -> Measured:
    samples = [sample(each) for each in tasks]
    return measure(samples, basis, least, full_days(samples, a_day))


def test_accuracy_is_of_all_and_of_what_got_an_intent() -> None:
    """To be asked back is right where no intent was meant, and wrong where one was."""
    asked_back = {"status": "undetermined", "classified": None}
    tasks = [*[task("pay")] * 7, task("cancel"), task("out_of_scope")]
    tasks += [task("pay", **asked_back), task("out_of_scope", **asked_back), task("out_of_scope", status="out_of_scope", classified=None)]
    found = measured(tasks)
    assert found.accuracy is not None
    assert found.accepted_accuracy is not None
    assert (found.accuracy.value, found.accuracy.count) == (9 / 12, 12)
    assert (found.accepted_accuracy.value, found.accepted_accuracy.count) == (7 / 9, 9)
    assert (found.accepted_accuracy.low, found.accepted_accuracy.high) == pytest.approx(wilson(7 / 9, 9))


def test_what_says_nothing_is_counted_beside() -> None:
    """Nobody could tell, nobody said yet, the text is gone; one opinion beside somebody who is unsure is an opinion."""
    tasks = [task("pay"), task("pay", "unsure"), task("unsure"), task(), task(state=GONE), task("pay", state=GONE)]
    found = measured(tasks)
    assert (found.sampled, found.counted, found.waiting, found.unsure, found.gone, found.left_out) == (6, 3, 1, 1, 1, 0)


def test_people_who_differ_are_half_right_and_counted() -> None:
    found = measured([task("pay", "cancel"), task("pay", "pay")])
    assert found.accuracy is not None
    assert (found.accuracy.value, found.differing) == (0.75, 1)


def test_too_few_are_no_figure() -> None:
    """Of the whole, of an intent, of a version; how many there are is told all the same."""
    found = measured([*[task("pay")] * 9, task("cancel", classified="cancel", model_digest="n")], least=10)
    assert found.accuracy is not None
    assert [(each.name, each.labelled, each.right, each.calibration) for each in found.intents] == [
        (("pay",), 9, None, None),
        (("cancel",), 1, None, None),
    ]
    assert [each.name for each in found.versions] == [("m", "c"), ("n", "c")]
    assert measured([task("pay")] * 9, least=10).document()["calibration"] is None


def test_the_gap_is_confidence_without_accuracy() -> None:
    """0.9 and 6 of 10 right: 0.3 too sure, between what Wilson's interval leaves."""
    found = measured([*[task("pay")] * 6, *[task("cancel")] * 4]).calibration
    assert found is not None
    low, high = wilson(0.6, 10)
    assert (found.confidence, found.gap.value, found.gap.low, found.gap.high) == pytest.approx((0.9, 0.3, 0.9 - high, 0.9 - low))
    assert found.ece == pytest.approx(0.3)
    assert [(each.low, each.confidence, each.right.value, each.right.count) for each in found.bins] == [(0.9, pytest.approx(0.9), 0.6, 10)]


def test_each_intent_and_version_has_its_own_calibration() -> None:
    """The whole may be right where the parts are wrong in different ways."""
    surer = [task("pay")] * 4 + [task("cancel")] * 4
    humble = [task("ask", classified="ask", confidence="0.500000")] * 8
    found = {each.name: each.calibration for each in measured([*surer, *humble], least=8).intents}
    gaps = {name: None if each is None else (round(each.gap.value, 6), round(each.ece, 6), len(each.bins)) for name, each in found.items()}
    assert gaps == {("pay",): (0.4, 0.4, 1), ("ask",): (-0.5, 0.5, 1)}


def test_a_rules_certainty_is_no_calibrated_confidence() -> None:
    """It counts among what is right or wrong, and not among what confidences mean."""
    found = measured([task("pay"), task("cancel", tier="rule", confidence="1.000000")])
    assert found.accepted == 2
    assert found.calibration is not None
    assert found.calibration.gap.count == 1


def test_unsure_ones_count_only_with_their_weights() -> None:
    """Five in all: a random one stands for a hundred, an unsure one for five."""
    unsure = {"strategies": ["uncertain"], "probability": "0.200000"}
    tasks = [task("pay"), task("cancel", **unsure)]
    plain, weighted = measured(tasks).accuracy, measured(tasks, Basis.WEIGHTED).accuracy
    assert plain is not None
    assert weighted is not None
    assert (plain.value, plain.count) == (1.0, 1)
    assert (weighted.value, weighted.count) == (pytest.approx(100 / 105), 2)
    assert measured(tasks).left_out == 1


def test_on_a_day_that_was_full_only_random_ones_count() -> None:
    """An unsure one that chance took as well counts as the random one that it is."""
    both = {"strategies": ["random", "uncertain"], "probability": "0.208000"}
    only = {"strategies": ["uncertain"], "probability": "0.208000"}
    tasks = [task("pay"), task("cancel", **both), *[task("cancel", **only)] * 3]
    full, other = measured(tasks, Basis.WEIGHTED, a_day=4), measured(tasks, Basis.WEIGHTED)
    assert full.accuracy is not None
    assert other.accuracy is not None
    assert (full.full_days, full.accuracy.value, full.left_out) == (1, 0.5, 3)
    assert (other.full_days, other.accuracy.value) == (0, pytest.approx(100 / (100 + 4 / 0.208)))


def test_samples_of_nothing_random_say_nothing_of_everything() -> None:
    """Where only unsure ones are drawn, what is sure can never be among them."""
    found = measured([task("cancel", strategies=["uncertain"], chance="0.000000", probability="0.200000")], Basis.WEIGHTED)
    assert (found.accuracy, found.left_out) == (None, 1)


def _gaps(rng: Random, bias: float) -> Measured:
    tasks = []
    for _ in range(150):
        confidence = rng.uniform(0.6, 0.99)
        label = "pay" if rng.random() < confidence - bias else "cancel"
        tasks.append(task(label, confidence=f"{confidence:.6f}"))
    return measured(tasks)


@pytest.mark.parametrize("bias", [0.0, 0.15])
def test_the_gaps_interval_has_the_truth_in_it_as_often_as_it_says(bias: float) -> None:
    """In 95 of 100 cases at least."""
    rng, inside, runs = Random(64), 0, 200
    for _ in range(runs):
        found = _gaps(rng, bias).calibration
        assert found is not None
        inside += found.gap.low <= bias <= found.gap.high
    assert 0.93 <= inside / runs <= 1.0
