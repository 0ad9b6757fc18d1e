"""The pages of proposals, over the desk itself with a suggestion in it; measuring one is in tests/e2e/test_route_suggestions.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from router.adaptation.approving import given
from router.adaptation.drafting import Example
from router.adaptation.state import State, Type
from router.adaptation.wording import Wording
from router.control.app import create_app
from router.control.services import ControlServices
from router.ports import Lesson
from router.wiring.learning import LearningDesk
from router.wiring.proposals import ProposalDesk
from tests.unit.adaptation.approvals import policy
from tests.unit.adaptation.parts import RITA
from tests.unit.control.conftest import Credential
from tests.unit.control.console.parts import HOSTILE
from tests.unit.wiring.route_office import Office, office_in


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return office_in(tmp_path)


@pytest.fixture
def client(services: ControlServices, office: Office) -> Iterator[TestClient]:
    unused: Any = None
    desk = ProposalDesk(office.proposals, office.learning.keeping, unused, office.desk(), unused, unused)
    app = create_app(replace(services, learning=LearningDesk(office.learning.feedback, desk)))
    with TestClient(app, base_url="http://127.0.0.1:8081", follow_redirects=False) as opened:
        assert opened.portal is not None
        opened.portal.call(office.learning.open)
        opened.portal.call(office.desk().suggest, RITA)
        yield opened


def only(client: TestClient, office: Office) -> Lesson:
    assert client.portal is not None
    (found,) = client.portal.call(office.all)
    return found


def test_a_suggestion_is_shown_with_what_it_would_do(client: TestClient, office: Office, credential: Credential) -> None:
    """With its interval, and what is assumed; nobody's yet."""
    assert "more succeed" in client.get("/console/proposals?state=suggested", headers=credential("auditor")).text
    assert "There is none in that state" in client.get("/console/proposals?state=draft", headers=credential("auditor")).text
    text = client.get(f"/console/proposals/{only(client, office).id}", headers=credential("auditor")).text
    for words in ("cancel → dear", "nobody yet: Lockgate suggests it", "+15.0 %", "100.0 %", "nobody drew lots", "cancel: cheap → dear"):
        assert words in text
    assert 'data-confirm="' not in text


@pytest.mark.parametrize(("role", "buttons"), [("policy_author", {"adopt"}), ("policy_approver", {"reject"}), ("auditor", set())])
def test_buttons_are_for_who_may_use_them(client: TestClient, office: Office, credential: Credential, role: str, buttons: set[str]) -> None:
    """By state and permission."""
    text = client.get(f"/console/proposals/{only(client, office).id}", headers=credential(role)).text
    every = {"adopt", "approve", "reject", "roll-out", "revert"}
    assert {each for each in every if f'data-confirm="{each}"' in text} == buttons


def test_a_step_is_taken_once_and_then_a_page_is_shown(client: TestClient, office: Office, credential: Credential) -> None:
    """Adopted by one, approved by another as it was shown; what stands in the way is a sentence on the page."""
    path = f"/console/proposals/{only(client, office).id}"
    answer = client.post(f"{path}/adopt", headers=credential("policy_author"), data={"comment": HOSTILE})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=proposal_adopted")
    again = client.post(f"{path}/adopt", headers=credential("policy_author"), data={"comment": ""})
    assert again.status_code == 409
    assert "cannot be adopted" in again.text
    assert client.portal is not None
    drafted = only(client, office)
    figures = {"route": drafted.terms["effect"]}
    client.portal.call(office.proposals.measured, drafted, "c" * 64, figures, (HOSTILE,), RITA)
    text = client.get(path, headers=credential("policy_approver")).text
    assert HOSTILE not in text
    binding = only(client, office).terms["evaluation"]["binding"]
    assert f'value="{binding}"' in text
    assert client.post(f"{path}/approve", headers=credential("policy_approver"), data={"binding": binding}).status_code in (403, 409)
    own = client.post(f"{path}/approve", headers=credential("policy_approver"), data={"binding": binding, "override": "so it is"})
    assert (own.status_code, "Nobody may approve their own proposal" in own.text) == (403, True), "both roles are one person's here"
    assert client.post(f"{path}/reject", headers=credential("policy_approver"), data={"comment": ""}).status_code == 303
    assert only(client, office).state == State.REJECTED


def test_who_approved_and_what_it_takes_is_shown(client: TestClient, office: Office, credential: Credential) -> None:
    """Two people here; nobody is offered to roll it out before, also where one was enough when it was approved."""
    assert client.portal is not None
    office.approving.policy = policy(approval={"route": {"approvals": 2}})
    drafted = only(client, office)
    path = f"/console/proposals/{drafted.id}"
    client.portal.call(office.proposals.adopt, drafted.id, RITA, "")
    client.portal.call(office.proposals.measured, only(client, office), "c" * 64, {"route": drafted.terms["effect"]}, (), RITA)
    assert "2 people; not enough so far" in client.get(path, headers=credential("policy_approver")).text
    binding = only(client, office).terms["evaluation"]["binding"]
    answer = client.post(f"{path}/approve", headers=credential("policy_approver"), data={"binding": binding})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=proposal_approved")
    (by,) = (each["key"] for each in given(only(client, office)))
    text = client.get(path, headers=credential("policy_approver")).text
    assert by[:8] in text
    assert "not enough so far" in text
    assert 'data-confirm="roll-out"' not in text
    office.approving.policy = policy()
    client.portal.call(office.proposals.approve, drafted.id, replace(RITA, id="otto"), binding, "", "")
    assert "1 person</dd>" in (text := client.get(path, headers=credential("policy_approver")).text)
    assert 'data-confirm="roll-out"' in text
    office.approving.policy = policy(approval={"route": {"approvals": 3}})
    text = client.get(path, headers=credential("policy_approver")).text
    assert ('data-confirm="roll-out"' in text, 'data-confirm="approve"' in text) == (False, True)


def test_words_of_a_new_intent_are_shown_and_edited(client: TestClient, office: Office, credential: Credential) -> None:
    """A model's draft is marked and fills the form; what it and people wrote is text."""
    assert client.portal is not None
    olga = office.learning.keys.key_for("olga")

    async def drafted() -> Lesson:
        by, (key_id, _) = replace(RITA, id="olga"), await olga
        about = {"food": {"new": {"description": HOSTILE}, "route": "ask"}}
        made = await office.proposals.draft(Type.NEW_INTENT, [Example("d", "food", key_id, "soup")], about, {}, by, "")
        return await office.proposals.worded(made, Wording("order_lunch", "Orders lunch.", HOSTILE), "small-1b", by)

    path = f"/console/proposals/{client.portal.call(drafted).id}"
    shown = client.get(path, headers=credential("policy_author")).text
    assert HOSTILE not in shown
    for words in ("small-1b", 'value="order_lunch"', "No part of the proposal unless its author takes it over", "1 texts of 1 people"):
        assert words in shown
    assert "food" in client.get("/console/proposals", headers=credential("policy_author")).text
    assert "Have words drafted" not in shown, "no language model is configured here"
    refused = client.post(f"{path}/edit", headers=credential("policy_author"), data={"name": "No Name", "description": "Orders lunch."})
    assert (refused.status_code, "The name" in refused.text) == (422, True)
    assert "names no language model" in client.post(f"{path}/word", headers=credential("policy_author"), data={"csrf": ""}).text


def test_what_is_not_there_is_a_page_that_says_so(client: TestClient, credential: Credential) -> None:
    """And an address that asks for a state that there is not is refused."""
    assert client.get("/console/proposals/none", headers=credential("auditor")).status_code == 404
    assert client.get("/console/proposals?state=new", headers=credential("auditor")).status_code == 422
    assert client.post("/console/proposals/none/adopt", headers=credential("auditor"), data={"comment": ""}).status_code == 403
