"""The glossary has every name that the design fixes, once, with one sentence or more."""

from __future__ import annotations

import re

import pytest

from router.decision import Effect, Level, Status
from tests.unit.docs.pages import page

TERMS = """
request
subject
signals
intent
candidate
confidence
margin
abstain
out_of_scope
ambiguous
undetermined
stage
tier
risk level
verdict
effect
obligation
reason code
route
destination
dispatch
outcome
decision
record
leaf
checkpoint
inclusion proof
witness
bundle
revision
catalog
digest
review
reviewer
quorum
escalation
proposal
""".strip().splitlines()
ROWS = dict(re.findall(r"^\| ([a-z_ A-Z]+) \| (.+) \|$", page("glossary.md"), re.MULTILINE))


@pytest.mark.parametrize("term", TERMS)
def test_every_term_is_explained(term: str) -> None:
    """A name of the design has a meaning, in a sentence."""
    assert ROWS[term].endswith(".")


def test_terms_stand_in_order() -> None:
    """A glossary is for looking up."""
    terms = [term for term in ROWS if term != "term"]
    assert terms == sorted(terms, key=lambda term: term.lower().replace("_", " "))


def test_effects_and_levels_are_named() -> None:
    """The words of the values are those of the glossary."""
    assert all(f"`{effect}`" in ROWS["effect"] for effect in Effect)
    assert all(f"`{level}`" in ROWS["risk level"] for level in Level)
    assert {Status.OUT_OF_SCOPE, Status.AMBIGUOUS, Status.UNDETERMINED} <= set(ROWS)
