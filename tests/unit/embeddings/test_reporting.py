from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.artefact import Artefact
from embeddings.examples import training_set
from embeddings.fitting import judge
from embeddings.hashing_encoder import HashingEncoder
from embeddings.report import Report, report_from
from embeddings.reporting import Judged, make_report
from embeddings.train import load_or_train, report_of, silent
from tests.unit.embeddings.fitted import fit_and_judge

Catalog = dict[str, tuple[str, ...]]
STRAY = "kindly reset my password right now"


@pytest.fixture(scope="module")
def odd(catalog: Catalog) -> Catalog:
    """The catalog with an example under the wrong intent, one that stands nearly the same elsewhere, an intent with few examples, and two
    that nobody could tell apart."""
    doors = [(kind, word) for kind in ("red", "blue") for word in ("a", "b")]
    twins = {f"twin.{name}": tuple(f"open the {kind} door {name} {word}" for kind, word in doors) for name in "xy"}
    return {
        **catalog,
        "payments.status": (*catalog["payments.status"], STRAY),
        "it.laptop": (*catalog["it.laptop"], "please, download my payslip"),
        "people.canteen": ("what is for lunch", "the canteen's menu"),
        **twins,
    }


@pytest.fixture(scope="module")
def fitted(odd: Catalog) -> tuple[Artefact, Judged]:
    return fit_and_judge(odd)


@pytest.fixture(scope="module")
def report(fitted: tuple[Artefact, Judged]) -> Report:
    return make_report(fitted[0].digest, fitted[1])


def test_the_figures_are_the_models_own(fitted: tuple[Artefact, Judged], report: Report) -> None:
    """Accuracy and calibration error are what the model itself says."""
    assert report.model == fitted[0].digest
    assert report.accuracy == fitted[0].report["held_out_accuracy"]
    assert report.calibration_error == pytest.approx(fitted[0].report["held_out_calibration_error"])
    assert report.examples == fitted[0].report["examples"]


def test_intents_add_up(report: Report, odd: Catalog) -> None:
    """Every example is counted under its intent, and what is not recognised stands among the confusions."""
    assert {each.intent: each.examples for each in report.intents} == {name: len(texts) for name, texts in odd.items()}
    missed = {each.intent: round((1 - each.recall) * each.held_out) for each in report.intents if each.recall is not None}
    confused = {name: sum(each.count for each in report.confusions if each.intent == name) for name in odd}
    assert confused == missed
    assert sum(confused.values()) == round((1 - report.accuracy) * report.held_out)


def test_precision_and_recall_are_shares_of_answers_and_of_examples() -> None:
    """Two of three recognised, and one answer too many."""
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]))
    judged = Judged(
        ("a", "b"), ("v", "w", "x", "y", "z"), np.array([0, 0, 0, 1, 1]), np.eye(5, dtype=np.float32), np.arange(5), logits, 1.0
    )
    a = next(each for each in make_report("m", judged).intents if each.intent == "a")
    assert (a.precision, a.recall, a.f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert a.small
    assert a.recall_least < 2 / 3 < a.recall_most


def test_a_mislabelled_example_is_pointed_at(report: Report) -> None:
    """With what it looks like, and the example that it resembles."""
    found = next(each for each in report.mislabelled if each.text == STRAY)
    assert (found.intent, found.looks_like) == ("payments.status", "it.password")
    assert found.confidence > found.own
    assert "password" in found.nearest


def test_few_examples_are_flagged_though_nothing_is_known_of_their_quality(report: Report) -> None:
    """The suggestion says which intent and how many it has."""
    few = next(each for each in report.suggestions if each.code == "few_examples")
    assert "people.canteen" in few.intents
    assert "people.canteen (2)" in few.sentence


def test_intents_nobody_could_tell_apart_overlap(report: Report) -> None:
    """More than any other two."""
    assert (report.overlaps[0].first, report.overlaps[0].second) == ("twin.x", "twin.y")
    assert any(each.code == "overlapping_intents" and set(each.intents) == {"twin.x", "twin.y"} for each in report.suggestions)


def test_the_same_words_under_two_intents_are_alike(report: Report) -> None:
    """A pair is told once."""
    pairs = [{each.text, each.other_text} for each in report.alike]
    assert pairs.count({"please, download my payslip", "please download my payslip"}) == 1


def test_a_risk_that_is_not_proved_says_how_much_is_missing(report: Report) -> None:
    """For each risk, and as advice for the stated one."""
    assert [each.max_error for each in report.coverage] == [0.005, 0.01, 0.02, 0.05]
    stated = report.coverage[1]
    assert stated.confidence is None
    unproved = next(each for each in report.suggestions if each.code == "unproved_risk")
    assert (f"{stated.needed:,} in all" in unproved.sentence) == (stated.needed is not None)


def test_judging_again_gives_the_same_report(odd: Catalog, fitted: tuple[Artefact, Judged], report: Report) -> None:
    """To the last bit: a report that is lost can be made anew."""
    again = judge(training_set(odd, ()), HashingEncoder(), fitted[0].report["strength"], silent)
    assert make_report(fitted[0].digest, again) == report


def test_of_a_catalog_without_a_mistake_none_is_made_up(catalog: Catalog) -> None:
    """Where every held-out answer is right nothing is confused and nothing mislabelled."""
    artefact, judged = fit_and_judge(catalog)
    made = make_report(artefact.digest, judged)
    assert made.accuracy == 1.0
    assert made.confusions == made.mislabelled == made.alike == ()
    assert {each.recall for each in made.intents} == {1.0}


def test_reporting_changes_no_model(catalog: Catalog, tmp_path: Path) -> None:
    """The digest is the same with a report and without."""
    reported = load_or_train(tmp_path / "with", catalog, (), HashingEncoder(), reports=tmp_path / "reports")
    plain = load_or_train(tmp_path / "without", catalog, (), HashingEncoder())
    assert reported.digest == plain.digest == fit_and_judge(catalog)[0].digest


def test_a_lost_report_is_made_again(catalog: Catalog, tmp_path: Path) -> None:
    """The file has the same bytes as the one that training wrote."""
    model = load_or_train(tmp_path, catalog, (), HashingEncoder(), reports=tmp_path / "reports")
    (path,) = (tmp_path / "reports").iterdir()
    first = path.read_bytes()
    path.unlink()
    report = report_of(model, catalog, (), tmp_path / "reports")
    assert path.read_bytes() == first
    assert report_of(model, {}, (), tmp_path / "reports") == report  # read, not made: there is nothing to make it from


@st.composite
def judgements(draw: st.DrawFn) -> Judged:
    """Any answers to any examples: of two to five intents, some with one example, which is never held out."""
    classes = draw(st.integers(2, 5))
    counts = draw(st.lists(st.integers(1, 6), min_size=classes, max_size=classes).filter(lambda each: sum(n > 1 for n in each) >= 2))
    labels = np.repeat(np.arange(classes), counts)
    rows = np.flatnonzero(np.array(counts)[labels] > 1)
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = chance.normal(size=(len(labels), 3)).round(draw(st.integers(0, 3))).astype(np.float32) + np.float32(0.01)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = draw(st.sampled_from([0.0, 1.0, 50.0])) * chance.normal(size=(len(rows), classes)).round(1)
    texts = tuple(f"text {number}" for number in range(len(labels)))
    return Judged(tuple("abcde"[:classes]), texts, labels, vectors, rows, logits, draw(st.sampled_from([0.1, 1.0, 20.0])))


@given(judgements())
def test_any_answers_can_be_reported_on(judged: Judged) -> None:
    """A report must never stand in the way of a model; what is in it is in bounds, and survives being written down."""
    report = make_report("sha256:0", judged)
    assert sum(each.count for each in report.confusions) == round((1 - report.accuracy) * report.held_out)
    assert all(0.0 <= each.recall_least <= each.recall_most <= 1.0 for each in report.intents)
    assert all(each.intent != each.looks_like for each in report.mislabelled)
    assert all(each.confused + each.crossed >= 3 for each in report.overlaps)
    assert report_from(json.loads(json.dumps(asdict(report), allow_nan=False))) == report
