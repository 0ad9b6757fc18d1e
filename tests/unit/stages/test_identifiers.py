"""Check digits: the right number passes, and one wrong digit does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.stages import identifiers

VALID = [
    (identifiers.luhn, b"79927398713"),
    (identifiers.card, b"4111111111111111"),
    (identifiers.card, b"378282246310005"),
    (identifiers.iban, b"DE89370400440532013000"),
    (identifiers.iban, b"MT84MALT011000012345MTLCAST001S"),
    (identifiers.dni, b"12345678Z"),
    (identifiers.dni, b"X1234567L"),
    (identifiers.nir, b"185057800608491"),
    (identifiers.cpf, b"52998224725"),
    (identifiers.pesel, b"44051401359"),
    (identifiers.steuer_id, b"86095742719"),
    (identifiers.steuer_id, b"47036892816"),
    (identifiers.codice_fiscale, b"RSSMRA85T10A562S"),
    (identifiers.ssn, b"536904399"),
    (identifiers.nino, b"AB123456C"),
]


@pytest.mark.parametrize(("check", "number"), VALID)
def test_a_right_number_passes(check: Callable[[bytes], bool], number: bytes) -> None:
    """Published sample numbers pass their check."""
    assert check(number)


@pytest.mark.parametrize(("check", "number"), [pair for pair in VALID if pair[0] not in (identifiers.ssn, identifiers.nino)])
def test_a_wrong_last_character_fails(check: Callable[[bytes], bool], number: bytes) -> None:
    """No other check character fits the same number."""
    others = b"0123456789" if number[-1:].isdigit() else b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert [other for other in others if check(number[:-1] + bytes((other,)))] == [number[-1]]


@pytest.mark.parametrize("number", [b"000123456", b"666123456", b"900123456", b"123001234", b"123450000"])
def test_numbers_never_given_out_fail(number: bytes) -> None:
    """A US social security number has no zero part and no 666 or 9xx area."""
    assert not identifiers.ssn(number)


@given(st.integers(10**10, 10**15))
def test_luhn_accepts_one_check_digit(number: int) -> None:
    """Of the ten possible last digits exactly one passes."""
    assert sum(identifiers.luhn(b"%d%d" % (number, digit)) for digit in range(10)) == 1


@given(st.binary(min_size=8, max_size=30).map(lambda raw: bytes(48 + byte % 10 for byte in raw)))
def test_an_iban_has_one_pair_of_check_digits(account: bytes) -> None:
    """Of the pairs 02 to 98 exactly one passes (ISO 7064 mod 97-10)."""
    assert sum(identifiers.iban(b"DE%02d" % pair + account) for pair in range(2, 99)) == 1


def test_countries_have_lengths_within_the_standard() -> None:
    """ISO 13616: two letters, 15 to 34 characters."""
    assert all(len(country) == 2 and country.isupper() and 15 <= length <= 34 for country, length in identifiers.IBAN_LENGTHS.items())
