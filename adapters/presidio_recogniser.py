"""Microsoft's presidio-analyzer as a recogniser, without a language model: its patterns, checks and context words, nothing downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, RecognizerResult
from presidio_analyzer.nlp_engine import SpacyNlpEngine

from router.ports import Personal

LANGUAGE = "en"  # of the recognisers and their context words; forms such as card numbers have none
# What the built-in recogniser also knows has its name; anything else is `pii.` and presidio's own.
KINDS = {
    "EMAIL_ADDRESS": "pii.email",
    "IBAN_CODE": "pii.iban",
    "CREDIT_CARD": "pii.card",
    "PHONE_NUMBER": "pii.phone",
    "US_SSN": "pii.ssn",
    "IP_ADDRESS": "pii.ip",
    "UK_NINO": "pii.national_id",
}
NOT_PERSONAL = frozenset({"DATE_TIME", "URL"})


def _no_model() -> SpacyNlpEngine:
    """Words are cut and nothing more: names and places need a model that would have to be downloaded."""
    engine = SpacyNlpEngine()
    engine.nlp = {LANGUAGE: spacy.blank(LANGUAGE)}  # with this it counts as loaded
    return engine


class PresidioRecogniser:
    def __init__(self, *, min_score: float, most_chars: int) -> None:
        self.most_chars = most_chars
        registry = RecognizerRegistry()
        registry.load_predefined_recognizers(languages=[LANGUAGE])
        registry.remove_recognizer("SpacyRecognizer")
        self._engine = AnalyzerEngine(
            registry=registry, nlp_engine=_no_model(), supported_languages=[LANGUAGE], default_score_threshold=min_score
        )
        self._entities = [name for name in registry.get_supported_entities() if name not in NOT_PERSONAL]
        self.find("call me on +49 30 901820")  # tables are read at the first text, which takes too long for a request

    def find(self, text: str) -> Sequence[Personal]:
        seen = text[: self.most_chars].encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is one character still
        found: list[Any] = self._engine.analyze(seen, LANGUAGE, entities=self._entities)
        return _apart(found)


def _apart(found: Iterable[RecognizerResult]) -> list[Personal]:
    """The surest of those that overlap, then the longest."""
    chosen: list[Personal] = []
    for each in sorted(found, key=lambda each: (-each.score, each.start - each.end, each.start, each.entity_type)):
        if all(each.end <= other.start or other.end <= each.start for other in chosen):
            kind = KINDS.get(each.entity_type, f"pii.{each.entity_type.lower()}")
            chosen.append(Personal(kind, each.start, each.end, float(each.score)))
    return sorted(chosen, key=lambda each: each.start)
