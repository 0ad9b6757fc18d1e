"""Halden's payments service: `python -m examples.halden.services.payments --port 9101`."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.halden.services import texts
from examples.halden.services.common import Answer, Asked, Operation, RefusedError, application, by_path, json_body, needs, run
from examples.halden.services.payments_book import Payments

ByNumber = Callable[[str], Answer]


class Answers:
    """Free text to operations. A missing parameter is asked for, not guessed."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self.by_intent = {
            "payment_status": _numbered(payments.show),
            "cancel_payment": _numbered(payments.cancel),
            "approve_payment": _numbered(payments.approve),
            "refund_payment": _numbered(payments.refund),
            "create_payment": self.create,
            "change_supplier_bank_details": self.change_account,
            "invoice_status": self.invoice,
            "dispute_charge": self.dispute,
            "submit_expense": self.expense,
            "send_remittance_advice": self.remittance,
        }

    def create(self, asked: Asked) -> Answer:
        money, party = texts.amount(asked.text), texts.payee(asked.text)
        if money is None or party is None:
            return needs("an amount with its currency and the payee")
        return self._payments.create(str(money[0]), money[1], party, asked.idempotency_key)

    def change_account(self, asked: Asked) -> Answer:
        account = texts.iban(asked.text)
        if account is None:
            return needs("the new IBAN")
        return self._payments.change_account(texts.payee(asked.text) or "unnamed supplier", account)

    def invoice(self, asked: Asked) -> Answer:
        number = texts.reference("INV", asked.text)
        return self._payments.invoice(number) if number else needs("the invoice number, such as INV-20811")

    def dispute(self, asked: Asked) -> Answer:
        return self._payments.file("dispute_charge", {"amount": _money(asked.text), "by": asked.subject})

    def expense(self, asked: Asked) -> Answer:
        if texts.amount(asked.text) is None:
            return needs("the amount with its currency")
        return self._payments.file("submit_expense", {"amount": _money(asked.text), "by": asked.subject})

    def remittance(self, asked: Asked) -> Answer:
        number = texts.number(asked.text)
        if number is None:
            return needs("the payment number, such as 4711")
        party = self._payments.find(number)["party"]
        return self._payments.file("send_remittance_advice", {"payment": number, "sent_to": party})


def _numbered(operation: ByNumber) -> Operation:
    def answer(asked: Asked) -> Answer:
        number = texts.number(asked.text)
        return operation(number) if number else needs("the payment number, such as 4711")

    return answer


def _money(text: str) -> str | None:
    found = texts.amount(text)
    return f"{found[0]} {found[1]}" if found else None


class Endpoints:
    """REST calls that take more than a number from the path."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    async def create(self, request: Request) -> Response:
        body = await json_body(request)
        money = texts.amount(f"{body.get('amount', '')} {body.get('currency', 'EUR')}")
        if money is None or not body.get("party"):
            raise RefusedError(422, "a payment needs amount, currency (EUR, USD or GBP) and party")
        key = request.headers.get("idempotency-key")
        return JSONResponse(self._payments.create(str(money[0]), money[1], str(body["party"]), key), 201)

    async def change_account(self, request: Request) -> Response:
        account = texts.iban(str((await json_body(request)).get("iban", "")))
        if account is None:
            raise RefusedError(422, "a bank account needs an iban")
        return JSONResponse(self._payments.change_account(request.path_params["supplier"], account))

    async def case(self, request: Request) -> Response:
        body = await json_body(request)
        number = str(body.get("payment", ""))
        if not body.get("kind") or number not in self._payments.payments:
            raise RefusedError(422, "a case needs a kind, and a payment that there is")
        return JSONResponse(self._payments.file(str(body["kind"]), {"payment": number}), 201)

    async def status(self, request: Request) -> Response:
        states = [payment["status"] for payment in self._payments.payments.values()]
        return JSONResponse({"accepting": True, "payments": {state: states.count(state) for state in sorted(set(states))}})

    async def flaky(self, request: Request) -> Response:
        self._payments.faults.trip(request.url.path)
        self._payments.tally.ran("flaky", changed=False)
        return JSONResponse({"recovered": True, "path": request.url.path})


def build() -> Starlette:
    """Halden's payments service, with fresh state."""
    payments = Payments()
    rest = Endpoints(payments)
    routes = [
        Route("/payments", rest.create, methods=["POST"]),
        Route("/payments/status", rest.status),
        Route("/payments/flaky/{rest:path}", rest.flaky, methods=["GET", "POST"]),
        Route("/payments/{number}", by_path(payments.show)),
        Route("/payments/{number}/cancel", by_path(payments.cancel), methods=["POST"]),
        Route("/payments/{number}/approve", by_path(payments.approve), methods=["POST"]),
        Route("/payments/{number}/refund", by_path(payments.refund), methods=["POST"]),
        Route("/cases", rest.case, methods=["POST"]),
        Route("/cards/{holder}/block", by_path(payments.block_card), methods=["POST"]),
        Route("/invoices/{number}", by_path(payments.invoice)),
        Route("/suppliers/{supplier}/bank-account", rest.change_account, methods=["PUT"]),
    ]
    return application("payments", routes, Answers(payments).by_intent, payments.tally)


if __name__ == "__main__":
    run(build, 9101)
