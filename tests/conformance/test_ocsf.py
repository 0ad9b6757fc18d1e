"""Every exported event is one of OCSF 1.8.0, by the schema that OCSF publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from router.audit.copies.ocsf import ACTIONS, ACTIVITIES, DISPOSITIONS, RISKS, VERSION
from router.audit.records.record import decision_entry, evidence_entry, outcome_entry, review_entry, system_entry
from router.decision import Effect, Level, Outcome, Result, Risk, Verdict
from router.ports import Entry
from tests.unit.audit.samples import KEY, KEY_ID, OUTCOME, REQUEST, numbered
from tests.unit.audit.test_export import made


@pytest.fixture(scope="module")
def schema() -> Any:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION)).get_class_schema("api_activity", ["security_control", "trace"])


def everything() -> Iterator[Entry]:
    """Each kind of record with each value that is mapped, and hardly filled ones."""
    yield system_entry("started", 1_764_000_000_000_000_000, {"version": "1"})
    number = 0
    for effect in Effect:
        for result in (None, *Result):
            for level, method in zip(Level, ("POST", "GET", "BREW", "DELETE"), strict=True):
                number += 1
                verdict = Verdict(effect, revision="r", digest="f0" * 32, engine="embedded")
                outcome = None if result is None else Outcome(result, 403, "role_missing", total_ns=5_000)
                decision = numbered(number, verdict=verdict, outcome=outcome, risk=Risk(level, 0.256))
                yield decision_entry(replace(decision, request=replace(REQUEST, method=method)), b"{}", KEY_ID, KEY)
    bare = numbered(number + 1, route=None)
    yield decision_entry(replace(bare, request=replace(REQUEST, trace=None), verdict=Verdict(Effect.DENY)), b"", KEY_ID, KEY)
    yield outcome_entry(bare.id, OUTCOME, 1_764_000_000_000_000_001, KEY_ID, KEY)
    yield outcome_entry(bare.id, Outcome(Result.FAILED, 502, "connect_failed"), 1_764_000_000_000_000_001)
    yield review_entry(bare.id, "approved", 1_764_000_000_000_000_002, {"quorum": 1}, {"reviewer": "max"}, KEY_ID, KEY)
    for phase in ("started", "completed", "failed", "compensated", "reported"):
        details = {"phase": phase, "reference": "decision", "destination": "payments", "sender": "abcd1234"}
        yield evidence_entry(bare.id, 1_764_000_000_000_000_003, details, {"source": "s"}, KEY_ID, KEY)


@pytest.mark.parametrize("keys", [None, {KEY_ID: KEY}.get, lambda _: None], ids=["sealed", "opened", "erased"])
def test_every_event_is_valid(tmp_path: Path, schema: Any, keys: Any) -> None:
    """Of its class with its profiles; nothing that the class does not know."""
    events = json.loads(made(tmp_path, "ocsf", list(everything()), keys=keys)[0])
    validator = Draft202012Validator(schema)
    faults = [
        (event["metadata"]["sequence"], error.json_path, error.message[:200]) for event in events for error in validator.iter_errors(event)
    ]
    assert faults == []
    assert len(events) == len(list(everything()))


def test_the_check_finds_faults(schema: Any) -> None:
    """It is strict: an event that lacks what is required, and one with more than there is, are found."""
    assert not Draft202012Validator(schema).is_valid({})


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("activity_id", {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}),
        ("action_id", {1: "Allowed", 2: "Denied", 3: "Observed"}),
        ("disposition_id", {1: "Allowed", 2: "Blocked", 14: "Delayed", 16: "No Action", 17: "Logged", 25: "Rejected", 27: "Error"}),
        ("risk_level_id", {1: "Low", 2: "Medium", 3: "High", 4: "Critical"}),
    ],
)
def test_numbers_mean_what_is_meant(attribute: str, told: dict[int, str]) -> None:
    """As OCSF names them."""
    values = get_ocsf_schema(version=VERSION)["classes"]["api_activity"]["attributes"][attribute]["enum"]
    assert {number: values[str(number)]["caption"] for number in told} == told
    used = {"activity_id": ACTIVITIES, "action_id": ACTIONS, "disposition_id": DISPOSITIONS, "risk_level_id": RISKS}[attribute]
    assert {number for number in used.values() if number != 99} <= told.keys()
