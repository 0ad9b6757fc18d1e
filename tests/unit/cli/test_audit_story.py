"""What `lockgate audit show` makes of a record."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import orjson
from rich.console import Console

from router.audit.questions.query import Found, Proven
from router.audit.records.record import decision_entry
from router.cli.audit.output import print_story
from router.decision import Candidate, EarlierTier
from tests.unit.audit.samples import DECISION, KEY, KEY_ID, POLICY_INPUT


def test_tiers_that_were_passed_over_are_told_in_lines_of_their_own() -> None:
    """Why it did not decide, with the reason's code, and what it held likeliest."""
    passed = EarlierTier("static", "look", "static_unsure", 0.5, 0.9, 0.1, 0.7, (Candidate("look", 1.5, 0.5), Candidate("pay", 0.1, 0.2)))
    decision = replace(DECISION, classification=replace(DECISION.classification, earlier_tiers=(passed, EarlierTier("second", None))))
    leaf = orjson.loads(decision_entry(decision, POLICY_INPUT, KEY_ID, KEY).leaf)
    screen = StringIO()
    print_story(Console(file=screen, width=200), [Proven(Found(0, leaf, {"kind": "decision"}, "sealed"), None, [])])
    lines = [" ".join(line.split()) for line in screen.getvalue().splitlines()]
    assert "classification.earlier_tiers.static static_unsure, not sure enough: 0.50, and 0.90 is needed" in lines
    assert "classification.earlier_tiers.static.likeliest look 0.500000, pay 0.200000" in lines
    assert "classification.earlier_tiers.second.likeliest nothing" in lines
