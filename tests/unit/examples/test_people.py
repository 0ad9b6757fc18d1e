from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from examples.halden.services import people

ADA = {"x-lockgate-subject": "ada"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(people.build()) as started:
        yield started


def ask(client: TestClient, intent: str, text: str) -> dict[str, Any]:
    headers = {"x-lockgate-intent": intent, "content-type": "text/plain", **ADA}
    answer = client.post("/ask", content=text, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def balance(client: TestClient, headers: dict[str, str]) -> float:
    return float(client.get("/leave/balance", headers=headers).json()["days_left"])


def test_booked_leave_lowers_the_balance_of_that_employee_only(client: TestClient) -> None:
    """Weekends inside the dates cost nothing and others keep their days."""
    ask(client, "request_leave", "I'd like to take off from 2027-03-01 to 2027-03-08")
    assert balance(client, ADA) == 24
    assert balance(client, {"x-lockgate-subject": "bo"}) == 30


@pytest.mark.parametrize(("text", "left"), [("half a day on Friday please", 29.5), ("3 days in May", 27), ("2 weeks off in August", 20)])
def test_leave_can_be_named_by_its_length(client: TestClient, text: str, left: float) -> None:
    """Half days, days and weeks are understood."""
    ask(client, "request_leave", text)
    assert balance(client, ADA) == left


def test_cancelled_leave_returns_its_days_once(client: TestClient) -> None:
    """Cancelling the only booked leave needs no number; cancelling it again over REST changes nothing."""
    number = ask(client, "request_leave", "5 days in June")["leave"]["id"]
    assert ask(client, "cancel_leave", "I don't need those days off after all")["changed"] is True
    assert client.delete(f"/leave/{number}", headers=ADA).json()["changed"] is False
    assert balance(client, ADA) == 30


def test_nobody_cancels_a_colleagues_leave(client: TestClient) -> None:
    """Leave belongs to its employee."""
    number = ask(client, "request_leave", "5 days in June")["leave"]["id"]
    assert client.delete(f"/leave/{number}", headers={"x-lockgate-subject": "bo"}).status_code == 404


def test_leave_beyond_the_balance_is_refused(client: TestClient) -> None:
    """More days than are left cannot be booked."""
    answer = client.post("/leave", json={"from": "2027-01-01", "to": "2027-12-31"}, headers=ADA)
    assert answer.status_code == 409
    assert "30 are left" in answer.json()["error"]


def test_leave_over_rest_needs_dates(client: TestClient) -> None:
    """A booking without dates is told how dates look."""
    assert client.post("/leave", json={}).status_code == 422
    assert client.post("/leave", json={"from": "2027-02-30"}).status_code == 422


def test_sick_and_well_again(client: TestClient) -> None:
    """A sick note begins with an illness and ends with being fit."""
    assert ask(client, "report_sick", "I have a fever and won't come in")["sick"] is True
    assert ask(client, "report_sick", "still not better, my doctor says until Friday")["sick"] is True
    assert ask(client, "report_sick", "I'm fit again from tomorrow")["sick"] is False


def test_a_payslip_is_for_the_month_in_the_text(client: TestClient) -> None:
    """A month by name in the text and by number in REST lead to the same payslip."""
    assert ask(client, "get_payslip", "payslip for march pls")["month"] == 3
    assert client.get("/payslips/2026-03", headers=ADA).json()["month"] == 3
    assert client.get("/payslips/march", headers=ADA).status_code == 404


def test_a_salary_account_is_stored_masked(client: TestClient) -> None:
    """The new account shows on the next payslip, masked."""
    ask(client, "change_salary_account", "please pay me to DE89 3704 0044 0532 0130 00 from now on")
    assert ask(client, "get_payslip", "my payslip")["paid_to"] == "DE89…3000"


def test_training_is_booked_and_dropped(client: TestClient) -> None:
    """A named course is entered and left again; an unnamed one brings the list."""
    assert ask(client, "book_training", "sign me up for the forklift course")["enrolled"] is True
    assert ask(client, "book_training", "please withdraw me from the forklift course")["enrolled"] is False
    assert "forklift" in ask(client, "book_training", "what courses are there")["courses"]


@pytest.mark.parametrize(
    ("intent", "text", "field"),
    [
        ("leave_balance", "how many days do I have", "days_left"),
        ("update_address", "my new number is +49 431 555 0199", "updated"),
        ("employment_letter", "I need a letter for my landlord", "reference"),
        ("report_misconduct", "my team lead keeps insulting people", "reference"),
        ("request_leave", "I need time off", "needs"),
        ("cancel_leave", "cancel my leave", "needs"),
        ("change_salary_account", "new bank account please", "needs"),
    ],
)
def test_each_intent_is_answered_or_asks_for_what_it_needs(client: TestClient, intent: str, text: str, field: str) -> None:
    """An answer holds its result, or names the parameter the text lacks."""
    assert field in ask(client, intent, text)


def test_a_misconduct_report_is_not_repeated(client: TestClient) -> None:
    """What somebody confides does not come back in the answer."""
    assert "insulting" not in str(ask(client, "report_misconduct", "my team lead keeps insulting people"))
