"""The service's own tests: its catalog, its classifier and its policies decide, in this process, with no server."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from examples.rooms.app import make_app, settle
from lockgate.testing import Lockgate

EMPLOYEE = {"x-user": "anna", "x-roles": "employee"}


@pytest.fixture
def app(lockgate: Lockgate) -> FastAPI:
    return make_app(lockgate.client)


@pytest.fixture
def service(app: FastAPI) -> TestClient:
    return TestClient(app, headers=EMPLOYEE)


def test_an_employee_sees_rooms(service: TestClient, lockgate: Lockgate) -> None:
    assert service.get("/rooms").json() == ["Alder", "Birch", "Cedar"]
    assert [(each.intent, each.classification.tier) for each in lockgate.decisions] == [("find_room", "rule")]


def test_a_stranger_does_not(service: TestClient) -> None:
    assert service.get("/rooms", headers={"x-roles": "visitor"}).status_code == 403


def test_nobody_is_asked_who_they_are(service: TestClient) -> None:
    assert service.get("/rooms", headers={"x-user": ""}).status_code == 401


def test_words_are_understood(service: TestClient) -> None:
    asked = service.post("/ask", content="which room is free on friday?", headers={"content-type": "text/plain"})
    assert asked.json() == {"intent": "find_room"}


def test_the_assistant_books_and_does_not_cancel(service: TestClient) -> None:
    assert service.post("/assistant", json={"message": "please book me a room for monday at ten"}).json()["intent"] == "book_room"
    other = service.post("/assistant", json={"message": "please cancel my booking for tomorrow"})
    assert (other.status_code, other.json()["code"]) == (403, "intent_unexpected")


def test_a_cancellation_that_policy_denies_does_nothing(service: TestClient, lockgate: Lockgate) -> None:
    with lockgate.doubles.deny_all():
        assert service.delete("/bookings/12").status_code == 403
    assert service.delete("/bookings/12").json() == "Alder"


def test_a_cancellation_may_wait_for_a_person(app: FastAPI, service: TestClient, lockgate: Lockgate) -> None:
    with lockgate.doubles.hold_all():
        waits = service.delete("/bookings/12")
    assert waits.status_code == 202
    assert service.get(waits.headers["location"]).json()["state"] == "pending"
    lockgate.approve(lockgate.decisions[-1], by="mia")
    assert service.get(waits.headers["location"]).json()["state"] == "released"
    assert service.get("/bookings/12").json() == "Alder"
    for _ in range(2):
        asyncio.run(settle(app.state.desk, lockgate.client))
    assert service.get("/bookings/12").status_code == 404
    assert [event["lockgatephase"] for event in lockgate.evidence] == ["completed"]


def test_what_a_person_rejects_is_forgotten(app: FastAPI, service: TestClient, lockgate: Lockgate) -> None:
    with lockgate.doubles.hold_all():
        service.delete("/bookings/12")
    lockgate.reject(lockgate.decisions[-1], by="mia")
    asyncio.run(settle(app.state.desk, lockgate.client))
    assert (service.get("/bookings/12").json(), app.state.desk.held) == ("Alder", [])


def test_nothing_is_done_while_lockgate_is_away(service: TestClient, lockgate: Lockgate) -> None:
    with lockgate.doubles.server_away():
        assert service.get("/rooms").status_code == 503
        assert service.get("/healthz").status_code == 200
