"""The documents that policy is given are the ones that the published schema describes."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from router.decision import (
    BodyView,
    Candidate,
    Classification,
    Contribution,
    Finding,
    Level,
    Outcome,
    Request,
    Result,
    Risk,
    Route,
    Signals,
    Status,
    Subject,
)
from router.stages.alternatives import Alternatives, Offer, Standings
from router.stages.policy import admission_input, policy_input
from router.stages.routing import IntentEntry
from tests.unit.identity.parts import HandClock
from tests.unit.policy.halden import ROOT

SCHEMA = json.loads((ROOT / "policies" / "schemas" / "input.json").read_text())
VALID = Draft202012Validator(SCHEMA)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts = st.lists(text, max_size=3).map(tuple)
score = st.floats(0, 1)
maybe = st.none() | st.floats()
claims = st.dictionaries(text, st.recursive(st.none() | st.booleans() | st.integers(0, 2**53) | text, st.lists, max_leaves=4), max_size=3)
subjects = st.builds(Subject, text, text, texts, texts, st.none() | text, claims, st.sampled_from(["api_key", "jwt", "none"]))
bodies = st.builds(BodyView, st.binary(max_size=20), st.none() | text, st.booleans(), st.none() | text, st.none() | text)
requests = st.builds(
    Request,
    id=text,
    received_ns=st.integers(0, 4_000_000_000_000_000_000),
    door=text,
    subject=subjects,
    method=text,
    host=text,
    path=text.map(lambda path: "/" + path),
    query=text,
    headers=st.lists(st.tuples(text, text), max_size=4).map(tuple),
    content_type=text,
    body=bodies,
    client=text,
)
findings = st.lists(st.builds(Finding, text, score, st.lists(st.just((0, 1)), max_size=3).map(tuple)), max_size=4).map(tuple)
signals = st.builds(Signals, findings, st.none() | text, st.integers(0, 9), st.integers(0, 9), texts)
classifications = st.builds(
    Classification,
    st.sampled_from(Status),
    st.none() | text,
    maybe,
    maybe,
    maybe,
    maybe,
    st.lists(st.builds(Candidate, text, score, score), max_size=3).map(tuple),
    texts,
    text,
    text,
)
risks = st.builds(Risk, st.sampled_from(Level), score, st.lists(st.builds(Contribution, text, score), max_size=3).map(tuple))
intents = st.none() | st.builds(IntentEntry, text, text, st.sampled_from([*Level]).map(str), text, texts)
routes = st.none() | st.builds(Route, text, text, text)
recents = st.lists(st.tuples(st.integers(0, 10**12), st.booleans()), max_size=40)
offers = st.builds(
    Offer,
    text,
    st.none() | score,
    st.none() | score,
    st.none() | score,
    st.sampled_from([True, False, None]).map(lambda known: lambda: known),
)


def as_sent(document: object) -> object:
    return orjson.loads(orjson.dumps(document))


@given(requests)
def test_every_admission_document_fits_the_schema(request):
    """Whatever a front door builds."""
    VALID.validate(as_sent(admission_input(request)))


@given(requests, signals, classifications, risks, intents, routes, offers, recents)
def test_every_decision_document_fits_the_schema(request, found, classification, risk, intent, route, offer, recent):
    """Whatever the stages before it found, and however routes stand."""
    clock, standings = HandClock(), Standings()
    for took, failed in recent:
        standings.note(
            "b", clock.monotonic_ns(), Outcome(Result.FAILED if failed else Result.ROUTED, 502 if failed else 200, upstream_ns=took)
        )
    told = Alternatives({"a": offer, "b": offer}, {"a": ("b",)}, standings, clock).told(Route("a", "x", "rule") if route else None)
    VALID.validate(as_sent(policy_input(request, found, classification, risk, intent, route, routes=told)))


def test_the_schema_refuses_what_is_not_sent():
    """A member that nobody sends is not described."""
    document = as_sent(admission_input(asked()))
    assert isinstance(document, dict)
    assert not VALID.is_valid({**document, "extra": 1})
    assert not VALID.is_valid({key: value for key, value in document.items() if key != "subject"})


def asked(**changes: object) -> Request:
    values = {"id": "r", "received_ns": 1_790_000_000_123_456_789, "door": "gateway", "subject": Subject("a", "user"), "method": "GET"}
    return Request(**{**values, "host": "h", "path": "/a//b/", **changes})  # type: ignore[arg-type]


def test_time_is_given_in_nanoseconds_and_as_text():
    """Policy reads the time from the request, so that a replay sees the same."""
    time = admission_input(asked())["request"]["time"]
    assert time == {"ns": 1_790_000_000_123_456_789, "iso": "2026-09-21T14:13:20Z"}


@pytest.mark.parametrize(("path", "parts"), [("/", []), ("/a", ["a"]), ("/a/b/", ["a", "b"]), ("/a//b", ["a", "", "b"])])
def test_a_path_comes_in_parts(path, parts):
    """As deterministic rules see it."""
    assert admission_input(asked(path=path))["request"]["path_parts"] == parts


def test_repeated_header_fields_are_one_list():
    """No value is lost to another of its name."""
    headers = admission_input(asked(headers=(("a", "1"), ("b", "2"), ("a", "3"))))["request"]["headers"]
    assert headers == {"a": "1, 3", "b": "2"}


def test_findings_of_one_name_are_one_finding():
    """The highest score and all the places."""
    found = Signals((Finding("pii.iban", 0.5, ((0, 1),)), Finding("pii.iban", 0.9, ((2, 3), (4, 5)))))
    document = policy_input(asked(), found, Classification(Status.SKIPPED), Risk(Level.LOW, 0.0), None, None)
    assert document["signals"]["findings"] == {"pii.iban": {"score": 0.9, "count": 3}}
