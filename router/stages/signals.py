"""Deterministic signals of a request: personal data, credentials, injection, hidden characters, language, size.

A signal that could not be computed is named in `Signals.unknown`; nothing is silently absent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from router.decision import UNDETERMINED_LANGUAGE, BodyView, Finding, Language, Request, Signals
from router.ports import Personal, Recogniser
from router.stages.characters import character_findings
from router.stages.folding import Folded
from router.stages.injection import InjectionDetector
from router.stages.language import LanguageDetector
from router.stages.leaves import beside_text
from router.stages.masking import Mask, masked
from router.stages.patterns import Patterns
from router.stages.pii import pii
from router.stages.secrets import secrets

log = logging.getLogger("lockgate.signals")
KINDS = ("pii", "secret", "injection", "text")  # of findings in what was sent, of which nobody can say anything where it was not seen
NAMED_UNKNOWN = (*KINDS, "language")
HIDDEN_TEXT = "[masked]"
_CUT_TAIL = 128  # characters; a text that was cut may end inside of something that would have been masked


@dataclass(slots=True)
class _Seen:
    """What was found so far: by name the highest score and the places in the request text."""

    scores: dict[str, float] = field(default_factory=dict)
    places: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    masks: list[Mask] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def add(self, name: str, score: float) -> None:
        self.scores[name] = max(score, self.scores.get(name, 0.0))

    def findings(self) -> tuple[Finding, ...]:
        return tuple(Finding(name, score, tuple(sorted(self.places.get(name, ())))) for name, score in sorted(self.scores.items()))


Look = Callable[[str, Folded, _Seen, bool], None]


class SignalDetector:
    """`most_chars` bounds what is inspected beside the request text; a body of three quarters of it counts as large."""

    def __init__(self, most_chars: int = 64 * 1024, language: LanguageDetector | None = None, recogniser: Recogniser | None = None) -> None:
        self._most = most_chars
        self._large = most_chars * 3 // 4
        self._sensitive = {"pii": pii(), "secret": secrets()}
        self._injection = InjectionDetector()
        self._language = language if language is not None else LanguageDetector()
        self._looks: dict[str, Look] = {kind: _finder(patterns) for kind, patterns in self._sensitive.items()}
        self._looks |= {"injection": self._injected, "text": _drawn}
        self._recogniser = recogniser

    def inspect(self, request: Request) -> Signals:
        body, seen = request.body, _Seen()
        if body.truncated or body.problem is not None:
            seen.unknown.update(KINDS)
        if body.text:
            self._look(body.text, seen, True)
        rest, whole = beside_text(body, self._most)
        if not whole:
            seen.unknown.update(KINDS)
        if rest:
            self._look(rest, seen, False)
        if body.truncated or len(body.data) >= self._large:
            seen.add("size.large", 1.0 if body.truncated else 0.5)
        language = self._spoken(body.text, seen) if body.text else UNDETERMINED_LANGUAGE
        unknown = tuple(kind for kind in NAMED_UNKNOWN if kind in seen.unknown or kind in seen.failed)
        return Signals(seen.findings(), _masked_text(body, seen), len(body.text or ""), len(body.data), unknown, language)

    def mask(self, text: str) -> str:
        """The text with personal data and credentials replaced by their labels."""
        folded = Folded(text)
        hits = [hit for patterns in self._sensitive.values() for hit in patterns.find(folded.data)]
        masks: list[Mask] = [(*folded.span(hit.start, hit.end), hit.label) for hit in hits]
        if self._recogniser is not None:
            masks += [(each.start, each.end, _label(each)) for each in self._recogniser.find(text)]
        return masked(text, masks) if masks else text

    def _look(self, text: str, seen: _Seen, placed: bool) -> None:
        """`placed`: whether this is the request text, whose places are kept."""
        folded = Folded(text)
        for kind, look in self._looks.items():
            try:
                look(text, folded, seen, placed)
            except Exception:  # whatever broke, the signal is unknown and the request goes on to be judged so
                log.exception("the detector of '%s' failed", kind)
                seen.failed.add(kind)
        if self._recogniser is not None:
            self._recognised(self._recogniser, text, seen, placed)

    def _recognised(self, recogniser: Recogniser, text: str, seen: _Seen, placed: bool) -> None:
        """What the built-in recogniser has found at a place is not counted twice."""
        if len(text) > recogniser.most_chars:
            seen.unknown.add("pii")
        try:
            found = recogniser.find(text)
        except Exception:  # as above
            log.exception("the recogniser of personal data failed")
            seen.failed.add("pii")
            return
        taken = [(start, end) for start, end, _ in seen.masks] if placed else []
        for each in found:
            if all(each.end <= start or end <= each.start for start, end in taken):
                seen.add(each.kind, each.score)
                if placed:
                    seen.places.setdefault(each.kind, []).append((each.start, each.end))
                    seen.masks.append((each.start, each.end, _label(each)))

    def _spoken(self, text: str, seen: _Seen) -> Language:
        try:
            return self._language.detect(text)
        except Exception:  # as above
            log.exception("the detector of 'language' failed")
            seen.failed.add("language")
            return UNDETERMINED_LANGUAGE

    def _injected(self, _text: str, folded: Folded, seen: _Seen, placed: bool) -> None:
        injection = self._injection.find(folded.data, placed=placed)
        if injection is None:
            return
        seen.add("injection", injection.score)
        if placed:
            seen.places["injection"] = [folded.span(*place) for place in injection.places]


def together(part: Signals, whole: Signals) -> Signals:
    """A part's signals with those of the whole that it is part of: of one name the stronger; places are the part's own."""
    found = {each.name: each for each in part.findings}
    for each in whole.findings:
        own = found.get(each.name)
        found[each.name] = Finding(each.name, each.score) if own is None else replace(own, score=max(own.score, each.score))
    return replace(
        part,
        findings=tuple(found.values()),
        unknown=tuple(dict.fromkeys((*part.unknown, *whole.unknown))),
        learning=tuple(dict.fromkeys((*part.learning, *whole.learning))),
    )


def _label(found: Personal) -> str:
    return f"[{found.kind.removeprefix('pii.')}]"


def _finder(patterns: Patterns) -> Look:
    def look(_text: str, folded: Folded, seen: _Seen, placed: bool) -> None:
        for hit in patterns.find(folded.data):
            seen.add(hit.name, 1.0)
            if placed:
                place = folded.span(hit.start, hit.end)
                seen.places.setdefault(hit.name, []).append(place)
                seen.masks.append((*place, hit.label))

    return look


def _drawn(text: str, _folded: Folded, seen: _Seen, placed: bool) -> None:
    for finding in character_findings(text):
        seen.add(finding.name, finding.score)
        if placed:
            seen.places[finding.name] = list(finding.spans)


def _masked_text(body: BodyView, seen: _Seen) -> str | None:
    if body.text is None:
        return None
    if seen.failed & {"pii", "secret"}:
        return HIDDEN_TEXT
    text = masked(body.text, seen.masks)
    return text if body.problem is None else f"{text[:-_CUT_TAIL]}…"
