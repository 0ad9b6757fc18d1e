"""A held request across `kill -9` of a real `lockgate serve` at each of its durable steps: what a person had done stands, what they had not
been answered is done once more and counts once, what is approved reaches a real service once, and nothing is stuck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.e2e.processes import until
from tests.faults.review_story import (
    APPROVAL,
    CANCELLED,
    HANDED_ON,
    LATE,
    PAID,
    PAID_ONCE,
    REJECTED,
    UNANSWERED,
    Pair,
    Stage,
    Story,
    paired,
    staged,
)
from tests.postgres_server import PostgresServer

MAYBE_SENT = ("after step dispatched", "before send", "after send", "before step done")
AS_RECORDED = {"endorsed": "approved", "done": "routed 200"}  # each approval has the same name in the ledger, the last one too
REACHED = ("after send", "before step done")


def around(*events: str) -> tuple[str, ...]:
    """Before it is durable, between that and its record, between record and mark, and after the mark."""
    recorded = [AS_RECORDED.get(each, each) for each in events]
    found = {"before step": events, "after step": events, "after record": recorded, "after mark": events}
    return tuple(dict.fromkeys(f"{place} {each}" for place, of in found.items() for each in of))


BY_PEOPLE = around(*(each for each in HANDED_ON.events if each not in ("held", "dispatched")))
SENDING = (*around("approved"), "before step dispatched", "after step done", "after record routed 200", "after mark done")
NOTICES = ("before notice add", "after notice add", "after notice lease", "before notice end", "after notice end")
RESUMING = ("before notice hasten", "after notice hasten", "after notice lease", "before notice end", "after notice end")
IN_SHORT = ((HANDED_ON, "after step information_given"), (PAID, "after step approved"), (PAID_ONCE, "after send"))
BY_TIME = [
    *((LATE, moment) for moment in around("lapsed", "escalated", "expired")),
    *((UNANSWERED, moment) for moment in around("expired")),
]
TAKEN_OVER = [
    *((HANDED_ON, moment) for moment in BY_PEOPLE if moment.startswith("after step")),
    *((PAID, moment) for moment in SENDING),
    *((PAID_ONCE, moment) for moment in MAYBE_SENT),
]
AT_LENGTH = [
    *((HANDED_ON, moment) for moment in BY_PEOPLE),
    *((PAID, moment) for moment in SENDING),
    *((PAID_ONCE, moment) for moment in MAYBE_SENT),
    *((REJECTED, moment) for moment in around("rejected")),
    *((CANCELLED, moment) for moment in around("cancelled")),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all moments: each leaves it running, and started once more than before."""
    with staged(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with paired(postgres, tmp_path_factory.mktemp("pair")) as made:
        yield made


def played(stage: Stage, story: Story, moment: str) -> str:
    """The review of a story that was told to its end, through the death."""
    before = stage.tries
    stage.lockgate.forget()
    review = stage.hold(story)
    stage.dies(moment)
    stage.play(story, review)
    stage.ended(review, story.ends)
    assert stage.tries == before + 1, f"it did not die {moment}"
    return review


def in_order(stage: Stage, story: Story, review: str, moment: str) -> None:
    """Each step is in the ledger once and in its order; only a death between a record and its mark may have repeated that record."""
    wanted = [AS_RECORDED.get(event, event) for event in story.events]
    found = until(lambda: (found := _taken(stage, review))[-1] == wanted[-1] and found, "its last step was recorded")
    assert found == wanted
    assert stage.repeats(review) <= moment.startswith("after record")


def _taken(stage: Stage, review: str) -> list[str]:
    return [event for event in stage.events(review) if event != "redispatched"]


def verifies(stage: Stage) -> None:
    verified = stage.verify()
    assert verified.returncode == 0, verified.stdout


def sent_once(stage: Stage, story: Story, review: str, moment: str) -> None:
    arrived = stage.lockgate.arrived(story.path)
    if story.ends != "done":
        assert arrived == []
        return
    assert {dict(each["headers"])["idempotency-key"] for each in arrived} == {review}
    assert len(arrived) == (2 if moment in REACHED else 1)
    assert stage.outcome(review)["result"] == "routed"


def test_what_a_person_did_counts_once_through_a_kill(stage: Stage) -> None:
    """After a question that was answered, after an approval, after it was sent: it goes on, and is one effect at the service."""
    for story, moment in IN_SHORT:
        review = played(stage, story, moment)
        sent_once(stage, story, review, moment)
        in_order(stage, story, review, moment)
    verifies(stage)


@pytest.mark.slow
@pytest.mark.parametrize(("story", "moment"), AT_LENGTH)
def test_each_step_counts_once_through_a_kill(stage: Stage, story: Story, moment: str) -> None:
    """At every moment of every step that a person or the dispatch takes."""
    review = played(stage, story, moment)
    sent_once(stage, story, review, moment)
    in_order(stage, story, review, moment)
    verifies(stage)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MAYBE_SENT)
def test_what_may_have_been_sent_is_not_sent_again(stage: Stage, moment: str) -> None:
    """To a service that cannot tell repeats: it is uncertain, and a person is told."""
    review = played(stage, replace(PAID, ends="uncertain"), moment)
    assert len(stage.lockgate.arrived(PAID.path)) == (1 if moment in REACHED else 0)
    assert stage.outcome(review)["reason"] == "dispatch_uncertain"
    in_order(stage, PAID, review, moment)
    verifies(stage)


@pytest.mark.slow
@pytest.mark.parametrize(("story", "moment"), BY_TIME)
def test_each_deadline_comes_though_it_is_killed(stage: Stage, story: Story, moment: str) -> None:
    """Claim, answer, level and hard end: each step once and in its order; what came due meanwhile may pass over a lesser one."""
    before = stage.tries
    review = stage.hold(story)
    stage.play(story, review)
    stage.dies(moment)
    stage.ended(review, story.ends)
    assert stage.tries == before + 1, f"it did not die {moment}"
    found = until(lambda: (found := stage.events(review))[-1] == story.events[-1] and found, "its last step was recorded")
    assert found == [each for each in story.events if each in found]
    assert moment.startswith("before") or moment.rpartition(" ")[2] in found
    assert stage.repeats(review) <= moment.startswith("after record")
    assert stage.lockgate.arrived(story.path) == []
    verifies(stage)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before record held", "after record held", "before step held", "after step held"])
def test_what_is_held_when_it_is_killed_is_held_or_nothing(stage: Stage, moment: str) -> None:
    """Its caller heard nothing and asks anew. What was held before that can be decided; what was not is never sent."""
    stage.lockgate.forget()
    known = stage.undecided()
    stage.dies(moment)
    review = stage.hold(PAID)
    held = stage.undecided() - known
    assert len(held) == (2 if moment == "after step held" else 1)
    for each in held:
        stage.play(PAID, each)
        stage.ended(each, "done")
    assert {dict(each["headers"])["idempotency-key"] for each in stage.lockgate.arrived(PAID.path)} == held
    assert len(stage.lockgate.arrived(PAID.path)) == len(held)
    assert review in held
    verifies(stage)


@pytest.mark.slow
@pytest.mark.parametrize("moment", NOTICES)
def test_who_decides_is_told_though_it_is_killed(stage: Stage, moment: str) -> None:
    """At least once, each time under the same id."""
    known = stage.undecided()
    stage.dies(moment)
    stage.hold(PAID)
    stage.died()
    for each in stage.undecided() - known:
        until(lambda each=each: stage.told(each, "held"), "it was told")
        assert len({arrived["fields"]["webhook-id"] for arrived in stage.told(each, "held")}) == 1
        assert stage.lockgate.control("POST", f"/v1/reviews/{each}/reject", {"comment": "done"}, who="max").status == 200


@pytest.mark.slow
@pytest.mark.parametrize("moment", RESUMING)
def test_an_engine_is_resumed_though_it_is_killed(stage: Stage, moment: str) -> None:
    """Once the request is released, at least once, each time under the same id."""
    review = stage.step_waits("AQCE")
    until(lambda: stage.told(review, "held"), "those who decide were told")
    until(stage.nothing_to_tell, "that was noted")
    stage.dies(moment)
    stage.play(replace(PAID, does=APPROVAL), review)
    stage.ended(review, "released")
    stage.died()
    told = until(lambda: stage.told(review, "resume"), "it was resumed")
    assert len({arrived["fields"]["webhook-id"] for arrived in told}) == 1
    assert [event for event in stage.events(review) if event in ("approved", "released")] == ["approved", "approved", "released"]
    verifies(stage)


@pytest.mark.slow
@pytest.mark.parametrize(("story", "moment"), TAKEN_OVER)
def test_another_node_goes_on_where_one_died(pair: Pair, story: Story, moment: str) -> None:
    """Whoever was not answered asks the other node for the same."""
    pair.both()
    review = played(pair, story, moment)
    sent_once(pair, story, review, moment)
    in_order(pair, story, review, moment)
    verifies(pair)
