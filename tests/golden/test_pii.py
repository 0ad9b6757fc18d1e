"""Personal data in whole sentences: which kinds are found, exactly where, and what is taken for it. `{kind:...}` marks what is there.
Floors are what was measured minus a little."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from router.stages.signals import SignalDetector
from tests.unit.stages.requests import text_request

MARK = re.compile(r"\{(\w+):([^}]*)\}")
RECALL_FLOOR, MOST_WRONG = 0.98, 1  # measured 77 of 77, and none wrong
DETECTOR = SignalDetector()
Place = tuple[str, int, int]


def marked(line: str) -> tuple[str, set[Place]]:
    """The sentence without marks, and the places that these were about."""
    text, places, done = "", set(), 0
    for match in MARK.finditer(line):
        text += line[done : match.start()]
        places.add((match[1], len(text), len(text) + len(match[2])))
        text, done = text + match[2], match.end()
    return text + line[done:], places


def lines() -> Sequence[tuple[str, set[Place]]]:
    return [marked(line) for line in (Path(__file__).parent / "pii" / "texts.txt").read_text("utf-8").splitlines()]


def found(text: str) -> set[Place]:
    findings = DETECTOR.inspect(text_request(text)).findings
    return {(each.name[4:], *span) for each in findings if each.name.startswith("pii.") for span in each.spans}


def test_there_are_enough_sentences() -> None:
    """A hundred, with personal data and without."""
    places = [each for _, each in lines()]
    assert len(places) > 100
    assert sum(1 for each in places if not each) > 30


def test_personal_data_is_found_where_it_is() -> None:
    """The right kind, from its first character to its last."""
    wanted = sum(len(places) for _, places in lines())
    assert sum(len(places & found(text)) for text, places in lines()) >= RECALL_FLOOR * wanted


def test_other_numbers_are_left_alone() -> None:
    """What is found is nearly always there."""
    assert sum(len(found(text) - places) for text, places in lines()) <= MOST_WRONG
