"""A text is called what it is in, or nothing; English is hardly ever called something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import UNDETERMINED_LANGUAGE
from router.stages.language import CODES, LanguageDetector
from tests.unit.stages.language_texts import REQUESTS

UTTERANCES = sorted(Path("examples/halden/utterances").glob("*.txt"))
DETECTOR = LanguageDetector()
SAMPLES = [(code, text) for code, texts in REQUESTS.items() for text in texts]


@pytest.mark.parametrize(("code", "text"), SAMPLES)
def test_a_request_is_in_its_language_or_in_none(code: str, text: str) -> None:
    """Short requests in fourteen languages are never taken for another language."""
    assert DETECTOR.detect(text).code in (code, "und")


def test_nearly_every_request_is_recognised() -> None:
    """To say nothing is the exception."""
    assert sum(DETECTOR.detect(text).code == code for code, text in SAMPLES) > 0.95 * len(SAMPLES)


def test_english_requests_are_never_called_anything_else() -> None:
    """All of the example company's requests, two words or twenty, are English or too short to say."""
    found = {text: DETECTOR.detect(text).code for file in UTTERANCES for text in file.read_text().splitlines() if text}
    assert len(found) > 500
    assert {text: code for text, code in found.items() if code not in ("en", "und")} == {}


@pytest.mark.parametrize("text", ["", "  ", "ok", "4711", "4711-0815 / 2026-01-15", "🙂🙂", "\u200b\u200b", "\ud800", "..."])
def test_what_says_nothing_is_undetermined(text: str) -> None:
    """Numbers, signs and a letter or two are in no language."""
    assert DETECTOR.detect(text) == UNDETERMINED_LANGUAGE


def test_what_is_expected_weighs() -> None:
    """A word of two languages is taken for the one that requests are in."""
    text = "order a pizza margherita"
    assert LanguageDetector(["it"]).detect(text).code == "it"
    assert LanguageDetector(["en"]).detect(text).code == "und"


def test_characters_that_are_not_seen_change_nothing() -> None:
    """Zero-width characters and full-width letters are read as the encoder reads them."""
    plain = "ich habe mein Passwort vergessen"
    assert DETECTOR.detect("\u200b".join(plain)) == DETECTOR.detect(plain)
    assert DETECTOR.detect("ｉｃｈ ｈａｂｅ ｍｅｉｎ Ｐａｓｓｗｏｒｔ ｖｅｒｇｅｓｓｅｎ").code == "de"


def test_only_the_beginning_is_looked_at() -> None:
    """The cost does not grow with the text."""
    assert DETECTOR.detect("please reset my password " * 20 + "ich habe mein Passwort vergessen " * 1000).code == "en"


@pytest.mark.parametrize("before", [" " * 256, "\n" * 5000, "\u200b" * 256, "\u2060 " * 200])
def test_what_cannot_be_seen_hides_no_language(before: str) -> None:
    """A text is in the language of its words, whatever stands before them."""
    text = "Bitte stornieren Sie die Zahlung noch heute, ich möchte sie nicht ausführen lassen"
    assert DETECTOR.detect(before + text).code == "de"


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_has_an_answer(text: str) -> None:
    """A known code with a probability, or `und` with none."""
    found = DETECTOR.detect(text)
    assert found == UNDETERMINED_LANGUAGE or (found.code in CODES and 0.5 <= found.score <= 1.0)
