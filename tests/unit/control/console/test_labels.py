"""The pages of who labels, over the service itself; a browser is in tests/e2e/test_console.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from router.control.app import create_app
from router.control.services import ControlServices
from router.errors import StateError
from router.wiring.reviewers import ReviewerFigures
from router.wiring.sampling import LabelDesk
from tests.unit.adaptation.labelling_parts import TASK, Labelling
from tests.unit.adaptation.parts import Learning
from tests.unit.control.conftest import Credential
from tests.unit.control.console.parts import HOSTILE

INTENTS = {"pay": HOSTILE, "cancel": "stop it", "ask": ""}
PAGE = f"/console/labels/{TASK}"


@pytest.fixture
def labelling() -> Labelling:
    return Labelling(Learning())


@pytest.fixture
def client(services: ControlServices, labelling: Labelling) -> Iterator[TestClient]:
    unasked: Any = None
    learning = labelling.learning
    figures = ReviewerFigures(learning.keeping, learning.keys, learning.clock, lambda: 2.0, lambda: None)
    app = create_app(replace(services, labels=LabelDesk(labelling.service, unasked, unasked, figures, lambda: INTENTS)))
    with TestClient(app, base_url="http://127.0.0.1:8081", follow_redirects=False) as opened:
        assert opened.portal is not None
        opened.portal.call(labelling.learning.open)
        yield opened


@pytest.fixture
def one(client: TestClient, labelling: Labelling) -> TestClient:
    """There is one text to label."""
    assert client.portal is not None
    client.portal.call(labelling.sampled)
    return client


def changed(client: TestClient, labelling: Labelling) -> Any:
    assert client.portal is not None
    found = client.portal.call(labelling.learning.store.get, "label_task", TASK)
    assert found is not None
    return found


def test_a_text_is_claimed_shown_and_labelled_with_plain_forms(one: TestClient, labelling: Labelling, credential: Credential) -> None:
    """Nothing is decided about; looking changes nothing; after a form there is a redirect; then nothing is left."""
    who = credential("reviewer")
    before = changed(one, labelling)
    assert "Begin" in one.get("/console/labels", headers=who).text
    assert changed(one, labelling) == before
    assert labelling.opened == []
    claim = one.post("/console/labels/claim", headers=who, data={"csrf": ""})
    assert (claim.status_code, claim.headers["location"]) == (303, PAGE)
    shown = one.get(PAGE, headers=who).text
    assert "stop it" in shown
    for hidden in ("classified", "0.910000", "random", "confidence"):
        assert hidden not in shown
    answer = one.post(f"{PAGE}/answer", headers=who, data={"label": "pay"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/labels?done=labelled")
    assert "Nothing waits for your label" in one.get("/console/labels", headers=who).text
    assert [each["label"] for each in changed(one, labelling).terms["answers"].values()] == ["pay"]


def test_what_was_said_is_told_where_no_other_can_be_claimed(
    one: TestClient, labelling: Labelling, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label is on record, so that nobody says it again for a fault that came after it; who claims by themselves is told the fault."""
    who = credential("reviewer")
    one.post("/console/labels/claim", headers=who, data={"csrf": ""})

    async def failing(*_: Any) -> None:
        raise StateError("The store does not answer.", "learning_store_unavailable")

    monkeypatch.setattr(labelling.service, "claim", failing)
    assert one.post(f"{PAGE}/answer", headers=who, data={"label": "pay"}).headers["location"] == "/console/labels?done=labelled"
    assert len(changed(one, labelling).terms["answers"]) == 1
    assert one.post("/console/labels/claim", headers=who, data={"csrf": ""}).status_code == 503


def test_every_form_brings_the_sessions_token(one: TestClient, credential: Credential) -> None:
    """As forms of other pages do; without it a session changes nothing."""
    who = credential("reviewer")
    listed = one.get("/console/labels", headers=who).text
    one.post("/console/labels/claim", headers=who, data={"csrf": ""})
    for text, forms in ((listed, 1), (one.get(PAGE, headers=who).text, 2)):
        assert (text.count('method="post"'), text.count('name="csrf"')) == (forms, forms)


def test_intents_stand_by_name_and_nothing_is_chosen(one: TestClient, labelling: Labelling, credential: Credential) -> None:
    """Whatever the classifier held likeliest; the two words come after them."""
    who = credential("reviewer")
    one.post("/console/labels/claim", headers=who, data={"csrf": ""})
    text = one.get(PAGE, headers=who).text
    places = [text.index(f'value="{each}"') for each in ("ask", "cancel", "pay", "out_of_scope", "unsure")]
    assert places == sorted(places)
    assert "checked" not in text


def test_what_people_wrote_is_text(one: TestClient, labelling: Labelling, credential: Credential) -> None:
    """The text itself, and an intent's description."""
    labelling.text = f"pay {HOSTILE}"
    who = credential("reviewer")
    one.post("/console/labels/claim", headers=who, data={"csrf": ""})
    text = one.get(PAGE, headers=who).text
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


def test_what_stands_in_the_way_is_told(one: TestClient, labelling: Labelling, credential: Credential) -> None:
    """Nothing chosen, an intent that is gone, a claim that lapsed, a text that is gone: one sentence on a page, and nothing is said."""
    who = credential("reviewer")
    one.post("/console/labels/claim", headers=who, data={"csrf": ""})
    for label, told in (("", "Choose what it is about."), ("fly", "has no intent")):
        answer = one.post(f"{PAGE}/answer", headers=who, data={"label": label})
        assert (answer.status_code, told in answer.text, "stop it" in answer.text) == (422, True, True)
    labelling.text = None
    assert "can no longer be opened" in one.get(PAGE, headers=who).text
    labelling.learning.clock.forward(3600)
    late = one.post(f"{PAGE}/answer", headers=who, data={"label": "pay"})
    assert (late.status_code, "your time for it is over" in late.text) == (409, True)
    assert one.get(PAGE, headers=who).status_code == 409
    assert one.get("/console/labels/nothere", headers=who).status_code == 404
    assert changed(one, labelling).terms["answers"] == {}


def test_what_is_left_to_others_does_not_come_back(one: TestClient, labelling: Labelling, credential: Credential) -> None:
    """To this person."""
    who = credential("reviewer")
    one.post("/console/labels/claim", headers=who, data={"csrf": ""})
    assert one.post(f"{PAGE}/skip", headers=who, data={"csrf": ""}).headers["location"] == "/console/labels?done=label_skipped"
    assert one.post("/console/labels/claim", headers=who, data={"csrf": ""}).headers["location"] == "/console/labels"


@pytest.mark.parametrize(("role", "sees"), [("reviewer", True), ("auditor", False)])
def test_the_navigation_has_it_for_who_may(client: TestClient, credential: Credential, role: str, sees: bool) -> None:
    """Others have no link, and are refused."""
    who = credential(role)
    assert ('href="/console/labels"' in client.get("/console/reviews?state=none", headers=who).text) is sees
    assert client.get("/console/labels", headers=who).status_code == (200 if sees else 403)


def test_how_people_label_is_shown_to_a_lead(one: TestClient, labelling: Labelling, credential: Credential) -> None:
    """By keys and in no words about few cases; that they looked is on record, and nobody else gets it."""
    who = credential("reviewer", subject="rita")
    one.post("/console/labels/claim", headers=who, data={"csrf": ""})
    one.post(f"{PAGE}/answer", headers=who, data={"label": "pay"})
    labelling.learning.clock.forward(1)
    assert one.get("/console/reviewers", headers=who).status_code == 403
    shown = one.get("/console/reviewers?span=7d", headers=credential("review_lead")).text
    assert "rita" not in shown
    assert "too few (1)" in shown
    reading = labelling.learning.leaves[-1]
    assert (reading["event"], reading["details"]["what"], reading["details"]["rows"]) == ("audit_read", "reviewers", 1)
    found = one.get("/v1/labels/reviewers", headers=credential("review_lead")).json()
    assert [(each["labelled"], each["unsure"]) for each in found["reviewers"]] == [(1, {"of": 1, "value": None, "low": None, "high": None})]
    backwards = one.get("/v1/labels/reviewers?since=2026-12-01T00:00:00Z&until=2026-11-01T00:00:00Z", headers=credential("review_lead"))
    assert (backwards.status_code, backwards.json()["code"]) == (422, "request_invalid")


def test_where_nothing_is_learnt_there_is_no_such_place(services: ControlServices, credential: Credential) -> None:
    """Nor a link to it."""
    with TestClient(create_app(services), base_url="http://127.0.0.1:8081") as client:
        who = credential("admin")
        assert 'href="/console/labels"' not in client.get("/console/keys", headers=who).text
        assert client.get("/console/labels", headers=who).status_code == 404
