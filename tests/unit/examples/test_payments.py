from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from examples.halden.services import payments


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(payments.build()) as started:
        yield started


def ask(client: TestClient, intent: str, message: str, **headers: str) -> dict[str, object]:
    answer = client.post("/ask", json={"message": message}, headers={"x-lockgate-intent": intent, **headers})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_free_text_cancellation_cancels_that_payment(client: TestClient) -> None:
    """The payment named in the text is cancelled and REST shows it."""
    ask(client, "cancel_payment", "Please cancel payment 4711 of 1250 EUR, it went to the wrong company")
    assert client.get("/payments/4711").json()["payment"]["status"] == "cancelled"


def test_a_cancellation_twice_changes_once(client: TestClient) -> None:
    """The second POST cancel is answered like the first but changes nothing."""
    first, second = (client.post("/payments/4711/cancel") for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.json()["changed"], second.json()["changed"]) == (True, False)
    counted = client.get("/debug/calls").json()
    assert counted["calls"] == {"cancel_payment": 2}
    assert counted["changes"] == {"cancel_payment": 1}
    assert counted["requests"] == {"POST /payments/4711/cancel": 2}


def test_an_executed_payment_cannot_be_cancelled(client: TestClient) -> None:
    """Money that left is not called back by a cancellation."""
    answer = client.post("/payments/4712/cancel")
    assert answer.status_code == 409
    assert answer.json() == {"error": "payment 4712 is executed and cannot become cancelled"}


def test_an_unknown_payment_is_not_found(client: TestClient) -> None:
    """A number that no payment has is a 404 in both forms."""
    assert client.get("/payments/9999").status_code == 404
    asked = client.post("/ask", content="cancel 9999", headers={"x-lockgate-intent": "cancel_payment"})
    assert asked.status_code == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/payments/5030"), ("GET", "/payments/flaky/any/thing")])
def test_the_fault_switch_fails_exactly_once(client: TestClient, method: str, path: str) -> None:
    """The first try is a 503 that may be retried at once, every later one works."""
    tries = [client.request(method, path) for _ in range(3)]
    assert [answer.status_code for answer in tries] == [503, 200, 200]
    assert tries[0].headers["retry-after"] == "0"


def test_the_fault_switch_also_trips_free_text_and_executes_once(client: TestClient) -> None:
    """A retried free-text cancellation of 5030 arrives twice and runs once."""
    headers = {"x-lockgate-intent": "cancel_payment"}
    tries = [client.post("/ask", json={"message": "cancel payment 5030"}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in tries] == [503, 200]
    counted = client.get("/debug/calls").json()
    assert counted["requests"] == {"POST /ask": 2}
    assert counted["calls"] == {"cancel_payment": 1}


def test_a_refund_needs_a_settled_customer_payment(client: TestClient) -> None:
    """Money that came in can be refunded, money that goes out cannot."""
    assert client.post("/payments/6001/refund").json()["payment"]["status"] == "refunded"
    assert client.post("/payments/4711/refund").status_code == 409


def test_an_approval_releases_a_waiting_payment(client: TestClient) -> None:
    """An approved payment is scheduled."""
    ask(client, "approve_payment", "release 4713 pls")
    assert client.get("/payments/4713").json()["payment"]["status"] == "scheduled"


def test_a_payment_is_created_from_text_once_per_idempotency_key(client: TestClient) -> None:
    """Amount, currency and payee come from the text, and the same key makes no second payment."""
    key = {"idempotency-key": "k-1"}
    first = ask(client, "create_payment", "pay 1.250,50 EUR to Nordfracht GmbH", **key)
    second = ask(client, "create_payment", "pay 1.250,50 EUR to Nordfracht GmbH", **key)
    assert first["payment"] == second["payment"]
    payment = dict(first["payment"])  # type: ignore[call-overload]  # JSON
    assert (payment["amount"], payment["currency"], payment["party"]) == ("1250.50", "EUR", "Nordfracht GmbH")
    assert (first["changed"], second["changed"]) == (True, False)


def test_a_payment_is_created_over_rest(client: TestClient) -> None:
    """A created payment waits for approval and can be read back."""
    made = client.post("/payments", json={"amount": 99.5, "currency": "EUR", "party": "Papier Union"})
    assert made.status_code == 201
    assert client.get(f"/payments/{made.json()['payment']['id']}").json()["payment"]["status"] == "awaiting_approval"


def test_a_payment_without_a_party_is_refused(client: TestClient) -> None:
    """A half-filled payment is told what is missing."""
    answer = client.post("/payments", json={"amount": 99.5})
    assert answer.status_code == 422
    assert "party" in answer.json()["error"]


def test_a_suppliers_account_is_changed_and_shown_masked(client: TestClient) -> None:
    """The answer to an account change never repeats the whole IBAN."""
    answer = ask(client, "change_supplier_bank_details", "Change the IBAN of supplier Nordfracht to DE89 3704 0044 0532 0130 00")
    assert answer["account"] == "DE89…3000"
    again = client.put("/suppliers/Nordfracht/bank-account", json={"iban": "DE89370400440532013000"})
    assert again.json()["changed"] is False


def test_an_invoice_is_found_by_its_number_in_text_and_over_rest(client: TestClient) -> None:
    """Both forms show what the invoice waits for."""
    asked = ask(client, "invoice_status", "where does inv 20812 hang?")
    assert asked["invoice"] == client.get("/invoices/INV-20812").json()["invoice"]


@pytest.mark.parametrize(
    ("intent", "message", "field"),
    [
        ("payment_status", "where is payment 4711", "payment"),
        ("dispute_charge", "I don't know this charge of 39 EUR", "case"),
        ("submit_expense", "taxi 27,40 EUR on Monday", "case"),
        ("send_remittance_advice", "send the remittance for 4712", "sent_to"),
        ("cancel_payment", "please stop the payment", "needs"),
        ("create_payment", "send money to Baltic Lines", "needs"),
        ("submit_expense", "I want my taxi back", "needs"),
        ("invoice_status", "is my invoice paid", "needs"),
    ],
)
def test_each_intent_is_answered_or_asks_for_what_it_needs(client: TestClient, intent: str, message: str, field: str) -> None:
    """An answer holds its result, or names the parameter the text lacks."""
    assert field in ask(client, intent, message)


def test_an_event_body_without_a_message_names_its_record(client: TestClient) -> None:
    """A JSON event is searched as a whole."""
    event = {"type": "payment.cancel_requested", "payment": 4714}
    client.post("/ask", json=event, headers={"x-lockgate-intent": "cancel_payment"})
    assert client.get("/payments/4714").json()["payment"]["status"] == "cancelled"


def test_the_status_counts_payments_by_state(client: TestClient) -> None:
    """The overview needs no parameter and is no payment number."""
    assert client.get("/payments/status").json()["payments"]["settled"] == 3
