"""Payments, invoices and supplier accounts, in memory."""

from __future__ import annotations

from itertools import count

from examples.halden.services import texts
from examples.halden.services.common import Answer, OneTimeFaults, RefusedError, Tally

FLAKY_PAYMENT = "5030"
_SEED = (
    ("4711", "1250.00", "Nordfracht GmbH", "scheduled"),
    ("4712", "389.90", "Kaufmann Reifen", "executed"),
    ("4713", "18400.00", "Baltic Lines", "awaiting_approval"),
    ("4714", "74.25", "Papier Union", "scheduled"),
    ("4715", "2310.50", "Transalp Spedition", "failed"),
    ("5030", "990.00", "Hafen Terminal 3", "scheduled"),
    ("5122", "640.00", "Nordfracht GmbH", "scheduled"),
)
_CUSTOMER_SEED = (("6001", "210.00", "Blumen Becker"), ("6002", "58.80", "Radhaus Kiel"), ("6003", "1499.00", "Maier Moebel"))
_INVOICES: dict[str, Answer] = {
    "INV-20811": {"supplier": "Nordfracht GmbH", "status": "approved", "waiting_for": None},
    "INV-20812": {"supplier": "Baltic Lines", "status": "received", "waiting_for": "goods receipt"},
    "INV-20813": {"supplier": "Papier Union", "status": "overdue", "waiting_for": "cost centre owner"},
}


def _payments() -> dict[str, Answer]:
    out = [
        {"id": number, "direction": "out", "amount": amount, "currency": "EUR", "party": party, "status": status}
        for number, amount, party, status in _SEED
    ]
    received = [
        {"id": number, "direction": "in", "amount": amount, "currency": "EUR", "party": party, "status": "settled"}
        for number, amount, party in _CUSTOMER_SEED
    ]
    return {payment["id"]: payment for payment in (*out, *received)}


class Payments:
    """Every operation may be repeated; only the first one changes anything."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.faults = OneTimeFaults()
        self.payments = _payments()
        self.suppliers: dict[str, str] = {}
        self.cases: list[Answer] = []
        self.blocked_cards: set[str] = set()
        self._numbers = count(7001)
        self._created: dict[str, str] = {}

    def find(self, number: str) -> Answer:
        if number == FLAKY_PAYMENT:
            self.faults.trip(f"payment {number}")
        if number not in self.payments:
            raise RefusedError(404, f"there is no payment {number}")
        return self.payments[number]

    def show(self, number: str) -> Answer:
        payment = self.find(number)
        self.tally.ran("payment_status", changed=False)
        return {"payment": payment}

    def cancel(self, number: str) -> Answer:
        return self._move("cancel_payment", number, ("scheduled", "awaiting_approval", "failed"), "cancelled")

    def approve(self, number: str) -> Answer:
        return self._move("approve_payment", number, ("awaiting_approval",), "scheduled")

    def refund(self, number: str) -> Answer:
        return self._move("refund_payment", number, ("settled",), "refunded")

    def _move(self, operation: str, number: str, allowed: tuple[str, ...], target: str) -> Answer:
        payment = self.find(number)
        changed = payment["status"] != target
        if changed and payment["status"] not in allowed:
            raise RefusedError(409, f"payment {number} is {payment['status']} and cannot become {target}")
        payment["status"] = target
        self.tally.ran(operation, changed=changed)
        return {"payment": payment, "changed": changed}

    def create(self, amount: str, currency: str, party: str, key: str | None = None) -> Answer:
        if key is not None and key in self._created:
            self.tally.ran("create_payment", changed=False)
            return {"payment": self.payments[self._created[key]], "changed": False}
        number = str(next(self._numbers))
        self.payments[number] = {
            "id": number,
            "direction": "out",
            "amount": amount,
            "currency": currency,
            "party": party,
            "status": "awaiting_approval",
        }
        if key is not None:
            self._created[key] = number
        self.tally.ran("create_payment", changed=True)
        return {"payment": self.payments[number], "changed": True}

    def change_account(self, supplier: str, account: str) -> Answer:
        changed = self.suppliers.get(supplier) != account
        self.suppliers[supplier] = account
        self.tally.ran("change_supplier_bank_details", changed=changed)
        return {"supplier": supplier, "account": texts.masked_iban(account), "changed": changed}

    def invoice(self, number: str) -> Answer:
        if number not in _INVOICES:
            raise RefusedError(404, f"there is no invoice {number}")
        self.tally.ran("invoice_status", changed=False)
        return {"invoice": {"number": number, **_INVOICES[number]}}

    def block_card(self, holder: str) -> Answer:
        changed = holder not in self.blocked_cards
        self.blocked_cards.add(holder)
        self.tally.ran("block_card", changed=changed)
        return {"card": f"company card of {holder}", "blocked": True, "changed": changed}

    def file(self, kind: str, details: Answer) -> Answer:
        case = {"case": f"C-{len(self.cases) + 1:04}", "kind": kind, **details}
        self.cases.append(case)
        self.tally.ran(kind, changed=True)
        return case
