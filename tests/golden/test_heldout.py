"""How well the example catalog's model judges requests that nobody fitted anything to. Floors are what was measured
minus two points, or more where more was measured before."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from adapters.answers import answer
from embeddings.model import IntentModel
from router.decision import Classification, Status
from router.stages.classification import Thresholds, normalise
from router.wiring.encoder import ensure_model, load_model
from router.workspace import parse, read

HERE = Path(__file__).parent
HALDEN = HERE.parent.parent / "examples" / "halden"
CONFIDENCE, MARGIN, SCOPE, COVERAGE = 0.7, 0.1, 0.5, 0.95  # the defaults of `lockgate.yaml`
ACCURACY_FLOOR = 0.845  # measured 0.866 on 372 in-scope requests
ACCEPTED_ACCURACY_FLOOR = 0.965  # measured 0.979 of those that the thresholds accept
COVERAGE_FLOOR = 0.735  # measured 0.755: a story that holds two requests is asked back, which took two points
OUT_OF_SCOPE_FLOOR = 0.906  # measured 0.926 of 95 out-of-scope requests are not accepted
AMBIGUOUS_FLOOR = 0.98  # measured 1.0 of 45 ambiguous requests get one of their two intents, or an abstention
ASKED_FLOOR = 0.93  # measured 0.955 of 22 questions name an intent that is right

THRESHOLDS = Thresholds(CONFIDENCE, MARGIN, SCOPE)

Judged = list[tuple[dict[str, str], Classification]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> IntentModel:
    state, jwks = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("id") / "jwks.json"
    jwks.write_text(json.dumps({"keys": []}))
    environment = {**os.environ, "HALDEN_STATE": str(state), "HALDEN_JWKS": str(jwks)}
    workspace = parse(read(HALDEN / "lockgate.yaml", environment), environment)
    path = ensure_model(workspace)
    assert path is not None
    return load_model(workspace, path)


@pytest.fixture(scope="module")
def judged(model: IntentModel) -> Judged:
    with (HERE / "heldout.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 300
    least = model.least_probability(COVERAGE)
    return [(row, THRESHOLDS.judge(answer("encoder", model, model.predict(normalise(row["text"])), least))) for row in rows]


def accepted(found: Classification) -> bool:
    return found.status is Status.CLASSIFIED


def right(row: dict[str, str], found: Classification) -> bool:
    return found.candidates[0].intent in row["intent"].split("|")


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


def in_scope(judged: Judged) -> Judged:
    return [(row, found) for row, found in judged if row["kind"] not in ("out_of_scope", "ambiguous")]


def test_forced_choice_accuracy(judged: Judged) -> None:
    """The most likely intent is the right one for in-scope requests, at least as often as measured less two points."""
    assert share([right(*each) for each in in_scope(judged)]) >= ACCURACY_FLOOR


def test_accepted_answers_are_right_and_enough(judged: Judged) -> None:
    """At the default thresholds accepted answers are right, and not too few requests are accepted."""
    taken = [each for each in in_scope(judged) if accepted(each[1])]
    assert share([right(*each) for each in taken]) >= ACCEPTED_ACCURACY_FLOOR
    assert len(taken) / len(in_scope(judged)) >= COVERAGE_FLOOR


def test_out_of_scope_requests_are_not_accepted(judged: Judged) -> None:
    """What no intent covers is mostly turned away."""
    outside = [found for row, found in judged if row["kind"] == "out_of_scope"]
    assert share([not accepted(found) for found in outside]) >= OUT_OF_SCOPE_FLOOR


def test_ambiguous_requests_do_no_harm(judged: Judged) -> None:
    """A request that two intents fit gets one of the two, or an abstention."""
    unclear = [each for each in judged if each[0]["kind"] == "ambiguous"]
    assert share([right(*each) or not accepted(each[1]) for each in unclear]) >= AMBIGUOUS_FLOOR


def test_a_question_has_the_answer_among_its_own(judged: Judged) -> None:
    """Where a caller is asked which of two or three intents is meant, one of them nearly always is."""
    asked = [(row, found) for row, found in judged if found.reason == "several_plausible" and row["kind"] != "out_of_scope"]
    assert len(asked) >= 10
    assert share([bool(set(found.prediction_set) & set(row["intent"].split("|"))) for row, found in asked]) >= ASKED_FLOOR


def test_nothing_of_it_is_among_the_training_examples(judged: Judged) -> None:
    """No held-out text, folded, is an example of the catalog."""
    files = (HALDEN / "utterances").glob("*.txt")
    known = {normalise(line).casefold() for file in files for line in file.read_text("utf-8").splitlines()}
    assert [row["text"] for row, _ in judged if normalise(row["text"]).casefold() in known] == []
