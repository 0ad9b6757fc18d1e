"""What the detectors see in a request, what they leave alone, and what they say they could not see."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import NO_BODY, UNDETERMINED_LANGUAGE, BodyView, Language, Signals
from router.stages.folding import Folded
from router.stages.language import LanguageDetector
from router.stages.patterns import Patterns, options, search_set
from router.stages.pii import PII
from router.stages.secrets import SECRETS
from router.stages.signals import HIDDEN_TEXT, SignalDetector
from tests.unit.stages.requests import json_request, request_of, text_request
from tests.unit.stages.samples import ORDINARY, POSITIVE

DETECTOR = SignalDetector()
SAMPLES = [(kind, sample) for kind, samples in POSITIVE.items() for sample in samples]


def names(signals: Signals) -> set[str]:
    return {finding.name for finding in signals.findings}


def sensitive(signals: Signals) -> set[str]:
    return {name for name in names(signals) if name.startswith(("pii.", "secret."))}


@pytest.mark.parametrize(("kind", "sample"), SAMPLES)
def test_each_kind_is_found_alone(kind: str, sample: str) -> None:
    """A text that is only the thing itself is recognised as that thing and as nothing else."""
    assert sensitive(DETECTOR.inspect(text_request(sample))) == {kind}


@pytest.mark.parametrize(("kind", "sample"), SAMPLES)
def test_each_kind_is_found_in_a_sentence(kind: str, sample: str) -> None:
    """Words and punctuation around it change nothing, and its place is exact."""
    text = f"Hello, please note ({sample}), and reply soon."
    signals = DETECTOR.inspect(text_request(text))
    assert sensitive(signals) == {kind}
    finding = next(each for each in signals.findings if each.name == kind)
    places = [text[start:end] for start, end in finding.spans]
    assert len(places) == 1
    assert places[0] in sample or sample in places[0]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_numbers_and_words_are_left_alone(text: str) -> None:
    """Order numbers, dates, versions, ids, digests and talk about passwords are neither personal data nor credentials."""
    signals = DETECTOR.inspect(text_request(text))
    assert sensitive(signals) == set()
    assert signals.masked_text == text


@pytest.mark.parametrize(("kind", "sample"), SAMPLES)
def test_a_mask_hides_what_was_found(kind: str, sample: str) -> None:
    """After masking, nothing of that kind is found any more and the rest of the text stands."""
    masked = DETECTOR.mask(f"before {sample}\nafter")
    assert masked.startswith("before ")
    assert masked.endswith("\nafter") or kind == "secret.private_key"
    assert "[" in masked
    assert sensitive(DETECTOR.inspect(text_request(masked))) == set()


@pytest.mark.parametrize(("kind", "sample"), SAMPLES)
def test_masking_twice_is_masking_once(kind: str, sample: str) -> None:
    """Labels are not masked again."""
    once = DETECTOR.mask(sample)
    assert DETECTOR.mask(once) == once


def test_the_masked_text_names_kinds() -> None:
    """A reader of the masked text still sees what was there."""
    text = "pay DE89 3704 0044 0532 0130 00, card 4111 1111 1111 1111, mail a@b.io"
    assert DETECTOR.inspect(text_request(text)).masked_text == "pay [iban], card [card], mail [email]"


def test_two_of_a_kind_count_two() -> None:
    """The count of a finding is the number of its places."""
    signals = DETECTOR.inspect(text_request("a@b.io and c@d.io"))
    assert [(each.name, each.count) for each in signals.findings] == [("pii.email", 2)]


def test_a_card_is_found_behind_another_number() -> None:
    """Digits in front of a card number do not hide it."""
    assert DETECTOR.mask("ref 4711 4111 1111 1111 1111 4th try") == "ref 4711 [card] 4th try"


def test_an_iban_is_found_behind_something_like_one() -> None:
    """A false start does not swallow the account number behind it."""
    assert DETECTOR.mask("AB12 DE89370400440532013000 DE89 3704 0044 0532 0130 00 thanks") == "AB12 [iban] [iban] thanks"


def test_other_strings_of_a_json_body_are_inspected() -> None:
    """Personal data beside the request text is found, without a place in it."""
    document = {"text": "pay the bill", "to": {"mail": ["x", "jane@acme.io"]}, "card": 4111111111111111, "password": "two words"}
    signals = DETECTOR.inspect(json_request(document, "pay the bill"))
    assert names(signals) == {"pii.email", "pii.card", "secret.password_assignment"}
    assert all(finding.spans == () for finding in signals.findings)


def test_keys_of_a_json_body_are_inspected() -> None:
    """A key may hold personal data as well."""
    assert names(DETECTOR.inspect(json_request({"jane@acme.io": True}))) == {"pii.email"}


def test_members_of_a_json_body_do_not_run_together() -> None:
    """Two halves in two members are no card number."""
    assert names(DETECTOR.inspect(json_request({"a": "4111 1111", "b": "1111 1111"}))) == set()


def test_a_body_of_another_kind_is_read_as_text() -> None:
    """A form has no request text, yet what it says is inspected."""
    signals = DETECTOR.inspect(request_of(BodyView(b"name=Jane&mail=jane%40acme.io", "digest")))
    assert names(signals) == {"pii.email"}
    assert signals.masked_text is None
    assert signals.unknown == ()


def test_a_binary_body_is_unknown() -> None:
    """What cannot be read has unknown signals, not none."""
    assert DETECTOR.inspect(request_of(BodyView(b"\xff\xfe\x00\x80", "digest"))).unknown == ("pii", "secret", "injection", "text")


@pytest.mark.parametrize(
    "body",
    [
        BodyView(b"abc", None, truncated=True),
        BodyView(b"{", "digest", problem="malformed_json"),
        BodyView(b"\xff", "digest", problem="undecodable"),
        BodyView(b"x" * 10, "digest", text="x" * 5, problem="text_too_long"),
    ],
)
def test_what_was_not_seen_is_unknown(body: BodyView) -> None:
    """A body that was cut or could not be read leaves every signal about its content unknown."""
    assert DETECTOR.inspect(request_of(body)).unknown == ("pii", "secret", "injection", "text")


def test_a_body_with_more_strings_than_are_inspected_is_unknown() -> None:
    """The bound on inspected text shows as unknown, and what lies within it is still found."""
    signals = SignalDetector(most_chars=64).inspect(json_request({"b": "jane@acme.io", "a": ["x" * 40] * 9}))
    assert signals.unknown == ("pii", "secret", "injection", "text")


def test_no_body_has_no_signals() -> None:
    """A request without a body is wholly known."""
    assert DETECTOR.inspect(request_of(NO_BODY)) == Signals()


def test_the_end_of_a_cut_text_is_not_shown() -> None:
    """A text that was cut may end inside of an account number, so its end is left out of the masked text."""
    text = "word " * 100 + "DE89 3704 0044"
    masked = DETECTOR.inspect(text_request(text, problem="text_too_long")).masked_text
    assert masked is not None
    assert "3704" not in masked
    assert masked.startswith("word word")


def test_the_language_is_that_of_the_request_text() -> None:
    """What stands beside it in the body has no say."""
    signals = DETECTOR.inspect(json_request({"text": "x", "note": "please do this today"}, text="ich habe mein Passwort vergessen"))
    assert signals.language.code == "de"
    assert signals.language.score > 0.5


def test_a_language_that_could_not_be_told_is_unknown() -> None:
    """A detector that breaks is no text in no language."""

    class Broken(LanguageDetector):
        def detect(self, text: str) -> Language:
            raise RuntimeError(text)

    signals = SignalDetector(language=Broken()).inspect(text_request("please reset my password"))
    assert (signals.unknown, signals.language) == (("language",), UNDETERMINED_LANGUAGE)


def test_a_detector_that_fails_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """Where personal data could not be looked for, the signal is unknown and no text is shown; the other detectors still ran."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    detector = SignalDetector()
    detector._looks["pii"] = broken
    signals = detector.inspect(text_request("password=hunter2"))
    assert signals.unknown == ("pii",)
    assert signals.masked_text == HIDDEN_TEXT
    assert names(signals) == {"secret.password_assignment"}
    assert "the detector of 'pii' failed" in caplog.text


@pytest.mark.parametrize(("size", "score"), [(48 * 1024, 0.5), (48 * 1024 - 1, None)])
def test_a_large_body_says_so(size: int, score: float | None) -> None:
    """From its threshold on the size of a body is a signal."""
    found = {each.name: each.score for each in DETECTOR.inspect(request_of(BodyView(b" " * size, "digest"))).findings}
    assert found.get("size.large") == score


def test_sizes_are_counted() -> None:
    """Characters of the text and bytes of the body."""
    signals = DETECTOR.inspect(text_request("Grüße"))
    assert (signals.text_chars, signals.body_bytes) == (5, 7)


@pytest.mark.parametrize(
    ("text", "score"),
    [("a\u202eb", 1.0), ("a\u200bb", 0.5), ("a\x00b", 1.0), ("a\U000e0041b", 1.0), ("a\x1bb", 0.5), ("a\ud800b", 0.5)],
)
def test_hidden_characters_are_found(text: str, score: float) -> None:
    """Bidirectional, zero-width, control and tag characters and lone surrogates are a signal with their place."""
    found = [each for each in DETECTOR.inspect(text_request(text)).findings if each.name == "text.hidden_characters"]
    assert [(each.score, each.spans) for each in found] == [(score, ((1, 2),))]


@pytest.mark.parametrize(
    "text", ["line one\nline two\ttab\r\n", "family 👨‍👩‍👧 photo", "می‌خواهم", "\ufeffhello", "naïve café", "10\xa0000 €"]
)
def test_natural_invisible_characters_are_left_alone(text: str) -> None:
    """Line ends, joined emoji, scripts that need joiners and a byte-order mark hide nothing."""
    assert names(DETECTOR.inspect(text_request(text))) == set()


def test_a_word_of_two_scripts_is_found() -> None:
    """Cyrillic letters inside of a Latin word are a signal; a Russian word beside an English one is not."""
    assert names(DETECTOR.inspect(text_request("pаypal"))) == {"text.mixed_script"}
    assert names(DETECTOR.inspect(text_request("please translate привет"))) == set()


@given(st.text(st.characters(codec=None), max_size=200))
def test_no_text_breaks_a_detector(text: str) -> None:
    """Arbitrary Unicode, lone surrogates included, is inspected and masked without an error, with places inside of the text."""
    signals = DETECTOR.inspect(text_request(text))
    assert signals.unknown == ()
    assert isinstance(DETECTOR.mask(text), str)
    for finding in signals.findings:
        assert 0.0 < finding.score <= 1.0
        assert all(0 <= start < end <= len(text) for start, end in finding.spans)


FRAGMENTS = st.one_of(st.sampled_from([sample for _, sample in SAMPLES]), st.text(st.characters(codec="utf-8"), max_size=8), st.just(" "))


@given(st.lists(FRAGMENTS, max_size=8).map("".join))
def test_a_mask_replaces_exactly_the_detected_places(text: str) -> None:
    """Outside of the detected places the text stands as it was; nothing from inside of one is left."""
    signals = DETECTOR.inspect(text_request(text))
    places = sorted(place for each in signals.findings if each.name.startswith(("pii.", "secret.")) for place in each.spans)
    pieces, done = [], 0
    for start, end in places:
        if start >= done:
            pieces.append(text[done:start])
        done = max(done, end)
    pieces.append(text[done:])
    assert signals.masked_text == DETECTOR.mask(text)
    assert re.fullmatch(r"\[[a-z_]+\]".join(map(re.escape, pieces)), signals.masked_text or "")


@given(st.lists(st.sampled_from([sample for kind, sample in SAMPLES if kind != "secret.private_key"]), min_size=1, max_size=8, unique=True))
def test_no_sample_survives_its_mask(samples: list[str]) -> None:
    """However many secrets stand in one text, none is left in the masked one."""
    masked = DETECTOR.mask("\n".join(samples))
    assert [sample for sample in samples if sample in masked] == []


@given(st.lists(FRAGMENTS, max_size=6).map(" ".join))
def test_one_pass_finds_what_each_expression_finds(text: str) -> None:
    """Searching for all expressions at once names exactly the ones that occur, so that none is skipped."""
    data = Folded(text).data
    for patterns in (PII, SECRETS):
        matched = set(search_set([each.expression for each in patterns]).Match(data) or ())
        alone = {number for number, each in enumerate(patterns) if Patterns([each])._expressions[0].search(data) is not None}
        assert matched == alone


def test_every_expression_has_a_sample() -> None:
    """No detector is untested."""
    assert {each.name for each in (*PII, *SECRETS)} == set(POSITIVE)
    assert options().encoding == options().Encoding.LATIN1
