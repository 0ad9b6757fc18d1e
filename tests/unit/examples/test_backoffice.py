"""Work of several steps at the back office: done in order, once, and told of when it has ended."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from examples.halden.services import backoffice
from tests.unit.examples.inside import Inside

Office = tuple[TestClient, Inside, list[dict[str, Any]]]


@pytest.fixture
def office() -> Office:
    services, told = Inside(), list[dict[str, Any]]()
    return TestClient(backoffice.build(services, told.append)), services, told


def sent(client: TestClient, path: str, key: str, **body: Any) -> Any:
    headers = {"x-lockgate-decision-id": key, "x-lockgate-subject": "lee.marsh", "idempotency-key": key}
    return client.post(path, json=body, headers=headers)


def test_a_dispute_is_a_case_and_a_blocked_card_and_a_word(office: Office) -> None:
    client, services, told = office
    answer = sent(client, "/disputes", "d-1", message="I don't know this charge of 39 EUR").json()
    assert answer == {"done": True, "case": "C-0001", "card": "company card of lee.marsh", "blocked": True}
    assert services.calls("payments") == {"dispute_charge": 1, "block_card": 1}
    assert "C-0001" in services.clients["people"].get("/notes/lee.marsh").json()["notes"][0]
    named = {name: told[0][name] for name in ("source", "id", "lockgatedecision", "lockgatephase")}
    assert named == {"source": "backoffice", "id": "d-1", "lockgatedecision": "d-1", "lockgatephase": "completed"}


def test_what_was_done_is_not_done_again_when_a_later_step_failed_for_now(office: Office) -> None:
    client, services, told = office
    services.away.add("people")
    assert sent(client, "/lost-devices", "d-2", message="LT-2231 was stolen").status_code == 503
    assert told == []
    services.away.clear()
    assert sent(client, "/lost-devices", "d-2", message="LT-2231 was stolen").json()["device"] == "LT-2231"
    assert sent(client, "/lost-devices", "d-2", message="LT-2231 was stolen").json()["done"] is True
    assert services.calls("itdesk") == {"report_lost_device": 1, "reset_password": 1, "request_hardware": 1}
    assert services.calls("people") == {"note": 1}
    assert {each["id"] for each in told} == {"d-2"}


@pytest.mark.parametrize(
    ("payment", "phase"), [("4715", "completed"), ("4712", "failed"), ("9999", "failed")], ids=["failed", "executed", "unknown"]
)
def test_what_an_event_says_is_looked_up(office: Office, payment: str, phase: str) -> None:
    client, services, told = office
    answer = sent(client, "/failed-payments", "e-1", payment=payment, reason="account closed")
    assert answer.status_code == 200
    assert (told[0]["lockgatephase"], answer.json()["done"]) == (phase, phase == "completed")
    assert services.calls("payments").get("failed_payment", 0) == (phase == "completed")


def test_evidence_that_nobody_took_brings_the_request_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALDEN_EVIDENCE_URL", "http://127.0.0.1:9/v1/evidence")
    answer = sent(TestClient(backoffice.build(Inside())), "/disputes", "d-3", message="39 EUR that I do not know")
    assert answer.status_code == 503
    assert "evidence" in answer.json()["error"]


def test_a_notice_is_noted_once(office: Office) -> None:
    client, _, _ = office
    for key in ("n-1", "n-1", "n-2"):
        assert sent(client, "/notices", key, payment="4712").status_code == 200
    assert [each["decision"] for each in client.get("/notices").json()["notices"]] == ["n-1", "n-2"]
