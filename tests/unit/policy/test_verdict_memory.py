"""Verdicts are remembered for exactly the values that they were given for."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from adapters.rego.embedded import load
from adapters.rego.verdict_memory import MOST, MOST_BYTES, VerdictMemory
from router.decision import Effect, Verdict
from tests.conformance.rego_truth import ROOT, settings, texts
from tests.conformance.test_rego_differential import documents, verdict_of

VERDICT = Verdict(Effect.ALLOW)
ADMIT = 'package lockgate.admission\n\nresult := {"effect": "allow"} if input.a.b == 1\n\nelse := {"effect": "deny"} if input.a'
DECIDE = 'package lockgate.decision\n\nresult := {"effect": "allow"} if input.request.time.ns > 1'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}),
        ({"a": {"b": 1}}, {"a": {"b": "1"}}),
        ({"a": {"b": None}}, {"a": {}}),
        ({"a": {"b": []}}, {"a": {"b": {}}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}, "c": 1}),
        ({"c": 1}, {"a": {"b": 1}}),
        ({"a": {"b": 0.1}}, {"a": {"b": 0.10000000000000002}}),
    ],
)
def test_other_values_are_another_question(one, other):
    """Null is not absent, and a number is no text."""
    memory = VerdictMemory([("a", "b"), ("c",)])
    assert memory.key(one) != memory.key(other)


def test_what_is_not_read_makes_no_difference():
    """A request's id and time are its own."""
    memory = VerdictMemory([("a", "b")])
    assert memory.key({"a": {"b": 1, "x": 2}, "id": 1}) == memory.key({"a": {"b": 1}, "id": 2})


async def test_a_header_that_no_rule_reads_is_no_reason_to_evaluate_again():
    """What callers write into others, an id of theirs, is not looked at."""
    folder = ROOT / "examples" / "halden" / "policies" / "data.yaml"
    engine = load(texts(ROOT / "policies"), settings(folder), deadline_s=60)
    tenant = settings(folder)["lockgate"]["config"]["tenant"]["header"]
    keys = {engine._memories["data.lockgate.admission.result"].key({"request": {"headers": each}}) for each in ({"a": "1"}, {"b": "2"}, {})}
    others = {
        engine._memories["data.lockgate.admission.result"].key({"request": {"headers": each}})
        for each in ({tenant: "1"}, {tenant: "2"}, None)
    }
    assert (len(keys), len(others), len(keys | others)) == (1, 3, 4)


@pytest.mark.parametrize(
    ("one", "other"),
    [({}, {"a": None}), ({"a": None}, {"a": {}}), ({"a": {}}, {"a": []}), ({"a": "1"}, {"a": 1}), ({"a": 1}, {"a": True})],
)
def test_another_kind_is_another_question(one, other):
    memory = VerdictMemory([], [("a",)])
    assert memory.key(one) != memory.key(other)


@pytest.mark.parametrize(("one", "other"), [({"a": {"b": 1}}, {"a": {}}), ({"a": "x"}, {"a": "y"}), ({"a": 1}, {"a": 2.5})])
def test_another_value_of_the_same_kind_is_not(one, other):
    memory = VerdictMemory([], [("a",)])
    assert memory.key(one) == memory.key(other)


def test_the_memory_is_bounded():
    """The oldest go, and what is too long never comes in."""
    memory = VerdictMemory([("a",)])
    keys = [memory.key({"a": number}) for number in range(MOST + 1)]
    for key in keys:
        memory.put(key, VERDICT)
    assert memory.get(keys[0]) is None
    assert memory.get(keys[1]) is VERDICT
    assert memory.key({"a": "x" * MOST_BYTES}) is None
    assert memory.key({"a": object()}) is None


async def test_what_a_parameter_is_compared_with_is_part_of_the_question():
    """Nobody is given the verdict of whom a function was written for."""
    decide = """package lockgate.decision

default result := {"effect": "deny", "reasons": [{"code": "not_owner", "message": ""}]}

own(input.subject.id) := true

result := {"effect": "allow"} if own("anna")
"""
    engine = load({"a.rego": ADMIT, "d.rego": decide})
    effects = [(await engine.evaluate("decision", None, {"subject": {"id": name}})).effect for name in ("anna", "mallory", "anna")]
    assert effects == [Effect.ALLOW, Effect.DENY, Effect.ALLOW]


async def test_a_policy_that_reads_the_time_is_asked_each_time():
    """What differs is part of the question."""
    engine = load({"a.rego": ADMIT, "d.rego": DECIDE})
    assert (await engine.evaluate("decision", None, {"request": {"time": {"ns": 2}}})).effect is Effect.ALLOW
    assert (await verdict_of(engine, "decision", {"request": {"time": {"ns": 1}}})) == "policy_undefined"


async def test_failures_are_not_remembered():
    """They are found again each time, also after an answer for other values."""
    engine = load({"a.rego": ADMIT, "d.rego": DECIDE})
    for document, expected in [
        ({}, "policy_undefined"),
        ({"a": {"b": 1}}, Effect.ALLOW),
        ({}, "policy_undefined"),
        ({"a": 1}, Effect.DENY),
    ] * 2:
        found = await verdict_of(engine, "admission", document)
        assert (found.effect if isinstance(found, Verdict) else found) == expected


async def test_an_engine_that_remembers_answers_as_one_that_does_not():
    """Over documents that repeat, with one part taken from another now and then."""
    folder = ROOT / "examples" / "halden" / "policies" / "data.yaml"
    chance = random.Random(7)
    seen = list(documents(3))[:300]
    asked = [copy.deepcopy(chance.choice(seen)) for _ in range(1500)]
    for document in asked:
        part = chance.choice(["request", "subject", "risk", "route", "classification", "signals"])
        if part in (other := chance.choice(seen)):
            document[part] = copy.deepcopy(other[part])
    tenant = settings(folder)["lockgate"]["config"]["tenant"]["header"]
    headers: list[Any] = [
        None,
        "text",
        [],
        {},
        {tenant: "eu"},
        {tenant: "us"},
        {tenant: ["eu"]},
        {tenant: "eu", "x-other": "1"},
        {tenant.upper(): "eu"},
    ]
    for document in asked[::2]:
        document["request"] = {**document.get("request", {}), "headers": chance.choice(headers)}
    remembering = load(texts(ROOT / "policies"), settings(folder), deadline_s=60)
    forgetful = load(texts(ROOT / "policies"), settings(folder), deadline_s=60)
    forgetful._memories = {}
    for document in asked:
        for entry in ("admission", "decision"):
            expected = await verdict_of(forgetful, entry, document)
            assert await verdict_of(remembering, entry, document) == expected
            assert await verdict_of(remembering, entry, document) == expected


def test_the_shipped_policies_are_remembered():
    """None of their rules hands the whole input to something unknown."""
    engine = load(texts(ROOT / "policies"), settings(ROOT / "policies" / "data.yaml"))
    assert set(engine._memories) == {f"data.lockgate.{entry}.result" for entry in ("admission", "decision", "review")}
