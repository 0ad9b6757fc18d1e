"""How well the example catalog's model judges requests that nobody fitted anything to. Floors are what was measured minus two points."""

from __future__ import annotations

import asyncio
import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from embeddings.model import IntentModel
from embeddings.passages import passages
from router.decision import Classification, Status
from router.ports import Tier
from router.stages.classification import Cascade, Thresholds, normalise
from router.system import SystemClock
from router.wiring.encoder import ensure_model, load_model, make_tiers
from router.wiring.stages import by_intent_thresholds
from router.workspace import Workspace, parse, read

HERE = Path(__file__).parent
HALDEN = HERE.parent.parent / "examples" / "halden"
DEADLINE_S = 60.0  # of a text: what is judged here is no speed


@dataclass(frozen=True, slots=True)
class Floors:
    """What was measured, less two points."""

    accuracy: float  # of 372 in-scope requests
    accepted_accuracy: float  # of those that the thresholds accept
    coverage: float
    out_of_scope: float  # of 95 out-of-scope requests are not accepted
    ambiguous: float  # of 45 ambiguous requests get one of their two intents, or an abstention
    asked: float  # of the questions name an intent that is right


FLOORS = {
    "encoder": Floors(0.854, 0.962, 0.725, 0.938, 0.98, 0.917),
    "cascade": Floors(0.859, 0.963, 0.754, 0.917, 0.98, 0.903),
}

Judged = list[tuple[dict[str, str], Classification]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    state, jwks = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("id") / "jwks.json"
    jwks.write_text(json.dumps({"keys": []}))
    environment = {**os.environ, "HALDEN_STATE": str(state), "HALDEN_JWKS": str(jwks)}
    return parse(read(HALDEN / "lockgate.yaml", environment), environment)


@pytest.fixture(scope="module", params=["encoder", "cascade"])
def served(request: pytest.FixtureRequest) -> str:
    """The encoder by itself, and with the static tier before it."""
    return str(request.param)


@pytest.fixture(scope="module")
def floors(served: str) -> Floors:
    return FLOORS[served]


@pytest.fixture(scope="module")
def judged(workspace: Workspace, served: str) -> Judged:
    with (HERE / "heldout.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 300
    path = ensure_model(workspace)
    assert path is not None
    model = load_model(workspace, path)
    tiers = make_tiers(workspace, model, path)
    assert [tier.name for tier in tiers] == ["static", "encoder"]
    return list(zip(rows, asyncio.run(_answers(workspace, model, tiers[1:] if served == "encoder" else tiers, rows)), strict=True))


async def _answers(workspace: Workspace, model: IntentModel, tiers: Sequence[Tier], rows: list[dict[str, str]]) -> list[Classification]:
    """As requests are answered, by the thresholds of the company's `lockgate.yaml`."""
    classifier = workspace.config.classifier
    default = Thresholds(classifier.min_confidence, classifier.min_margin, classifier.min_scope)
    cascade = Cascade(
        tiers,
        default,
        by_intent_thresholds(workspace, default, model),
        catalog_digest="",
        deadline_s=DEADLINE_S,
        cache_size=0,
        clock=SystemClock(),
        in_passages=lambda text: bool(passages(text)),
    )
    return [(await cascade.tiers_say(normalise(row["text"])))[1] for row in rows]


def accepted(found: Classification) -> bool:
    return found.status is Status.CLASSIFIED


def right(row: dict[str, str], found: Classification) -> bool:
    return found.candidates[0].intent in row["intent"].split("|")


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


def in_scope(judged: Judged) -> Judged:
    return [(row, found) for row, found in judged if row["kind"] not in ("out_of_scope", "ambiguous")]


def test_forced_choice_accuracy(judged: Judged, floors: Floors) -> None:
    """The most likely intent is the right one for in-scope requests, at least as often as measured less two points."""
    assert share([right(*each) for each in in_scope(judged)]) >= floors.accuracy


def test_accepted_answers_are_right_and_enough(judged: Judged, floors: Floors) -> None:
    """At the default thresholds accepted answers are right, and not too few requests are accepted."""
    taken = [each for each in in_scope(judged) if accepted(each[1])]
    assert share([right(*each) for each in taken]) >= floors.accepted_accuracy
    assert len(taken) / len(in_scope(judged)) >= floors.coverage


def test_out_of_scope_requests_are_not_accepted(judged: Judged, floors: Floors) -> None:
    """What no intent covers is mostly turned away."""
    outside = [found for row, found in judged if row["kind"] == "out_of_scope"]
    assert share([not accepted(found) for found in outside]) >= floors.out_of_scope


def test_ambiguous_requests_do_no_harm(judged: Judged, floors: Floors) -> None:
    """A request that two intents fit gets one of the two, or an abstention."""
    unclear = [each for each in judged if each[0]["kind"] == "ambiguous"]
    assert share([right(*each) or not accepted(each[1]) for each in unclear]) >= floors.ambiguous


def test_a_question_has_the_answer_among_its_own(judged: Judged, floors: Floors) -> None:
    """Where a caller is asked which of two or three intents is meant, one of them nearly always is."""
    asked = [(row, found) for row, found in judged if found.reason == "several_plausible" and row["kind"] != "out_of_scope"]
    assert len(asked) >= 10
    assert share([bool(set(found.prediction_set) & set(row["intent"].split("|"))) for row, found in asked]) >= floors.asked


def test_nothing_of_it_is_among_the_training_examples(judged: Judged) -> None:
    """No held-out text, folded, is an example of the catalog."""
    files = (HALDEN / "utterances").glob("*.txt")
    known = {normalise(line).casefold() for file in files for line in file.read_text("utf-8").splitlines()}
    assert [row["text"] for row, _ in judged if normalise(row["text"]).casefold() in known] == []
