"""Records: the entries that the ledger keeps. Schema version 1; a change of meaning is a new version beside it, never an edit.

A leaf that would exceed 65,535 bytes is shortened (see `canonical.shorten`), says `"shortened": true`, and has its whole form sealed and
committed to under `whole_leaf` where there is a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from router.audit.records.canonical import MAX_LEAF_BYTES, canonical, decimal, integer, shorten, timestamp
from router.audit.records.leaf import decision_fields, outcome_fields
from router.audit.records.personal import decision_personal, outcome_personal
from router.audit.records.sealing import as_text, commit, encodable, seal, sealed_digest, unseal
from router.decision import Decision, Outcome
from router.errors import AuditError
from router.ports import Entry

DECISION = "lockgate.decision.v1"
OUTCOME = "lockgate.outcome.v1"
REVIEW = "lockgate.review.v1"
SYSTEM = "lockgate.system.v1"
EVIDENCE = "lockgate.evidence.v1"
SCHEMAS = (DECISION, OUTCOME, REVIEW, SYSTEM, EVIDENCE)  # no set: in a damaged leaf anything may stand for one, a list too

Scalar = str | int | float | bool | None


def decision_entry(decision: Decision, policy_input: Mapping[str, Any] | bytes, key_id: str, key: bytes) -> Entry:
    """`policy_input` is the document (or its JSON bytes) that policy decided on; `key` is the subject's, 32 bytes."""
    return _entry(DECISION, decision_fields(decision), decision_personal(decision, policy_input), key_id, key)


def outcome_entry(decision_id: str, outcome: Outcome, at_ns: int, key_id: str = "", key: bytes = b"") -> Entry:
    """The key is needed when the outcome brings something personal (`request_digest`, a reason that is no slug). Without one these
    are left out and named under `withheld`: after a dispatch an incomplete outcome is worth more than none."""
    fields = {"id": decision_id, "time": timestamp(at_ns), "outcome": outcome_fields(outcome)}
    return _entry(OUTCOME, fields, outcome_personal(outcome), key_id, key)


def review_entry(
    decision_id: str,
    event: str,
    at_ns: int,
    details: Mapping[str, Scalar] | None = None,
    personal: Mapping[str, str] | None = None,
    key_id: str = "",
    key: bytes = b"",
) -> Entry:
    """`event` is a slug: held, approved, rejected, expired, dispatched. `details` holds nothing personal (roles, counts, route);
    `personal` holds the rest (reviewer, comment, content_digest), under the key of the person it is about."""
    fields = {"id": decision_id, "time": timestamp(at_ns), "event": event, "details": plain_details(details or {})}
    return _entry(REVIEW, fields, {name: value for name, value in (personal or {}).items() if value}, key_id, key)


def evidence_entry(
    record_id: str, at_ns: int, details: Mapping[str, Scalar], personal: Mapping[str, str], key_id: str = "", key: bytes = b""
) -> Entry:
    """What a service says that it did. `record_id` is the decision's id, or a fresh one where there is no decision; `details` are of our
    own making: phase, reference, destination, sender. Without a key `personal` is left out and named under `withheld`."""
    fields = {"id": record_id, "time": timestamp(at_ns), "evidence": plain_details(details)}
    return _entry(EVIDENCE, fields, {name: value for name, value in personal.items() if value}, key_id, key)


def system_entry(
    event: str,
    at_ns: int,
    details: Mapping[str, Any] | None = None,
    record_id: str = "",
    personal: Mapping[str, str] | None = None,
    key_id: str = "",
    key: bytes = b"",
) -> Entry:
    """`event`: started, stopped, config_changed, refused (counted aggregates), recovered, witnessed and unwitnessed (what witnesses said
    at a start) and others. `details` holds nothing personal; real numbers become decimal strings. With `personal`, sealed under the key of
    the person it is about (who ordered it), the record has an id of its own: commitments are salted by it."""
    fields: dict[str, Any] = {"time": timestamp(at_ns), "event": event, "details": plain_details(details or {})}
    if record_id:
        fields["id"] = record_id
    return _entry(SYSTEM, fields, {name: value for name, value in (personal or {}).items() if value}, key_id, key)


def open_personal(entry: Entry, key: bytes) -> dict[str, str]:
    """The personal fields of a record, each a string; structures are JSON text. Raises AuditError `sealed_unreadable`."""
    if not entry.sealed:
        return {}
    leaf = orjson.loads(entry.leaf)
    return unseal(key, leaf["schema"], leaf.get("id", ""), entry.sealed)


def withheld(leaf: bytes) -> bytes:
    """The leaf of the same record without its personal part, whose fields it names. For a key that was destroyed before it was written."""
    try:
        fields = orjson.loads(leaf)
        names = {*fields.pop("commitments"), *fields.pop("withheld", ())}
        fields.pop("sealed")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):  # none that was made here, and without a part it says no more
        return leaf
    return _fitting({**fields, "withheld": sorted(names)})


def plain_details(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, float):
        return decimal(value)
    if isinstance(value, Mapping):
        return {str(name).encode("ascii", "backslashreplace").decode(): plain_details(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_details(item) for item in value]
    return str(value)


def _entry(schema: str, fields: dict[str, Any], personal: dict[str, str], key_id: str, key: bytes) -> Entry:
    fields["schema"] = schema
    try:
        return _built(fields, personal, key_id, key)
    except (TypeError, UnicodeEncodeError):  # a lone surrogate somewhere; rare, so only then is everything looked at
        return _built(_encodable_leaf(fields), encodable(personal), key_id, key)


def _built(fields: dict[str, Any], personal: dict[str, str], key_id: str, key: bytes) -> Entry:
    if personal and not key:
        fields["withheld"] = sorted(personal)
        personal = {}
    if not personal:
        return Entry(leaf=_fitting(fields))
    leaf, sealed = _sealed_leaf(fields, personal, key_id, key)
    if len(leaf) > MAX_LEAF_BYTES:
        whole = {**personal, "whole_leaf": as_text(fields)}
        leaf, sealed = _sealed_leaf({**shorten(fields), "shortened": True}, whole, key_id, key)
    if len(leaf) > MAX_LEAF_BYTES:
        raise AuditError("A record stays too large even when it is shortened.", "audit_record_too_large")
    return Entry(leaf, sealed, key_id)


def _sealed_leaf(fields: dict[str, Any], personal: Mapping[str, str], key_id: str, key: bytes) -> tuple[bytes, bytes]:
    sealed = seal(key, fields["schema"], fields["id"], personal)
    marks = {"commitments": commit(key, fields["id"], personal), "sealed": sealed_digest(key_id, sealed)}
    return canonical({**fields, **marks}), sealed


def _fitting(fields: dict[str, Any]) -> bytes:
    leaf = canonical(fields)
    if len(leaf) > MAX_LEAF_BYTES:
        leaf = canonical({**shorten(fields), "shortened": True})
    if len(leaf) > MAX_LEAF_BYTES:
        raise AuditError("A record stays too large even when it is shortened.", "audit_record_too_large")
    return leaf


def _encodable_leaf(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_encodable_leaf(name): _encodable_leaf(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable_leaf(item) for item in value]
    return value
