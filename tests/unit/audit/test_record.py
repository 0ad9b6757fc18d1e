from __future__ import annotations

import hmac
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.audit.records.canonical import MAX_LEAF_BYTES, is_canonical
from router.audit.records.record import decision_entry, open_personal, outcome_entry, review_entry, system_entry
from router.decision import (
    BodyView,
    Candidate,
    Classification,
    Decision,
    EarlierTier,
    Outcome,
    Reason,
    Request,
    Result,
    Status,
    Step,
    Turn,
    Verdict,
)
from router.errors import AuditError
from tests.unit.audit.samples import DECISION, DENIED, KEY, KEY_ID, OUTCOME, POLICY_INPUT, REQUEST, SECRETS, VERDICT


def test_nothing_personal_enters_a_decision_leaf() -> None:
    """No word that came from the caller stands in the leaf; every one of them is in the sealed part."""
    entry = decision_entry(DENIED, POLICY_INPUT, KEY_ID, KEY)
    personal = "\n".join(open_personal(entry, KEY).values())
    for secret in (*SECRETS, "Anna Tenant"):
        assert secret.encode() not in entry.leaf
        assert secret in personal or secret == "cd" * 32


def test_a_decision_leaf_is_canonical_and_says_what_was_decided() -> None:
    """Intent, confidence, reason code, route and digests can be read without any key."""
    entry = decision_entry(DECISION, POLICY_INPUT, KEY_ID, KEY)
    leaf = orjson.loads(entry.leaf)
    assert is_canonical(entry.leaf)
    assert leaf["schema"] == "lockgate.decision.v1"
    assert leaf["time"] == "2025-11-24T16:00:00.223456789Z"
    assert leaf["classification"]["confidence"] == "0.931235"
    assert leaf["classification"]["candidates"][1] == {"intent": "payment.status", "raw": "1.500000", "calibrated": "0.050000"}
    assert leaf["verdict"]["reasons"] == ["role_ok"]
    assert leaf["route"] == {"name": "payments", "destination": "payments-service", "why": "intent", "rewritten": True}


def test_every_field_of_a_decision_reaches_its_record() -> None:
    """The schema is complete: a field that is added to a value must be added to the record too."""
    assert DENIED.outcome is not None
    talking = replace(DENIED.request, conversation="c", earlier=(Turn("t", None, ("a",)),))
    passed = replace(
        DENIED.classification, earlier_tiers=(EarlierTier("static", "a", "static_unsure", 0.5, 0.9, 0.1, 0.7, (Candidate("a", 1.5, 0.5),)),)
    )
    ended = replace(
        DENIED, parent="p", request=talking, classification=passed, outcome=replace(DENIED.outcome, steps=(Step("s", Result.DENIED, 403),))
    )
    entry = decision_entry(ended, POLICY_INPUT, KEY_ID, KEY)
    leaf, personal = orjson.loads(entry.leaf), open_personal(entry, KEY)
    renamed = {"decided_ns": "time"}
    assert {renamed.get(one.name, one.name) for one in fields(Decision)} <= leaf.keys()
    classified = leaf["classification"].keys()
    assert {one.name for one in fields(Classification)} <= classified
    numbers = {"confidence": "0.500000", "threshold": "0.900000", "margin": "0.100000", "scope": "0.700000"}
    candidates = [{"intent": "a", "raw": "1.500000", "calibrated": "0.500000"}]
    told = {"tier": "static", "intent": "a", "reason": "static_unsure", **numbers, "candidates": candidates}
    assert leaf["classification"]["earlier_tiers"] == [told]
    assert "earlier_tiers" not in orjson.loads(decision_entry(DENIED, POLICY_INPUT, KEY_ID, KEY).leaf)["classification"]
    sealed = {"host", "path", "query", "headers", "client", "idempotency_key", "conversation", "earlier"}
    assert sealed <= personal.keys()
    assert {one.name for one in fields(Request)} - sealed == {
        "id", "received_ns", "door", "subject", "method", "content_type", "body", "source", "trace",
    }  # fmt: skip
    assert {one.name for one in fields(Outcome)} - {"request_digest", "work"} <= leaf["outcome"].keys()


def test_commitments_open_with_the_subjects_key() -> None:
    """Each is SHA-256 over HMAC(key, id, 0, field) and the value, so that a holder of the key can prove what was sealed."""
    entry = decision_entry(DECISION, POLICY_INPUT, KEY_ID, KEY)
    commitments, personal = orjson.loads(entry.leaf)["commitments"], open_personal(entry, KEY)
    assert commitments.keys() == personal.keys()
    for name, value in personal.items():
        salt = hmac.digest(KEY, DECISION.id.encode() + b"\x00" + name.encode(), "sha256")
        assert commitments[name] == sha256(salt + value.encode()).hexdigest()


def test_equal_values_have_different_commitments_in_different_records() -> None:
    """Salts belong to one record, so commitments do not link a subject's requests."""
    one = orjson.loads(decision_entry(DECISION, b"", KEY_ID, KEY).leaf)["commitments"]
    other = orjson.loads(decision_entry(replace(DECISION, id="x"), b"", KEY_ID, KEY).leaf)["commitments"]
    assert not set(one.values()) & set(other.values())


def test_the_policy_input_is_sealed_byte_for_byte() -> None:
    """Replay needs exactly what the engine saw."""
    assert open_personal(decision_entry(DECISION, POLICY_INPUT, KEY_ID, KEY), KEY)["policy_input"].encode() == POLICY_INPUT


def test_a_policy_input_given_as_mappings_is_sealed_as_json() -> None:
    """Read-only views inside the document are objects like any other; what JSON lacks becomes text."""
    document = {"subject": MappingProxyType({"id": "anna"}), "big": 2**80, "odd": {1: Path("x")}}
    sealed = open_personal(decision_entry(DECISION, document, KEY_ID, KEY), KEY)["policy_input"]
    assert orjson.loads(sealed.replace(str(2**80), "1")) == {"subject": {"id": "anna"}, "big": 1, "odd": {"1": "x"}}


def test_another_key_or_a_changed_leaf_identity_does_not_open_the_sealed_part() -> None:
    """Ciphertext is bound to its record."""
    entry = decision_entry(DECISION, POLICY_INPUT, KEY_ID, KEY)
    with pytest.raises(AuditError, match="does not open"):
        open_personal(entry, bytes(32))
    moved = replace(entry, leaf=entry.leaf.replace(DECISION.id.encode(), b"019ab9d0-1111-7000-8000-000000000002"))
    with pytest.raises(AuditError, match="does not open"):
        open_personal(moved, KEY)


def test_free_text_where_a_code_belongs_is_sealed_and_not_shown() -> None:
    """A policy author may build reason codes out of a caller's words."""
    odd = replace(DECISION, verdict=replace(VERDICT, reasons=(Reason("Anna is on leave", ""),)))
    entry = decision_entry(odd, b"", KEY_ID, KEY)
    assert orjson.loads(entry.leaf)["verdict"]["reasons"] == ["unnamed"]
    assert "Anna is on leave" in open_personal(entry, KEY)["verdict_reasons"]


def test_a_slug_tenant_stands_in_the_leaf() -> None:
    """Tenants with plain names are the operator's words and can be searched for."""
    entry = decision_entry(replace(DECISION, request=replace(REQUEST, subject=replace(REQUEST.subject, tenant="halden"))), b"", KEY_ID, KEY)
    assert orjson.loads(entry.leaf)["subject"]["tenant"] == "halden"
    assert "tenant" not in open_personal(entry, KEY)


def test_a_huge_decision_is_shortened_in_the_leaf_and_whole_in_the_sealed_part() -> None:
    """No decision is refused for its size, and nothing of it is lost."""
    candidates = tuple(Candidate(f"intent.{index}", 0.1, 0.1) for index in range(3000))
    huge = replace(DECISION, classification=Classification(Status.AMBIGUOUS, candidates=candidates))
    entry = decision_entry(huge, POLICY_INPUT, KEY_ID, KEY)
    leaf = orjson.loads(entry.leaf)
    assert len(entry.leaf) <= MAX_LEAF_BYTES
    assert leaf["shortened"] is True
    assert leaf["id"] == DECISION.id
    assert len(leaf["classification"]["candidates"]) == 8
    whole = orjson.loads(open_personal(entry, KEY)["whole_leaf"])
    assert len(whole["classification"]["candidates"]) == 3000


def test_an_outcome_without_personal_parts_needs_no_key() -> None:
    """Most outcomes are plain."""
    entry = outcome_entry(DECISION.id, replace(OUTCOME, request_digest=None), 1_764_000_001_000_000_000)
    leaf = orjson.loads(entry.leaf)
    assert (entry.sealed, entry.key_id) == (b"", "")
    assert leaf["schema"] == "lockgate.outcome.v1"
    assert leaf["outcome"]["result"] == "routed"
    assert leaf["time"] == "2025-11-24T16:00:01.000000000Z"


def test_an_outcome_says_what_it_had_to_withhold() -> None:
    """Without a key a body's digest may not be written, and its absence is named."""
    leaf = outcome_entry(DECISION.id, OUTCOME, 1).leaf
    assert orjson.loads(leaf)["withheld"] == ["request_digest"]
    assert b"cdcdcd" not in leaf
    sealed = outcome_entry(DECISION.id, OUTCOME, 1, KEY_ID, KEY)
    assert open_personal(sealed, KEY) == {"request_digest": "cd" * 32}


def test_a_review_seals_reviewer_and_comment() -> None:
    """Who approved is personal; that and when it was approved is not."""
    entry = review_entry(DECISION.id, "approved", 1, {"quorum": 1}, {"reviewer": "bo@halden.example", "comment": ""}, KEY_ID, KEY)
    leaf = orjson.loads(entry.leaf)
    assert (leaf["event"], leaf["details"]) == ("approved", {"quorum": 1})
    assert list(leaf["commitments"]) == ["reviewer"]
    assert b"halden" not in entry.leaf


def test_system_details_hold_no_floats_and_no_large_integers() -> None:
    """Whatever a caller passes, the leaf obeys its rules."""
    entry = system_entry("refused", 1, {"rate": 0.5, "big": 2**70, "när": [1, (2.25,)], "ok": True})
    assert is_canonical(entry.leaf)
    assert orjson.loads(entry.leaf)["details"] == {"rate": "0.500000", "big": 2**53 - 1, "n\\xe4r": [1, ["2.250000"]], "ok": True}


@given(text=st.text(st.characters(codec=None), max_size=60), header=st.text(st.characters(codec=None), max_size=20))
def test_any_text_makes_a_record(text: str, header: str) -> None:
    """Lone surrogates, NUL and bidi controls neither fail nor reach the leaf unescaped."""
    request = replace(REQUEST, body=BodyView(text=text), headers=(("x", header),), path=header, method=text)
    entry = decision_entry(replace(DECISION, request=request), b"", KEY_ID, KEY)
    assert is_canonical(entry.leaf)
    assert open_personal(entry, KEY).get("text", "") == text.encode("utf-8", "backslashreplace").decode()


def test_a_verdict_that_says_all_in_its_codes_seals_no_reasons() -> None:
    """What the leaf says already is not sealed again."""
    plain = replace(DECISION, verdict=Verdict(VERDICT.effect, (Reason("role_ok"),)), outcome=Outcome(Result.SHED, 503, "overloaded"))
    assert "verdict_reasons" not in open_personal(decision_entry(plain, b"", KEY_ID, KEY), KEY)


@pytest.mark.parametrize("personal", [{}, {"subject": "anna"}])
def test_what_stays_too_large_when_it_is_shortened_is_refused(personal: dict[str, str]) -> None:
    """A leaf may never be longer than others can read, so what cannot be made so is not recorded, and what waits for it does not go on."""
    details = {f"name.{number}": number for number in range(10_000)}
    with pytest.raises(AuditError) as refused:
        system_entry("started", 1, details, "id", personal, KEY_ID, KEY)
    assert refused.value.code == "audit_record_too_large"
