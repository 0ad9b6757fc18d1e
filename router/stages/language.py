"""Which language a text is in, or `und` (ISO 639-2, undetermined) where it is too short or too odd to say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from router.decision import UNDETERMINED_LANGUAGE, Language
from router.stages.classification import normalise

# A text is only called something else than what requests are expected to be in when that is so many times as likely: short texts look like
# anything, and a wrong guess refuses a good request. Measured in docs/signals.md.
MORE_LIKELY = 10.0
LEAST_SCORE = 0.5
LEAST_LETTERS = 3
_SEEN_CHARS = 256
_LOOKED_AT = 16_384
_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u00ad\x00-\x08\x0b\x0c\x0e-\x1f]+")
_REMEMBERED = 4096
_NO_WORD = re.compile(r"[^A-Za-z']+")
_TOLD_APART = (
    "ar bg bn ca cs da de el en es et fa fi fr gu he hi hr hu hy id it ja ka km kn ko lo lt lv ml mr ms my ne nl no pa pl ps"
    " pt ro ru si sk sl sq sr sv sw ta te th tl tr uk ur vi zh"
)
CODES = frozenset(_TOLD_APART.split())


def unpack() -> LanguageIdentifier:
    """The library's model, without the languages that are not asked about: these are a fifth of its memory and most of its errors. Takes
    half a second of CPU; what serves has it from `router.wiring.languages`."""
    whole = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    whole.set_languages(sorted(CODES))
    return LanguageIdentifier(
        whole.nb_ptc, whole.nb_pc, whole.nb_classes, whole.tk_nextmove, whole.tk_output, norm_probs=True, tk_row=whole.tk_row
    )


_unpacked = cache(unpack)


class LanguageDetector:
    """`expected`: the languages that requests are usually in; texts of which nothing is known are not called anything else. Answers are
    remembered by the text's beginning, which alone is looked at. Without an `identifier` one is unpacked when a text is first asked about:
    who only masks never asks."""

    def __init__(self, expected: Iterable[str] = ("en",), identifier: LanguageIdentifier | None = None) -> None:
        self._expected = frozenset(expected) & CODES
        self._identifier = identifier
        self._remembered = lru_cache(_REMEMBERED)(self._look)

    def detect(self, text: str) -> Language:
        """By the first words: what stands before them cannot be seen, and counts for nothing."""
        beginning = _INVISIBLE.sub("", text.lstrip()[:_LOOKED_AT])
        return self._remembered(" ".join(beginning.split())[:_SEEN_CHARS])

    def _look(self, text: str) -> Language:
        words = _words(normalise(text))
        if len(words) < (LEAST_LETTERS if words.isascii() else 1):
            return UNDETERMINED_LANGUAGE
        identifier = self._identifier or _unpacked()
        code, score = identifier.classify(words)
        if code not in self._expected and not self._stands_out(identifier, words, score):
            return UNDETERMINED_LANGUAGE
        return Language(code, score) if score >= LEAST_SCORE else UNDETERMINED_LANGUAGE

    def _stands_out(self, identifier: LanguageIdentifier, words: str, score: float) -> bool:
        return all(score >= MORE_LIKELY * other for code, other in identifier.rank(words) if code in self._expected)


def _words(text: str) -> str:
    if text.isascii():
        return _NO_WORD.sub(" ", text).strip()
    letters = (character if character.isalpha() or unicodedata.category(character)[0] == "M" else " " for character in text)
    return " ".join("".join(letters).split())
