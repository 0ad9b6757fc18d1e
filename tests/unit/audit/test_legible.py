from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.audit.checking.legible import legible
from router.audit.records.canonical import canonical
from router.audit.records.record import decision_entry, evidence_entry, outcome_entry, review_entry, system_entry, withheld
from router.decision import Outcome, Result, Verdict
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.samples import DECISION, DENIED, KEY, KEY_ID, OUTCOME, REQUEST
from tests.unit.verifier.places import paths, put
from vectors import ledger

DETAILS = {"phase": "completed", "reference": "unknown", "destination": None, "sender": ""}
LONG = tuple(f"intent.{number:05d}" for number in range(9000))
MADE = {
    "decision": decision_entry(DECISION, b"{}", KEY_ID, KEY),
    "denied": decision_entry(DENIED, b"{}", KEY_ID, KEY),
    "hardly filled": decision_entry(
        replace(DECISION, request=replace(REQUEST, trace=None), route=None, verdict=Verdict(DECISION.verdict.effect)), b"", KEY_ID, KEY
    ),
    "shortened": decision_entry(
        replace(DECISION, classification=replace(DECISION.classification, prediction_set=LONG)), b"{}", KEY_ID, KEY
    ),
    "withheld": Entry(withheld(decision_entry(DECISION, b"{}", KEY_ID, KEY).leaf)),
    "outcome": outcome_entry(DECISION.id, OUTCOME, 1, KEY_ID, KEY),
    "outcome without a key": outcome_entry(DECISION.id, Outcome(Result.FAILED, 502, "anna's fault"), 1),
    "review": review_entry(DECISION.id, "approved", 1, {"quorum": 1}, {"reviewer": "bo"}, KEY_ID, KEY),
    "evidence": evidence_entry(DECISION.id, 1, DETAILS, {"event": "{}"}, KEY_ID, KEY),
    "system": system_entry("started", 1),
    "system with a person": system_entry("erasure_ordered", 1, {"key_id": KEY_ID}, DECISION.id, {"by": "bo"}, KEY_ID, KEY),
    **{f"vector {number}": entry for number, entry in enumerate(ledger.entries())},
}

KINDS = {"decision", "outcome", "review", "evidence", "system"}


@pytest.mark.parametrize("name", MADE)
def test_whatever_is_recorded_can_be_told_what_it_is(name: str) -> None:
    """Also of people who were erased, of pruned records and of shortened ones: their leaves stay."""
    leaf, row = legible(0, MADE[name].leaf)
    assert canonical(leaf) == MADE[name].leaf
    assert row["kind"] == leaf["schema"].split(".")[1]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(MADE)), st.data())
def test_a_leaf_with_other_values_is_read_or_refused(name: str, data: st.DataObject) -> None:
    """In one sentence, whatever stands in it."""
    leaf = orjson.loads(MADE[name].leaf)
    place = data.draw(st.sampled_from(paths(leaf)[1:]))
    if data.draw(st.booleans()):
        put(leaf, place, lambda owner, key: owner.pop(key))
    else:
        value: Any = data.draw(st.sampled_from([None, True, 5, "", "x", "nan", [], {}, ["x"], {"x": []}]))
        put(leaf, place, lambda owner, key: owner.__setitem__(key, value))
    try:
        kind = legible(7, canonical(leaf))[1]["kind"]
    except AuditError as error:
        kind = str(error)
    assert kind != "unreadable"
    assert kind in KINDS or kind.startswith("Whether record 7 belongs to the answer cannot be told: ")
