"""What a text says is not to be done, in English: other languages' negations are not seen, and nothing is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT = r"(?:don(?:['\u2019]| ?)t|do ?n['\u2019]t|do not|dotn)"
# What is typed for an apostrophe, an acute accent as normalising leaves it included; marks of emphasis are left out.
_APOSTROPHES = re.compile(" \u0301|[`\u00b4\u2018\u02bc\u02b9\u2032\uff07]")
_EMPHASIS = re.compile(r"[*_~\"]+")
_SLIPS = {"donnt": "dont", "dnt": "dont", "dno't": "dont", "noot": "not", "nto": "not", "nott": "not", "nver": "never", "nevr": "never"}
_SLIPS |= {"neveer": "never", "neever": "never", "nevver": "never", "cannot": "can not"}
_SLIP = re.compile(rf"\b(?:{'|'.join(map(re.escape, _SLIPS))})\b", re.IGNORECASE)
_POLITE = r"(?:please|pls|plz|kindly|but|so|and|also|just|hey|hi|hello|ok|okay|no|actually|wait|stop|then|now)"
# "don't know", "don't forget to": these leave nothing undone.
_STATES = (
    r"know|understand|see|think|remember|recall|have|get it|forget|worry|hesitate|mind|care|need|want|like|feel|believe"
    r"|recogni[sz]e|you|i|we"
)
_PAST = r"(?:mind|seen|been|had|got|gotten|made|did|done|used|gave|went|came|took|\w+ed)"
# One mark is enough: with a run of them, a text of nothing else would be read from each mark to the end, which is quadratic.
_STARTS = rf"(?:^|[.!?;:,(] ?|\b(?:please|pls|plz|but|and|so) )(?:{_POLITE},? ){{0,3}}"
_WISH = r"(?:want|wish|need|like|intend)"
_NEGATED = re.compile(
    r"(?:"
    rf"{_STARTS}(?:you (?:must|should|may) not|{_NOT}(?: ever| yet| you dare)?) "
    rf"(?:let (?:any\w+|some\w+|them|him|her|it|us|that|this) )?(?!(?:{_STATES})\b|let me forget)"
    rf"|{_STARTS}never (?:ever )?(?!{_PAST}\b)"
    rf"|\b(?:i|we)(?: really| certainly| actually)? (?:{_NOT}|would ?n['\u2019]?t|would not|no longer) {_WISH} (?:\w+ ){{0,3}}?to "
    rf"|\b(?:i|we) {_NOT} want (?:\w+ ){{1,4}}?(?=\w+ed\b)"
    r"|\b(?:i|we) (?:did ?n['\u2019]?t|did not|never) (?:ask|tell|want) (?:\w+ ){0,3}?to "
    r"|\b(?:i|we)(?:['\u2019]d| would) rather (?:you )?(?:did )?not "
    r"|\b(?:can|could|would|will) you (?:please )?(?:not|never) "
    r"|\b(?:must|should|may|shall)(?: not|n['\u2019]?t) be (?!(?:there|here|on|in|a|an|the|so|any)\b)"
    r"|\bno need to |\bunder no circumstances (?:should you |may you )?"
    r")(?P<what>\w+)",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[a-z]+")
_WORDS = frozenset({"not", "no", "never", "dont", "don", "donot", "nt", "dotn", "didnt", "wouldnt", "mustnt", "shouldnt", *_SLIPS})


def negations(text: str) -> tuple[str, ...]:
    """The verb of each negated request in normalised text: "don't cancel it" has `cancel`. Statements such as "it does not work" are
    none."""
    text = _EMPHASIS.sub("", _APOSTROPHES.sub("'", text))
    if "'" not in text and "\u2019" not in text and _WORDS.isdisjoint(_LETTERS.findall(text.lower())):
        return ()
    text = _SLIP.sub(lambda slip: _SLIPS[slip[0].lower()], text)
    return tuple(found["what"].lower() for found in _NEGATED.finditer(text))


def negated_verbs(examples: Iterable[str]) -> frozenset[str]:
    """What an intent's own examples say is not to be done: "don't send it" may mean that a payment is to be cancelled."""
    return frozenset(verb for text in examples for verb in negations(text))
