"""One decision with something in every field, and its parts, for the audit's tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from router.audit.records.canonical import MAX_LEAF_BYTES, canonical
from router.decision import (
    BodyView,
    Candidate,
    Classification,
    Contribution,
    Decision,
    Effect,
    EventSource,
    Finding,
    Level,
    Obligation,
    Outcome,
    Reason,
    Request,
    Result,
    Risk,
    Route,
    RuleMatch,
    Signals,
    Status,
    Subject,
    TraceContext,
    Verdict,
)

KEY_ID = "5d" * 16
KEY = bytes(range(32))
POLICY_INPUT = b'{"version":1,"subject":{"id":"anna.berg@halden.example"}}'
SECRETS = (
    "anna.berg",
    "anna_claim",
    "clerk-of-anna",
    "team-anna",
    "api.anna.example",
    "/accounts/anna",
    "who=anna",
    "anna-browser",
    "10.7.7.7",
    "cancel 4711 for anna",
    "cancel 4711 for <name>",
    "ab" * 32,
    "cd" * 32,
    "idem-anna",
    "anna may cancel",
    "anna-event",
    "anna-state",
    "anna-param",
    "anna-rewrite",
    "anna-log",
    "anna tenant",
)

SUBJECT = Subject(
    "anna.berg@halden.example", "person", ("clerk-of-anna",), ("team-anna",), "Anna Tenant anna tenant", {"name": "anna_claim"}, "jwt"
)
REQUEST = Request(
    id="019ab9d0-1111-7000-8000-00000000000a",
    received_ns=1_764_000_000_123_456_789,
    door="gateway",
    subject=SUBJECT,
    method="POST",
    host="api.anna.example",
    path="/accounts/anna",
    query="who=anna",
    headers=(("user-agent", "anna-browser"),),
    content_type="application/json; x=anna-browser",
    body=BodyView(b"{}", "ab" * 32, False, "cancel 4711 for anna"),
    client="10.7.7.7",
    source=EventSource("/anna-event", "anna-event-1"),
    trace=TraceContext("a1" * 16, "b2" * 8, True, "v=anna-state", "c3" * 8),
    idempotency_key="idem-anna",
)
VERDICT = Verdict(
    Effect.ALLOW, (Reason("role_ok", "anna may cancel"),), (Obligation("log", {"fields": ["anna-log"]}),), None, "r1", "f0" * 32, "embedded"
)
OUTCOME = Outcome(Result.ROUTED, 200, "", "http://127.0.0.1:9001", 1, 2_000_000, 3_000_000, "cd" * 32, 200, True)
DECISION = Decision(
    id="019ab9d0-1111-7000-8000-000000000001",
    request=REQUEST,
    signals=Signals((Finding("pii.name", 0.75, ((16, 20),)),), "cancel 4711 for <name>", 20, 2, ("novelty",)),
    classification=Classification(
        Status.CLASSIFIED,
        "payment.cancel",
        0.9312345678,
        0.8,
        0.99,
        0.7,
        (Candidate("payment.cancel", 4.25, 0.93), Candidate("payment.status", 1.5, 0.05)),
        ("payment.cancel",),
        "rule",
        "",
        RuleMatch("cancel-by-path", "payment.cancel", "payments", {"id": "anna-param"}),
        "c0" * 32,
        "d0" * 32,
        "e0" * 32,
        True,
        (("encode", 700_000),),
    ),
    risk=Risk(Level.MEDIUM, 0.4, (Contribution("intent", 0.3), Contribution("pii.name", 0.1))),
    admission=Verdict(Effect.ALLOW, revision="r1", digest="f0" * 32, engine="embedded"),
    verdict=VERDICT,
    route=Route("payments", "payments-service", "intent", "/x/anna-rewrite"),
    outcome=None,
    decided_ns=1_764_000_000_223_456_789,
    config_digest="10" * 32,
    catalog_digest="20" * 32,
    stages_ns=(("signals", 40_000), ("policy", 90_000)),
)
DENIED = replace(DECISION, outcome=Outcome(Result.DENIED, 403, "role_missing", total_ns=5_000))


def numbered(index: int, **changes: Any) -> Decision:
    return replace(DECISION, id=f"019ab9d0-1111-7000-8000-{index:012x}", decided_ns=DECISION.decided_ns + index * 1_000_000_000, **changes)


def ambiguous(leaf: bytes) -> dict[str, bytes]:
    """What becomes of a decision's leaf in the hands of somebody who wants it in the ledger and in no answer, by how."""
    told = orjson.loads(leaf)
    made = {
        "infinite": leaf[:-1] + b',"z":1e999}',
        "schema twice": leaf[:-1] + b',"schema":"lockgate.system.v1"}',
        "order": b'{"zz":1,' + leaf[1:],
        "space": leaf.replace(b":", b": ", 1),
        "fraction": leaf.replace(b'"seen_bytes":2', b'"seen_bytes":2.0', 1),
        "too long": canonical({**told, "z": "x" * MAX_LEAF_BYTES}),
        "too deep": leaf[:-1] + b',"z":' + b"[" * 300 + b"]" * 300 + b"}",
        "no object": b"[" + leaf + b"]",
        "later version": leaf.replace(b"decision.v1", b"decision.v2"),
        "schema list": canonical({**told, "schema": ["lockgate.decision.v1"]}),
        "no risk": canonical({name: value for name, value in told.items() if name != "risk"}),
        "no time": canonical({**told, "time": "9"}),
        "time number": canonical({**told, "time": 9}),
        "intent list": canonical({**told, "classification": {**told["classification"], "intent": ["payment.cancel"]}}),
    }
    if leaf in made.values():
        raise ValueError("one of them is what it was")
    return made
