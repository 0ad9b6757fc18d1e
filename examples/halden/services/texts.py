"""Finds parameters in what people type: record numbers, amounts, IBANs, dates. Simple on purpose; a miss means that the service asks."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

_CURRENCY = {"€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR", "$": "USD", "usd": "USD", "£": "GBP", "gbp": "GBP"}
_UNIT = r"€|\$|£|euros?|eur|usd|gbp"
_AMOUNT = re.compile(
    rf"(?<![a-z])(?P<before>{_UNIT})\s?(?P<first>\d[\d.,]*)|(?P<second>\d[\d.,]*)\s?(?P<after>{_UNIT})(?![a-z])", re.IGNORECASE
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_ISO_DATE = re.compile(r"\b(20\d\d)-(\d\d)-(\d\d)\b")
_DOTTED_DATE = re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(20\d\d)\b")
_NUMBER = re.compile(r"(?<!\d)(?!(?:19|20)\d\d(?!\d))(\d{4,6})(?!\d)")
_NAMES = r"([A-Z][\w&'-]*(?:\s[A-Z][\w&'-]*)*)"
_PAYEE = re.compile(rf"\b(?:[Tt]o|[Pp]ay|[Ss]upplier|[Cc]arrier|[Ff]or)\s(?:the\s)?{_NAMES}")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")


def reference(prefix: str, text: str) -> str | None:
    """`inc 1001`, `INC1001` and `INC-1001` are all `INC-1001`."""
    found = re.search(rf"\b{prefix}[- #]?(\d{{3,8}})\b", text, re.IGNORECASE)
    return f"{prefix}-{found[1]}" if found else None


def number(text: str) -> str | None:
    """The first number of four to six digits that is no amount, account, date or year."""
    for other in (_IBAN, _AMOUNT, _ISO_DATE, _DOTTED_DATE):
        text = other.sub(" ", text)
    found = _NUMBER.search(text)
    return found[1] if found else None


def amount(text: str) -> tuple[Decimal, str] | None:
    found = _AMOUNT.search(_IBAN.sub(" ", text))
    if found is None:
        return None
    digits, unit = found["first"] or found["second"], found["before"] or found["after"]
    return _decimal(digits), _CURRENCY[unit.lower()]


def _decimal(digits: str) -> Decimal:
    """Reads 1,250.00, 1.250,00 and 1250: a last separator followed by one or two digits is the decimal one."""
    digits = digits.rstrip(".,")
    cents = re.search(r"[.,](\d{1,2})$", digits)
    whole = digits[: cents.start()] if cents else digits
    return Decimal(f"{re.sub('[.,]', '', whole)}.{cents[1] if cents else 0}").quantize(Decimal("0.01"))


def iban(text: str) -> str | None:
    found = _IBAN.search(text)
    return found[0].replace(" ", "") if found else None


def masked_iban(account: str) -> str:
    return f"{account[:4]}…{account[-4:]}"


def payee(text: str) -> str | None:
    found = _PAYEE.search(text)
    return found[1] if found else None


def dates(text: str) -> list[date]:
    """All ISO and dotted dates in the order of the calendar; impossible ones are left out."""
    parts = [(int(y), int(m), int(d)) for y, m, d in _ISO_DATE.findall(text)]
    parts += [(int(y), int(m), int(d)) for d, m, y in _DOTTED_DATE.findall(text)]
    return sorted(found for found in map(_date, parts) if found)


def _date(parts: tuple[int, int, int]) -> date | None:
    try:
        return date(*parts)
    except ValueError:
        return None


def month(text: str) -> int | None:
    """1 to 12 for the first month named in full or by its first three letters."""
    for word in re.findall(r"[a-z]+", text.lower()):
        for position, name in enumerate(_MONTHS, start=1):
            if word == name or (len(word) == 3 and name.startswith(word)):
                return position
    return None


def days(text: str) -> float | None:
    """`half a day` is 0.5, `3 days` is 3.0, `2 weeks` is 10.0 working days."""
    if re.search(r"\bhalf[- ](?:a )?day\b", text, re.IGNORECASE):
        return 0.5
    found = re.search(r"\b(\d{1,3})\s*(day|week)s?\b", text, re.IGNORECASE)
    return None if found is None else float(found[1]) * (5 if found[2].lower() == "week" else 1)


def email(text: str) -> str | None:
    found = re.search(r"[\w.+-]+@[\w-]+\.[\w.-]*\w", text)
    return found[0] if found else None
