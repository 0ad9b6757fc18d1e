"""Suggestions by Lockgate itself: when they are made, by whom they are taken up, and when they go away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.adaptation.state import State
from router.errors import RefusedError
from tests.unit.adaptation.parts import RITA, RUBEN
from tests.unit.wiring.route_office import Office, office_in

DAY, WINDOW = 24 * 3600, 7 * 24 * 3600


@pytest.fixture
async def office(tmp_path: Path) -> Office:
    made = office_in(tmp_path)
    await made.learning.open()
    return made


async def test_a_round_makes_as_many_as_there_may_be(office: Office) -> None:
    """Of two intents that would gain the same the one whose name comes first; on record with what it would do."""
    await office.desk().round()
    assert await office.states() == [], "the first is when its time has passed"
    office.learning.clock.forward(3601)
    await office.desk().round()
    assert await office.states() == [("cancel", State.SUGGESTED)]
    leaf = office.learning.leaves[-1]
    assert (leaf["event"], leaf["details"]["author"], leaf["details"]["reason"]) == ("proposal_suggested", None, "more_succeed")
    assert leaf["details"]["effect"]["success"]["difference"]["mean"] == "0.150000"
    assert await office.why_not() == {"cancel": "open", "leave": "capped"}


async def test_rounds_are_as_often_as_is_set_and_of_one_node(office: Office) -> None:
    """However many ask at once, and however often."""
    await office.desk().round()
    for number in (1, 2):
        office.learning.clock.forward(3601)
        await asyncio.gather(office.desk().round(), office.desk().round())
        await office.desk().round()
        assert len(office.requests.asked) == number


async def test_two_nodes_make_one_suggestion(office: Office) -> None:
    """Under an id that follows from what it is about."""
    found = await asyncio.gather(office.desk().suggest(RITA), office.desk().suggest(RUBEN))
    assert sorted(len(each["suggested"]) for each in found) == [0, 1]
    assert await office.states() == [("cancel", State.SUGGESTED)]


async def test_nothing_is_suggested_where_nothing_fails(office: Office) -> None:
    """The other route costs more and is no better."""
    office.requests.failed = 0
    assert await office.why_not() == {"cancel": "no_gain", "leave": "no_gain"}
    assert await office.states() == []


async def test_what_was_rejected_rests_for_as_long_as_the_time_that_is_looked_at(office: Office) -> None:
    """Then it may be suggested again."""
    await office.desk().suggest(RITA)
    await office.proposals.reject((await office.all())[0].id, RUBEN, "no")
    assert await office.why_not() == {"cancel": "resting", "leave": None}
    office.learning.clock.forward(WINDOW + DAY)
    assert await office.why_not() == {"cancel": None, "leave": "resting"}
    assert await office.states() == [("cancel", State.REJECTED), ("leave", State.WITHDRAWN), ("cancel", State.SUGGESTED)]


async def test_what_is_not_so_any_more_is_withdrawn(office: Office) -> None:
    """By the round that finds it; who adopted it keeps it."""
    await office.desk().suggest(RITA)
    office.requests.failed = 0
    await office.desk().suggest(None)
    (withdrawn,) = await office.all()
    assert (withdrawn.state, withdrawn.terms["history"][-1]["reason"]) == (State.WITHDRAWN, "suggestion_outdated")
    with pytest.raises(RefusedError, match="cannot be adopted"):
        await office.proposals.adopt(withdrawn.id, RITA, "")


async def test_who_adopts_a_suggestion_is_its_author(office: Office) -> None:
    """Nobody could approve it before, and not they; a round does not take it away again."""
    await office.desk().suggest(RITA)
    (suggested,) = await office.all()
    with pytest.raises(RefusedError, match="cannot be approved"):
        await office.proposals.approve(suggested.id, RUBEN, "", "", "")
    adopted = await office.proposals.adopt(suggested.id, RITA, "it is down too often")
    await office.proposals.measured(adopted, "c" * 64, {}, (), RITA)
    binding = (await office.proposals.found(suggested.id)).terms["evaluation"]["binding"]
    with pytest.raises(RefusedError, match="their own"):
        await office.proposals.approve(suggested.id, RITA, binding, "", "")
    office.requests.failed = 0
    await office.desk().suggest(None)
    assert (await office.proposals.approve(suggested.id, RUBEN, binding, "", "")).state == State.APPROVED


async def test_only_what_came_since_the_route_was_changed_counts(office: Office) -> None:
    """So that what was there before does not speak for changing it back."""
    await office.desk().suggest(RITA)
    (suggested,) = await office.all()
    adopted = await office.proposals.adopt(suggested.id, RITA, "")
    measured = await office.proposals.measured(adopted, "c" * 64, {}, (), RITA)
    await office.proposals.approve(suggested.id, RUBEN, measured.terms["evaluation"]["binding"], "", "")
    approved = await office.proposals.to_roll_out(suggested.id, RUBEN)
    await office.proposals.rolled_out(approved, "v", "o", RUBEN, "")
    office.learning.clock.forward(10)
    considered = {each["effect"]["intent"]: each for each in (await office.desk().suggest(RITA))["considered"]}
    assert considered["cancel"]["why_not"] == "too_few"
    assert considered["cancel"]["effect"]["requests"] == 20, "ten seconds of one each"


async def test_who_asks_is_on_record_before_anything_is_shown(office: Office) -> None:
    """Nothing is opened for it."""
    await office.desk().suggest(RITA)
    read_first = next(leaf for leaf in office.learning.leaves if leaf["event"] == "audit_read")
    assert (read_first["details"]["what"], read_first["details"]["opened"]) == ("routes", False)
    assert office.learning.leaves.index(read_first) == 0


async def test_another_route_has_its_effect_whoever_proposes_it(office: Office) -> None:
    """A route that there is not, and the one that it has, have none."""
    found = await office.desk().effect("cancel", "dear", RITA, "")
    assert found is not None
    assert (found["from"], found["to"], found["requests"]) == ("cheap", "dear", 200)
    assert await office.desk().effect("cancel", "cheap", RITA, "") is None
    with pytest.raises(RefusedError, match="no route 'nowhere'"):
        await office.desk().effect("cancel", "nowhere", RITA, "")


ADMITTED = 'package lockgate.admission\n\nresult := {"effect": "allow", "reasons": []}\n'
BACK = """package lockgate.decision

result := {"effect": "reroute", "route": "cheap", "reasons": [{"code": "back", "message": ""}]} if {
	input.route.name == "dear"
	input.routes.cheap.usable == null
} else := {"effect": "deny", "reasons": [{"code": "no", "message": ""}]} if {
	input.route.name == "dear"
} else := {"effect": "allow", "reasons": []}
"""


async def test_policy_is_asked_again_and_may_send_everything_back(office: Office) -> None:
    """Also what it was not told then: how the route's own alternatives stand, which nobody knows. Opening what it was told is on record."""
    office.workspace = replace(office.workspace, policies={"admission.rego": ADMITTED, "decision.rego": BACK})
    stood = {"cheap": {"usable": True}, "dear": {"usable": True}}
    office.requests.inputs = [{"routes": stood}, {"routes": stood}, {}]
    found = await office.desk().effect("cancel", "dear", RITA, "p", seconds=60)
    assert found is not None
    assert (found["policy_asked"], found["requests"], found["moved"], found["stopped"]) == (True, 3, 0.0, 2)
    assert {each["route"]: (each["before"], each["after"]) for each in found["routes"]} == {"cheap": (3, 1), "dear": (0, 0)}
    read = [leaf["details"] for leaf in office.learning.leaves if leaf["event"] == "audit_read"]
    assert [(each["what"], each["opened"]) for each in read] == [("evaluation", True), ("routes", False)]


@pytest.mark.parametrize("inputs", [(), pytest.param(({},), marks=pytest.mark.slow)], ids=["none is known", "policies cannot be read"])
async def test_where_policy_cannot_be_asked_it_is_taken_at_its_word(office: Office, inputs: tuple[dict[str, Any], ...]) -> None:
    """Which is said: nothing is recorded that could be put to it, or the policies are another engine's."""
    office.requests.inputs = inputs
    found = await office.desk().effect("cancel", "dear", RITA, "p", seconds=60)
    assert found is not None
    assert (found["policy_asked"], found["requests"]) == (False, 200)
    assert any("was not asked again" in each for each in found["assumed"])
