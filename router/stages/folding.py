"""Text as detectors read it: one ASCII byte for each thing a person sees, whatever characters drew it.

Full-width and styled letters, accents, look-alike Cyrillic and Greek letters and digits of other scripts become ASCII; what cannot be seen
is dropped. A letter of another script is the byte 0xFF, any other character 0xFE. Offsets lead back into the text.
"""

from __future__ import annotations

import unicodedata
from functools import cached_property

OTHER_LETTER, OTHER = "\xff", "\xfe"
INVISIBLE = frozenset(("Cf", "Cc", "Cs", "Co", "Cn"))
_MARKS = frozenset(("Mn", "Me"))
_REMEMBERED = 8192  # characters; an attacker's tour of Unicode must not become memory
LOOKALIKES = dict(
    zip(
        "аеорсухіјѕԁһԛԝкмтвнАВЕКМНОРСТУХІЈЅαοεικντρυχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
        "aeopcyxijsdhqwkmtbhABEKMHOPCTYXIJSaoeikvtpuxyABEZHIKMNOPTYX",
        strict=True,
    )
)
_DASHES_AND_QUOTES = {"‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"'}
_DRAWN_AS = (
    LOOKALIKES | _DASHES_AND_QUOTES | {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ß": "ss", "\x85": "\n", "\u2028": "\n", "\u2029": "\n"}
)


class _Folding(dict[int, str]):
    """Code point to what it is folded to; empty for what is dropped."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = folded
        return folded


def _fold(character: str) -> str:
    drawn = _DRAWN_AS.get(character)
    if drawn is not None:
        return drawn
    if character.isascii():
        return character if character.isprintable() or character.isspace() else ""
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in INVISIBLE or category in _MARKS:
        return ""
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    return "".join(dict.fromkeys(_parts(character))) if category.startswith("L") else "".join(_parts(character))


def _parts(character: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", character)
    visible = (part for part in decomposed if unicodedata.category(part) not in _MARKS)
    return [part if part.isascii() else _DRAWN_AS.get(part, OTHER_LETTER if part.isalpha() else OTHER) for part in visible]


_FOLDING = _Folding()


class Folded:
    """`data` is Latin-1 with one byte for each folded character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._same = text.isascii() and text.isprintable()
        self.data = text.encode("ascii") if self._same else text.translate(_FOLDING).encode("latin-1")

    @cached_property
    def _origins(self) -> list[int]:
        return [place for place, character in enumerate(self._text) for _ in _FOLDING[ord(character)]]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the text that bytes `start` to `end` (not empty) were folded from."""
        if self._same:
            return start, end
        return self._origins[start], self._origins[end - 1] + 1
