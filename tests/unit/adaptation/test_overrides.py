"""Reviewers' decisions as opinions: taken once, whoever said what before or after, and whatever breaks off meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from router.adaptation.drafting import corrections
from router.adaptation.feedback import KIND, Heard, Verdict
from router.adaptation.overrides import Overrides, Step
from router.audit.records.record import open_personal
from router.decision import Subject
from router.errors import StateError
from tests.unit.adaptation.parts import ANNA, DECISION, RITA, RUBEN, Learning, leaf, said

S = 1_000_000_000


class Desk:
    """`steps` are what the ledger has of reviews."""

    def __init__(self, learning: Learning) -> None:
        self.learning, self.wanted = learning, True
        self.steps: list[Step] = []
        self.overrides = self.again()

    def again(self) -> Overrides:
        """As after a start."""
        return Overrides(self.learning.keeping, self, self.learning.feedback, self.learning.clock, lambda: self.wanted)

    async def size(self) -> int:
        return len(self.steps)

    async def steps_after(self, record: int, limit: int) -> Sequence[Step]:
        return [each for each in self.steps if each.record > record][:limit]

    async def decided(
        self, who: Subject, intent: str | None = "pay", *, by: str = "word", verdict: str = "wrong", reason: str = "misrouted"
    ) -> Heard:
        """A second later than what came before."""
        self.learning.clock.forward(1)
        key_id, _ = await self.learning.keys.key_for(who.id)
        heard = Heard(DECISION, self.learning.clock.now_ns(), Verdict(verdict), intent, reason, by, key_id, who.id)
        self.steps.append(Step(len(self.steps), heard))
        return heard

    async def opinions(self) -> list[tuple[str, str | None, str, str | None, int]]:
        found = (await self.learning.feedback.opinions(DECISION))["opinions"]
        return [(each["verdict"], each["intent"], each["reason"], each["review"], each["version"]) for each in found]


@pytest.fixture
async def desk(learning: Learning) -> Desk:
    """One that has begun."""
    made = Desk(learning)
    await made.overrides.round()
    return made


async def test_a_reviewers_word_becomes_an_opinion_with_its_source(desk: Desk) -> None:
    """The record names the review and how it was said; who said it is sealed under their own key, and their comment is not copied."""
    await desk.decided(RITA)
    await desk.overrides.round()
    assert await desk.opinions() == [("wrong", "pay", "misrouted", DECISION, 1)]
    key_id, key = await desk.learning.keys.key_for("rita")
    (told,), (entry,) = desk.learning.leaves, desk.learning.ledger.entries
    assert (told["id"], told["event"], told["details"]["review"], told["details"]["said_by"]) == (DECISION, "feedback", DECISION, "word")
    assert (told["details"]["by"], told["details"]["reason"]) == (key_id, "misrouted")
    assert open_personal(entry, key) == {"actor": "rita"}


async def test_it_is_taken_once(desk: Desk) -> None:
    """Round after round, also where the place that was reached got lost, and where the ledger has the same record twice."""
    heard = await desk.decided(RITA)
    desk.steps.append(Step(1, heard))
    await desk.overrides.round()
    await desk.again().round()
    known = await desk.learning.store.get("overrides", "cursor")
    assert known is not None
    await desk.learning.store.put(replace(known, terms={"after": -1}), [], "", 0)
    await desk.again().round()
    assert await desk.opinions() == [("wrong", "pay", "misrouted", DECISION, 1)]
    assert len(desk.learning.leaves) == 1


async def test_what_was_decided_before_teaches_nothing(learning: Learning) -> None:
    """It begins where the ledger ends at the first round."""
    made = Desk(learning)
    await made.decided(RITA)
    await made.overrides.round()
    await made.overrides.round()
    assert await made.opinions() == []
    await made.decided(RUBEN)
    await made.overrides.round()
    assert len(await made.opinions()) == 1


async def test_where_nobody_wants_it_nothing_is_taken(desk: Desk) -> None:
    """Whatever the ledger has."""
    desk.wanted = False
    await desk.decided(RITA)
    await desk.overrides.round()
    assert await desk.opinions() == []


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(["endpoint ask", "word pay"], "pay", id="a later word replaces what was said at the endpoint"),
        pytest.param(["word pay", "endpoint ask"], "ask", id="what is said at the endpoint later replaces the word"),
        pytest.param(["endpoint ask", "route pay"], "ask", id="a route never replaces words"),
        pytest.param(["word ask", "route pay"], "ask", id="nor a reviewer's own"),
        pytest.param(["route pay", "endpoint ask"], "ask", id="words replace a route"),
        pytest.param(["route pay", "word ask"], "ask", id="also a reviewer's own"),
        pytest.param(["route pay", "route ask"], "ask", id="of two routes the later counts"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_of_two_things_that_one_person_says(desk: Desk, steps: list[str], expected: str, *, late: bool) -> None:
    """Words count before a route, and of two the later one; and that does not hang on when the round comes."""
    for each in steps:
        how, intent = each.split()
        if how == "endpoint":
            desk.learning.clock.forward(1)
            await desk.learning.feedback.say(DECISION, said("wrong", intent), RITA)
        else:
            await desk.decided(RITA, intent, by=how)
        if not late:
            await desk.overrides.round()
    await desk.overrides.round()
    assert [each[1] for each in await desk.opinions()] == [expected]


async def test_reviewers_who_differ_teach_nothing(desk: Desk) -> None:
    """Each has an opinion of their own; where these differ it is a disagreement, as ever."""
    await desk.decided(RITA, "pay", by="route", reason="rerouted")
    await desk.decided(RUBEN, None, by="route", verdict="right", reason="rerouted")
    await desk.overrides.round()
    assert [each[:2] for each in await desk.opinions()] == [("wrong", "pay"), ("right", None)]
    found, left_out = corrections(await desk.learning.store.about(KIND, DECISION), (), desk.learning.intents)
    assert (found, dict(left_out)) == ([], {"disagreement": 1})


async def test_reviewers_who_agree_are_a_correction(desk: Desk) -> None:
    """As any two people."""
    for who in (RITA, RUBEN):
        await desk.decided(who)
    await desk.overrides.round()
    found, _ = corrections(await desk.learning.store.about(KIND, DECISION), (), desk.learning.intents)
    assert [(each.decision_id, each.intent) for each in found] == [(DECISION, "pay")]


@pytest.mark.parametrize(
    ("found", "heard"),
    [
        pytest.param(leaf("pay"), ("wrong", "pay"), id="the intent that it has"),
        pytest.param(leaf(None, "skipped"), ("wrong", "pay"), id="no intent was looked for"),
        pytest.param(leaf(None, "ambiguous"), ("right", None), id="there was none to be right"),
        pytest.param(leaf(), ("wrong", "fly"), id="an intent that is gone since"),
        pytest.param(None, ("wrong", "pay"), id="the decision was pruned"),
    ],
)
async def test_what_contradicts_itself_says_nothing(
    desk: Desk, found: dict[str, object] | None, heard: tuple[str, str | None], caplog: pytest.LogCaptureFixture
) -> None:
    """No round fails because of it, and what comes after it is taken."""
    if found is None:
        desk.learning.trail.decisions.clear()
    else:
        desk.learning.trail.decisions[DECISION] = ("anna", found)
    caplog.set_level("INFO", "lockgate.learning")
    await desk.decided(RITA, heard[1], verdict=heard[0])
    await desk.overrides.round()
    assert (await desk.opinions(), desk.learning.leaves) == ([], [])
    assert "says nothing of its intent" in caplog.text
    desk.learning.trail.decisions[DECISION] = ("anna", leaf())
    await desk.decided(RUBEN)
    await desk.overrides.round()
    assert len(await desk.opinions()) == 1


async def test_the_word_of_the_one_who_asked_is_marked(desk: Desk) -> None:
    """However it came to be a reviewer's."""
    await desk.decided(ANNA)
    await desk.overrides.round()
    assert (await desk.learning.feedback.opinions(DECISION))["opinions"][0]["own"]


async def test_an_erased_reviewer_does_not_come_back_by_it(desk: Desk) -> None:
    """Their key is gone before the round came: nothing is taken, and no new key is made for them."""
    heard = await desk.decided(RITA)
    await desk.learning.keys.destroy(heard.key_id)
    await desk.overrides.round()
    assert await desk.opinions() == []
    assert await desk.learning.keys.find("rita") is None


@pytest.mark.parametrize("breaks", range(6))
async def test_a_round_that_breaks_off_is_done_again(desk: Desk, breaks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the store stops answering, before or after it has written: the next round completes it, and each opinion is on record
    once."""
    for who in (RITA, RUBEN):
        await desk.decided(who)
    put, calls = desk.learning.store.put, 0

    async def breaking(*args: object) -> bool:
        nonlocal calls
        calls += 1
        if calls == breaks // 2 + 1 and breaks % 2 == 0:
            raise StateError("away", "learning_store_unavailable")
        done = await put(*args)  # type: ignore[arg-type]
        if calls == breaks // 2 + 1:
            raise StateError("away", "learning_store_unavailable")
        return done

    monkeypatch.setattr(desk.learning.store, "put", breaking)
    with pytest.raises(StateError):
        await desk.overrides.round()
    monkeypatch.setattr(desk.learning.store, "put", put)
    await desk.again().round()
    await desk.learning.keeping.record()
    assert await desk.opinions() == [("wrong", "pay", "misrouted", DECISION, 1)] * 2
    assert len(desk.learning.leaves) == 2


async def test_two_nodes_take_it_once(desk: Desk) -> None:
    """Who comes second finds it done, also where both began at once."""
    for who in (RITA, RUBEN):
        await desk.decided(who)
    other = desk.again()
    steps = await desk.steps_after(-1, 9)
    for one, two in pairwise([*steps, steps[0]]):
        assert one.heard is not None
        assert two.heard is not None
        await desk.learning.feedback.hear(one.heard)
        await desk.learning.feedback.hear(two.heard)
    await desk.overrides.round()
    await other.round()
    assert await desk.opinions() == [("wrong", "pay", "misrouted", DECISION, 1)] * 2
    assert len(desk.learning.leaves) == 2
