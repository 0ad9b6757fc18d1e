"""Records as events of the Open Cybersecurity Schema Framework: API Activity (6003) of version 1.8.0, profile `security_control`.

The whole leaf goes into `unmapped`, so that nothing is lost that OCSF has no name for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from router.audit.copies.formats import row_of, told
from router.audit.questions.query import Found
from router.audit.records.table import Row
from router.audit.records.times import nanoseconds

VERSION = "1.8.0"
CLASS, CATEGORY = 6003, 6
OTHER = 99
ACTIVITIES: Mapping[str, int] = {"POST": 1, "GET": 2, "HEAD": 2, "QUERY": 2, "PUT": 3, "PATCH": 3, "DELETE": 4}
ACTIONS: Mapping[str, int] = {"allow": 1, "reroute": 1, "deny": 2, "review": OTHER}
DISPOSITIONS: Mapping[str, int] = {"routed": 1, "denied": 2, "held": 14, "abstained": 16, "shed": 25, "failed": 27}
SEVERITIES: Mapping[str, int] = {"medium": 3, "high": 4, "critical": 5}
RISKS: Mapping[str, int] = {"low": 1, "medium": 2, "high": 3, "critical": 4}
INFORMATIONAL, LOGGED, OBSERVED = 1, 17, 3
SHA256 = 3


def ocsf_event(origin: str) -> Callable[[Found], Mapping[str, Any]]:
    product = {"name": "Lockgate", "vendor_name": "Lockgate", "version": version("lockgate")}

    def make(found: Found) -> Mapping[str, Any]:
        row = row_of(found, personal=False)
        metadata = {
            "version": VERSION,
            "product": product,
            "profiles": ["security_control", "trace"],
            "uid": f"{origin}#{found.index}",
            "sequence": found.index,
            "log_name": origin,
            "event_code": str(found.leaf.get("schema", "unreadable")),
        }
        if row.get("decision_id"):
            metadata["correlation_uid"] = row["decision_id"]
        return {"metadata": metadata, **_fixed(row, found), **_judged(row, found), **_optional(row, found)}

    return make


def _fixed(row: Row, found: Found) -> dict[str, Any]:
    """What the class demands."""
    activity = ACTIVITIES.get(found.leaf.get("request", {}).get("method", ""), OTHER)
    return {
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "activity_id": activity,
        "type_uid": CLASS * 100 + activity,
        "severity_id": SEVERITIES.get(row.get("risk") or "", INFORMATIONAL),
        "time": nanoseconds(row["time"]) // 1_000_000 if row.get("time") else 0,
        "actor": _actor(row, found),
        "api": _api(row, found),
        "src_endpoint": _source(row, found),
        "unmapped": told(found),
        "raw_data_hash": {"algorithm_id": SHA256, "value": row["leaf_hash"]},
        **({"activity_name": row["kind"]} if activity == OTHER else {}),
    }


def _actor(row: Row, found: Found) -> dict[str, Any]:
    """A person stands there under the id of their key; under their own where personal fields were opened."""
    if not row["subject_key"]:
        return {"app_name": "lockgate"}
    return {"user": {"uid": (found.personal or {}).get("subject") or row["subject_key"], "credential_uid": row["subject_key"]}}


def _api(row: Row, found: Found) -> dict[str, Any]:
    api: dict[str, Any] = {"operation": row.get("intent") or row["kind"]}
    if row.get("destination"):
        api["service"] = {"name": row["destination"]}
    if found.leaf.get("request", {}).get("id"):
        api["request"] = {"uid": found.leaf["request"]["id"]}
    if row.get("http_status") is not None:
        api["response"] = {"code": row["http_status"]}
    return api


def _source(row: Row, found: Found) -> dict[str, Any]:
    client = (found.personal or {}).get("client")
    return {"svc_name": row.get("door") or "lockgate", **({"ip": client} if client else {})}


def _judged(row: Row, found: Found) -> dict[str, Any]:
    """What was allowed, and what became of it. Only a decision acts; other records observe."""
    effect, result = row.get("effect") or "", row.get("result") or ""
    decides = row["kind"] == "decision"
    action = ACTIONS.get(effect, 0) if decides else OBSERVED
    judged: dict[str, Any] = {
        "action_id": action,
        "disposition_id": DISPOSITIONS.get(result, LOGGED) if row["kind"] in ("decision", "outcome") else LOGGED,
        "status_id": {"routed": 1, "completed": 1, "failed": 2}.get(result, OTHER),
        **({"action": effect} if action == OTHER else {}),
    }
    if judged["status_id"] == OTHER:
        judged["status"] = result or "unknown"
    if row.get("reasons"):
        judged["status_code"] = row["reasons"].split(" ")[0]
    if row.get("policy_digest"):
        judged["policy"] = {"uid": row["policy_digest"], "version": row["policy_revision"] or "", "name": found.leaf["verdict"]["engine"]}
    return judged


def _optional(row: Row, found: Found) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if row.get("risk"):
        known["risk_level_id"] = RISKS.get(row["risk"], OTHER)
    if row.get("risk_score") is not None:
        known["risk_score"] = round(100 * row["risk_score"])
    if row.get("confidence") is not None:
        known["confidence_score"] = round(100 * row["confidence"])
    if row.get("duration_ns") is not None:
        known["duration"] = row["duration_ns"] // 1_000_000
    if row.get("trace_id"):
        known["trace"] = {"uid": row["trace_id"]}
    return known
