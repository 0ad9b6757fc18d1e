"""Check digits and strict forms of identifiers that people have. Every check reads ASCII bytes."""

from __future__ import annotations

from collections.abc import Sequence

# ISO 13616 registry: length of an IBAN by country.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL OM SO", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
        26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_LUHN_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_LUHN_PLAIN = bytes.maketrans(b"0123456789", bytes(range(10)))
_DNI_LETTERS = b"TRWAGMYFPDXBNJZSQVHLCKE"
_CODICE_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)


def luhn(digits: bytes) -> bool:
    return (sum(digits[-2::-2].translate(_LUHN_DOUBLED)) + sum(digits[::-2].translate(_LUHN_PLAIN))) % 10 == 0


def iban(characters: bytes) -> bool:
    """Mod-97 (ISO 7064) over a whole IBAN without separators."""
    upper = characters.upper().decode("ascii")
    return int("".join(str(int(character, 36)) for character in upper[4:] + upper[:4])) % 97 == 1


def card(digits: bytes) -> bool:
    """Issuer range, length and Luhn."""
    return len(digits) in _card_lengths(digits) and luhn(digits)


def _card_lengths(digits: bytes) -> Sequence[int]:
    two, four = int(digits[:2]), int(digits[:4])
    if digits.startswith(b"4"):
        return (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return (16,)
    if two in (34, 37):
        return (15,)
    if two in (36, 38) or 3000 <= four <= 3059:
        return (14,)
    if four == 6011 or two in (62, 65) or 6440 <= four <= 6499 or 3528 <= four <= 3589:
        return (16, 17, 18, 19)
    return (16,) if two in (50, 56, 57, 58, 60, 63, 67) else ()


def ssn(digits: bytes) -> bool:
    """US social security number: no check digit, but numbers that were never given out."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in (b"000", b"666") and not area.startswith(b"9") and group != b"00" and serial != b"0000"


def nino(characters: bytes) -> bool:
    """UK national insurance number; the expression holds the rest of its form."""
    return characters[:2].upper() not in (b"BG", b"GB", b"NK", b"KN", b"TN", b"NT", b"ZZ")


def dni(characters: bytes) -> bool:
    """Spanish DNI, or NIE with its first letter."""
    upper = characters.upper()
    number = upper[:-1].translate(bytes.maketrans(b"XYZ", b"012"))
    return upper[-1] == _DNI_LETTERS[int(number) % 23]


def nir(characters: bytes) -> bool:
    """French NIR: 13 characters (2A and 2B are Corsican departments) and 97 minus their remainder."""
    number = characters[:13].upper().replace(b"2A", b"19").replace(b"2B", b"18")
    return number.isdigit() and 97 - int(number) % 97 == int(characters[13:])


def codice_fiscale(characters: bytes) -> bool:
    upper = characters.upper().decode("ascii")
    odd = sum(_CODICE_ODD[character] for character in upper[0:15:2])
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in upper[1:15:2])
    return (odd + even) % 26 == ord(upper[15]) - 65


def cpf(digits: bytes) -> bool:
    """Brazilian CPF: two check digits; all digits the same is never given out."""
    values = [digit - 48 for digit in digits]
    return len(set(values)) > 1 and all(
        sum(value * weight for value, weight in zip(values, range(length + 1, 1, -1), strict=False)) * 10 % 11 % 10 == values[length]
        for length in (9, 10)
    )


def pesel(digits: bytes) -> bool:
    """Polish PESEL: a date of birth (months 1-12 plus the century) and a weighted sum."""
    values = [digit - 48 for digit in digits]
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    return (
        1 <= month <= 12 and 1 <= day <= 31 and sum(v * w for v, w in zip(values, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True)) % 10 == 0
    )


def steuer_id(digits: bytes) -> bool:
    """German tax id: of the first ten digits exactly one stands twice or three times; ISO 7064 Mod 11,10."""
    counts = sorted((digits[:10].count(digit) for digit in set(digits[:10])), reverse=True)
    if digits.startswith(b"0") or counts[0] not in (2, 3) or counts[1] != 1:
        return False
    product = 10
    for digit in digits[:10]:
        product = ((digit - 48 + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[10] - 48
