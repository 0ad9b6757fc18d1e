"""Characters that make a text look other than it is."""

from __future__ import annotations

import re
import unicodedata

import re2

from router.decision import Finding
from router.stages.folding import INVISIBLE, LOOKALIKES

_JOINERS = "\u200c\u200d"  # natural between letters of scripts that need them, and inside emoji
_STRONG = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x00")
_TAGS = range(0xE0000, 0xE0080)
_SPAN_LIMIT = 256
_PLAIN = re.compile(r"[\t\n\r\x20-\x7e]*")
_MIXED = re2.compile(
    "[A-Za-z][{0}]|[{0}][A-Za-z]".format("".join(sorted(LOOKALIKES)))  # one word of two scripts
)


def character_findings(text: str) -> list[Finding]:
    """`text.hidden_characters` (1.0 where order or content is forged, else 0.5) and `text.mixed_script` of a text."""
    if _PLAIN.fullmatch(text) is not None:
        return []
    findings: list[Finding] = []
    hidden = [place for place, character in enumerate(text) if _hidden(text, place, character)]
    if hidden:
        strong = any(text[place] in _STRONG or ord(text[place]) in _TAGS for place in hidden)
        findings.append(Finding("text.hidden_characters", 1.0 if strong else 0.5, tuple((p, p + 1) for p in hidden[:_SPAN_LIMIT])))
    if not text.isascii():
        mixed = tuple(match.span() for match in _MIXED.finditer(text.encode("utf-8", "replace").decode("utf-8")))
        if mixed:
            findings.append(Finding("text.mixed_script", 0.5, mixed[:_SPAN_LIMIT]))
    return findings


def _hidden(text: str, place: int, character: str) -> bool:
    if character.isprintable() or (character.isspace() and character != "\x1c"):
        return False
    if unicodedata.category(character) not in INVISIBLE or (place == 0 and character == "\ufeff"):
        return False
    return not (character in _JOINERS and place > 0 and not text[place - 1].isascii())
