from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from examples.halden.services import itdesk


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(itdesk.build()) as started:
        yield started


def ask(client: TestClient, intent: str, message: str) -> dict[str, Any]:
    headers = {"x-lockgate-intent": intent, "x-lockgate-subject": "ada"}
    answer = client.post("/ask", json={"message": message}, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    "intent", ["request_software", "request_hardware", "vpn_problem", "printer_problem", "grant_shared_access", "report_phishing"]
)
def test_a_problem_becomes_a_ticket_that_can_be_asked_for(client: TestClient, intent: str) -> None:
    """The ticket carries kind and opener, and is found over REST and by text."""
    number = ask(client, intent, "it is about the thing on my desk")["ticket"]["id"]
    ticket = client.get(f"/tickets/{number}").json()["ticket"]
    assert (ticket["kind"], ticket["opened_by"]) == (intent, "ada")
    assert ask(client, "ticket_status", f"how far is {number}?")["ticket"] == ticket


def test_an_account_is_unlocked_once(client: TestClient) -> None:
    """The account named in the text is unlocked, a second time changes nothing."""
    assert ask(client, "unlock_account", "please unlock a.keller")["changed"] is True
    assert ask(client, "unlock_account", "please unlock a.keller")["changed"] is False


def test_a_password_reset_gives_no_secret_away(client: TestClient) -> None:
    """The reset goes to the registered phone of whoever asks."""
    answer = ask(client, "reset_password", "forgot my password")
    assert (answer["account"], answer["sent_to"]) == ("ada", "registered phone")


def test_admin_rights_need_a_system(client: TestClient) -> None:
    """Rights are granted on a named system, otherwise the system is asked for."""
    assert "needs" in ask(client, "grant_admin_access", "make me admin")
    assert ask(client, "grant_admin_access", "give j.brandt root on db-prod-2")["system"] == "db-prod-2"
    again = client.post("/admin-grants", json={"account": "j.brandt", "system": "db-prod-2"})
    assert again.json()["changed"] is False


def test_an_admin_grant_over_rest_needs_both_fields(client: TestClient) -> None:
    """A grant without a system is refused."""
    assert client.post("/admin-grants", json={"account": "j.brandt"}).status_code == 422


def test_a_lost_device_is_blocked_or_becomes_a_ticket(client: TestClient) -> None:
    """A device with its tag is blocked at once, one without gets a ticket."""
    assert ask(client, "report_lost_device", "my laptop lt-2231 was stolen on the train")["device"] == "LT-2231"
    assert "ticket" in ask(client, "report_lost_device", "lost my phone")


def test_an_unknown_ticket_is_not_found(client: TestClient) -> None:
    """A number that no ticket has is a 404."""
    assert client.get("/tickets/INC-9").status_code == 404


def test_events_come_as_server_sent_events(client: TestClient) -> None:
    """As many events as asked for, each with id, name and JSON data."""
    answer = client.get("/events?count=4&interval=0")
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["id: 1", "id: 2", "id: 3", "id: 4"]
    assert json.loads(blocks[0].splitlines()[2].removeprefix("data: "))["id"] == "INC-1001"


@pytest.mark.parametrize("query", ["count=1000000", "count=x", "interval=-1", "interval=nan"])
def test_an_endless_event_stream_is_refused(client: TestClient, query: str) -> None:
    """Numbers out of their bounds are told so."""
    assert client.get(f"/events?{query}").status_code == 422


def test_the_chat_greets_answers_and_echoes(client: TestClient) -> None:
    """Text is answered with text, bytes come back as they are."""
    with client.websocket_connect("/chat") as socket:
        assert socket.receive_text() == "itdesk: hello, how can we help?"
        socket.send_text("my mouse is dead")
        assert socket.receive_text() == "itdesk: you said my mouse is dead"
        socket.send_bytes(b"\x00\xff")
        assert socket.receive_bytes() == b"\x00\xff"
