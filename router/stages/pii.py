"""Personal data that can be told by its form: addresses, accounts, cards, numbers that states give out. Names cannot."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable, Sequence

from router.ports import Personal
from router.stages import identifiers
from router.stages.folding import Folded
from router.stages.patterns import Pattern, Patterns, Place, Verify

_DIGITS = frozenset(b"0123456789")
_WORD = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_URL_USER = bytes(sorted(_WORD)) + b"-._~%!$&'()*+,;=:"
_CARD_SHAPES = ((4, 4, 4, 4, 3), (4, 4, 4, 4, 2), (4, 4, 4, 4, 1), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 3), (4, 4, 4, 1))
_CARD_DIGITS = range(13, 20)
_NOT_PERSONAL = (b"0.", b"127.", b"255.255.255.255")
_VERSION_WORDS = (b"v", b"version", b"release", b"build", b"firmware")


def _joined(data: bytes, place: int, step: int) -> bool:
    """Whether what stands at `place`, going on by `step`, continues an identifier."""
    if not 0 <= place < len(data):
        return False
    if data[place] in _WORD:
        return True
    beyond = place + step
    return data[place] in b"-." and 0 <= beyond < len(data) and data[beyond] in _WORD


def _alone(data: bytes, start: int, end: int) -> bool:
    """Whether the place is no part of a longer number, identifier or version: a UUID, an order number, a date."""
    return not _joined(data, start - 1, -1) and not _joined(data, end, 1)


def _standing_alone(data: bytes, start: int, end: int) -> Sequence[Place]:
    return ((start, end),) if _alone(data, start, end) else ()


def _checked(check: Callable[[bytes], bool]) -> Verify:
    """A place that stands alone and whose characters, separators left out, pass."""

    def verify(data: bytes, start: int, end: int) -> Sequence[Place]:
        return ((start, end),) if _alone(data, start, end) and check(data[start:end].translate(None, b" -./")) else ()

    return verify


def _iban(data: bytes, start: int, end: int) -> Sequence[Place]:
    """The expression found country and check digits; the country says how many characters follow."""
    length = identifiers.IBAN_LENGTHS.get(data[start:end][:2].upper().decode("ascii"), 0)
    characters, place = bytearray(data[start:end]), end
    while len(characters) < length and place < len(data):
        if data[place] in _WORD:
            characters.append(data[place])
        elif data[place] not in b" -" or data[place - 1] in b" -":
            return ()
        place += 1
    if len(characters) != length or b"_" in characters or (place < len(data) and data[place] in _WORD):
        return ()
    return ((start, place),) if identifiers.iban(bytes(characters)) else ()


def _cards(data: bytes, start: int, end: int) -> Sequence[Place]:
    """The expression found a run of digit groups. A card is the whole run, one group, or groups as they are printed on cards."""
    groups = _groups(data, start, end)
    whole = _card(data, groups)
    if whole:
        return (whole,)
    places: list[Place] = []
    at = 0
    while at < len(groups):
        taken = next((taken for taken in _candidates(groups, at) if _card(data, taken)), None)
        if taken is not None:
            places.append((taken[0][0], taken[-1][1]))
        at += len(taken) if taken is not None else 1
    return places


def _candidates(groups: Sequence[Place], at: int) -> Sequence[Sequence[Place]]:
    first = groups[at]
    if first[1] - first[0] != 4:
        return (groups[at : at + 1],)
    ahead = groups[at : at + 5]
    lengths = tuple(end - start for start, end in ahead)
    return [ahead[: len(shape)] for shape in _CARD_SHAPES if lengths[: len(shape)] == shape]


def _card(data: bytes, groups: Sequence[Place]) -> Place | None:
    if not groups or sum(end - start for start, end in groups) not in _CARD_DIGITS:
        return None
    digits = b"".join(data[start:end] for start, end in groups)
    return (groups[0][0], groups[-1][1]) if identifiers.card(digits) else None


def _groups(data: bytes, start: int, end: int) -> list[Place]:
    """The groups of digits, without those that a letter joins to a word."""
    groups: list[Place] = []
    begun = start
    for place in range(start, end + 1):
        if place == end or data[place] not in _DIGITS:
            groups.append((begun, place))
            begun = place + 1
    if groups and start > 0 and data[start - 1] in _WORD:
        del groups[0]
    if groups and end < len(data) and data[end] in _WORD:
        del groups[-1]
    return groups


def _email(data: bytes, start: int, end: int) -> Sequence[Place]:
    """An address, but not the credentials and host of a URL."""
    _, scheme, userinfo = data[max(0, start - 256) : start].rpartition(b"://")
    return () if scheme and not userinfo.strip(_URL_USER) else ((start, end),)


def _phone(data: bytes, start: int, end: int) -> Sequence[Place]:
    """A number that does not go on from digits before it."""
    digits = sum(character in _DIGITS for character in data[start:end])
    behind = start > 1 and data[start] != 0x2B and data[start - 1] == 0x20 and data[start - 2] in _DIGITS
    return ((start, end),) if 8 <= digits <= 15 and not behind and _alone(data, start, end) else ()


def _ip(data: bytes, start: int, end: int) -> Sequence[Place]:
    """An address that may be somebody's: not a loopback, and not a version of four parts."""
    address = data[start:end]
    if not _alone(data, start, end) or address.startswith(_NOT_PERSONAL) or address == b"::1":
        return ()
    if data[max(0, start - 12) : start].lower().rstrip(b" :").endswith(_VERSION_WORDS):
        return ()
    try:
        ipaddress.ip_address(address.decode("ascii"))
    except ValueError:
        return ()
    return ((start, end),)


def _ipv6(data: bytes, start: int, end: int) -> Sequence[Place]:
    if (start > 0 and data[start - 1] in b":%") or (end < len(data) and data[end] in b":"):
        return ()
    return _ip(data, start, end) if sum(c != 0x3A for c in data[start:end]) >= 4 else ()


def _id(expression: bytes, check: Callable[[bytes], bool]) -> Pattern:
    return Pattern("pii.national_id", "[national_id]", expression, _checked(check))


PII = (
    Pattern("pii.email", "[email]", rb"[\w.+%'\xff-]+@(?:[0-9A-Za-z\xff-]+\.)+[A-Za-z\xff]{2,}", _email),
    Pattern("pii.iban", "[iban]", rb"\b[A-Za-z]{2}\d{2}", _iban),
    Pattern("pii.card", "[card]", rb"\d(?:[ .-]?\d){12,}", _cards),
    Pattern("pii.ssn", "[ssn]", rb"\b(?:\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4})\b", _checked(identifiers.ssn)),
    _id(rb"(?i)\b[a-ceghj-prtw-z][a-ceghj-nprtw-z] ?\d{2} ?\d{2} ?\d{2} ?[a-d]\b", identifiers.nino),
    _id(rb"(?i)\b(?:\d{8}|[xyz]-?\d{7})-?[a-hj-np-tv-z]\b", identifiers.dni),
    _id(rb"\b[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3} ?\d{2}\b", identifiers.nir),
    _id(rb"(?i)\b[a-z]{6}\d{2}[a-ehlmprst]\d{2}[a-z]\d{3}[a-z]\b", identifiers.codice_fiscale),
    _id(rb"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", identifiers.cpf),
    _id(rb"\b\d{11}\b", lambda digits: identifiers.pesel(digits) or identifiers.steuer_id(digits)),
    _id(rb"\b\d{2} \d{3} \d{3} \d{3}\b", identifiers.steuer_id),
    Pattern("pii.ip", "[ip]", rb"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", _ip),
    Pattern("pii.ip", "[ip]", rb"(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}", _ipv6),
    Pattern("pii.phone", "[phone]", rb"(?:\+|\b00)[1-9]\d{0,2}(?:[ .()/-]{0,2}\d){6,13}", _phone),
    Pattern("pii.phone", "[phone]", rb"(?:\(\d{3}\) ?|\b[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}\b", _standing_alone),
    Pattern("pii.phone", "[phone]", rb"\b0[1-9]\d{1,3} ?[ /-] ?\d{3,4}[ -]?\d{2,5}\b", _phone),
    Pattern(
        "pii.phone", "[phone]", rb"(?i)\b(?:tel|telephone|phone|mobile|cell|handy|call me (?:at|on))\W{0,4}(\d(?:[ ./-]?\d){6,14})", _phone
    ),
)


def pii() -> Patterns:
    return Patterns(PII)


class BuiltinRecogniser:
    """These patterns behind the port; time is linear in the text, so that nothing bounds it."""

    most_chars = sys.maxsize

    def __init__(self) -> None:
        self._patterns = pii()

    def find(self, text: str) -> Sequence[Personal]:
        folded = Folded(text)
        found = [Personal(hit.name, *folded.span(hit.start, hit.end)) for hit in self._patterns.find(folded.data)]
        return sorted(found, key=lambda each: each.start)
