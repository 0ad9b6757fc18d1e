"""What reviewers said with their decisions, across `kill -9` of a real `lockgate serve` at each step between a decision and the opinion
that comes of it: nothing of it is lost, nothing is there twice, and the ledger verifies. In short: tests/e2e/test_learning.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.faults.review_story import Pair, Stage, Story, does, paired, staged
from tests.faults.test_reviews_serve import around, verifies
from tests.postgres_server import PostgresServer

SAID = Story(
    "/pay/8",
    (does("max", "reroute", route="once"), does("nora", "reject", intent="look", comment="Zoe Quist only looked")),
    ("held", "rerouted", "rejected"),
    "rejected",
)
OPINIONS = [("wrong", "look", "misrouted"), ("wrong", "single", "rerouted")]
REVIEWING = around("rerouted", "rejected")
LEARNING = tuple(f"{when} {what}" for what in ("lesson feedback", "lessons appended", "lessons recorded") for when in ("before", "after"))
CURSOR = ("before lesson overrides", "after lesson overrides")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all moments: each leaves it running, and started once more than before."""
    with staged(tmp_path_factory.mktemp("stage"), learning={}) as made:
        yield made


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with paired(postgres, tmp_path_factory.mktemp("pair"), learning={}) as made:
        yield made


def opinions(stage: Stage, review: str) -> Any:
    return stage.answered(lambda: stage.lockgate.control("GET", f"/v1/decisions/{review}/feedback")).json


def told(stage: Stage, review: str) -> list[dict[str, Any]]:
    """None of it before both are there."""
    found = [leaf for leaf in stage.leaves() if leaf.get("id") == review and leaf.get("event") == "feedback"]
    return found if len({str(leaf) for leaf in found}) == len(OPINIONS) else []


def taken_once(stage: Stage, moment: str) -> None:
    """A death between a record and its mark has the same record come once more, byte by byte."""
    before = stage.tries
    review = stage.hold(SAID)
    stage.dies(moment)
    stage.play(SAID, review)
    stage.ended(review, "rejected")
    until(lambda: len(opinions(stage, review)["opinions"]) == len(OPINIONS), "both were taken", 60)
    stage.died()
    assert stage.tries == before + 1, f"it did not die {moment}"
    found = opinions(stage, review)
    assert sorted((each["verdict"], each["intent"], each["reason"]) for each in found["opinions"]) == OPINIONS
    assert {(each["review"], each["version"], each["own"]) for each in found["opinions"]} == {(review, 1, False)}
    assert found["disagreement"]
    leaves = until(lambda: told(stage, review), "both were recorded", 60)
    assert sorted({leaf["details"]["intent"] for leaf in leaves}) == ["look", "single"]
    assert len(leaves) - len(OPINIONS) <= len(OPINIONS) * (moment in ("after lessons appended", "before lessons recorded"))
    assert "Zoe" not in str(leaves)
    verifies(stage)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [*REVIEWING, *LEARNING, *CURSOR])
def test_what_a_reviewer_said_is_taken_once_through_each_kill(stage: Stage, moment: str) -> None:
    """At every moment of the decision, of its record, of the opinion, of that one's record, and of the place."""
    taken_once(stage, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [*(each for each in REVIEWING if each.startswith("after step")), *LEARNING, *CURSOR])
def test_another_node_takes_what_a_dead_one_was_told(pair: Pair, moment: str) -> None:
    """Once, whichever of the two it was."""
    pair.both()
    taken_once(pair, moment)
