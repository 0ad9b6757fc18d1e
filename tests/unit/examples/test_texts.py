from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.halden.services import texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("please cancel payment 4711", "4711"),
        ("cancel #4711, 1250 EUR from 2026-11-03", "4711"),
        ("€5000 for 4711", "4711"),
        ("the march 2026 payment", None),
        ("IBAN DE89 3704 0044 0532 0130 00 for PAY-4711", "4711"),
        ("no number", None),
        ("123456789", None),
    ],
)
def test_a_record_number_is_no_amount_date_or_account(text: str, expected: str | None) -> None:
    """Only the record's own number is taken."""
    assert texts.number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.250,50 EUR", ("1250.50", "EUR")),
        ("$1,250.50.", ("1250.50", "USD")),
        ("pay 99 euros today", ("99.00", "EUR")),
        ("£12.5", ("12.50", "GBP")),
        ("1,250 eur", ("1250.00", "EUR")),
    ],
)
def test_amounts_are_read_in_both_notations(text: str, expected: tuple[str, str]) -> None:
    """Comma and point may both be the decimal sign."""
    assert texts.amount(text) == (Decimal(expected[0]), expected[1])


def test_a_number_without_a_currency_is_no_amount() -> None:
    """A bare number could be anything."""
    assert texts.amount("payment 4711 in europe") is None


def test_dates_come_in_order_and_impossible_ones_are_left_out() -> None:
    """ISO and dotted dates mix."""
    assert texts.dates("10.03.2027, 2027-03-01 and 2027-02-30") == [date(2027, 3, 1), date(2027, 3, 10)]


def test_references_are_normalised() -> None:
    """Case and separator of a reference do not matter."""
    assert {texts.reference("INC", text) for text in ("inc 1001", "INC1001", "Inc-1001", "INC#1001")} == {"INC-1001"}


def test_a_payee_is_the_capitalised_name() -> None:
    """The name ends where the capitals end."""
    assert texts.payee("transfer 40 EUR to Baltic Lines today") == "Baltic Lines"


@given(st.text())
def test_no_text_breaks_the_finders(text: str) -> None:
    """Whatever people type, the finders return."""
    for find in (texts.number, texts.amount, texts.iban, texts.payee, texts.dates, texts.month, texts.days, texts.email):
        find(text)


@given(st.from_regex(r"[0-9][0-9.,]{0,20} ?(EUR|€|usd)", fullmatch=True))
def test_anything_that_looks_like_an_amount_is_read(text: str) -> None:
    """Odd separators still give an amount in cents."""
    found = texts.amount(text)
    assert found is not None
    assert found[0] == found[0].quantize(Decimal("0.01"))
