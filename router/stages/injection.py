"""Attempts to talk a model or a reviewer into something: weighted families of phrases, each of which counts once.

The score is 1 − Π(1 − weight) over the families that occur. It is a signal for policy and never proof: recall is far from complete, and a
quoted attack looks like an attack. Phrases are compared by skeleton (lower case, look-alike digits and signs as letters), so that
`1gn0re` is `ignore`; text whose l e t t e r s stand apart is compared without what stands between them as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router.stages.injection_phrases import MARKUP, PHRASES, Families
from router.stages.patterns import Pattern, Patterns, Place, search_set

_SKELETON = bytes.maketrans(b"013457@$!|l", b"oieastasiii")
_PHRASE_SKELETON = str.maketrans("013457l", "oieasti")  # without the signs, which mean something else in an expression
_LETTERS_APART = rb"(?:\b[a-z0-9][^a-z0-9]{1,3}){7}"
_BETWEEN = bytes(sorted(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz")))
_WEIGHTS = {family: weight for family, (weight, _) in (*PHRASES.items(), *MARKUP.items())}


@dataclass(frozen=True, slots=True)
class Injection:
    """`places` are byte offsets into the folded text; a family that was found only with its letters apart has none."""

    score: float
    families: tuple[str, ...]
    places: tuple[Place, ...]


class InjectionDetector:
    def __init__(self) -> None:
        self._markup = _patterns(MARKUP, str.encode)
        self._phrases = _patterns(PHRASES, _apart)
        self._squeezed = _patterns(PHRASES, _together)
        self._letters_apart = search_set([_LETTERS_APART])

    def find(self, data: bytes, *, placed: bool = True) -> Injection | None:
        """`data` is folded text. `placed`: whether anybody asks for the places, which take longer to find than the families."""
        lowered = data.lower()
        skeleton = lowered.translate(_SKELETON)
        hits = self._markup.find(lowered) + self._phrases.find(skeleton) if placed else []
        families = {hit.name for hit in hits} if placed else self._markup.named(lowered) | self._phrases.named(skeleton)
        if self._letters_apart.Match(lowered):
            families |= self._squeezed.named(skeleton.translate(None, _BETWEEN))
        if not families:
            return None
        return Injection(_score(families), tuple(sorted(families)), tuple((hit.start, hit.end) for hit in hits))


def _score(families: set[str]) -> float:
    left = 1.0
    for family in families:
        left *= 1.0 - _WEIGHTS[family]
    return 1.0 - left


def _patterns(families: Families, form: Callable[[str], bytes]) -> Patterns:
    return Patterns([Pattern(family, "", form(each)) for family, (_, each_of) in families.items() for each in each_of], nested=True)


def _apart(phrase: str) -> bytes:
    return _formed(phrase, r"[\W_]+", r"(?:[\W_]+\w+){0,3}[\W_]+")


def _together(phrase: str) -> bytes:
    return _formed(phrase, "", ".{0,20}")


def _formed(phrase: str, gap: str, words: str) -> bytes:
    return phrase.translate(_PHRASE_SKELETON).replace(" ", gap).replace("~", words).encode("ascii")
