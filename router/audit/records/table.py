"""A record as one flat row: the documented columns of CSV, Parquet and DuckDB, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]

# (name, type): integer, real, text, or time, which is RFC 3339 text here and a point in time where a format has that.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("record", "integer"),
    ("time", "time"),
    ("kind", "text"),
    ("decision_id", "text"),
    ("trace_id", "text"),
    ("subject_key", "text"),
    ("door", "text"),
    ("tenant", "text"),
    ("status", "text"),
    ("intent", "text"),
    ("confidence", "real"),
    ("margin", "real"),
    ("threshold", "real"),
    ("tier", "text"),
    ("risk", "text"),
    ("risk_score", "real"),
    ("effect", "text"),
    ("reasons", "text"),
    ("route", "text"),
    ("destination", "text"),
    ("result", "text"),
    ("http_status", "integer"),
    ("duration_ns", "integer"),
    ("reference", "text"),
    ("sender", "text"),
    ("policy_revision", "text"),
    ("policy_digest", "text"),
    ("model_digest", "text"),
    ("catalog_digest", "text"),
    ("config_digest", "text"),
    ("leaf_hash", "text"),
)
PERSONAL: tuple[tuple[str, str], ...] = (("subject", "text"), ("text", "text"), ("path", "text"), ("personal", "text"))
LEAF: tuple[tuple[str, str], ...] = (("leaf", "text"),)


def flat(index: int, leaf: Mapping[str, Any], key_id: str, leaf_hash: bytes) -> Row:
    """What the leaf alone says. A damaged leaf, which is for `verify` to report, becomes a row of kind `unreadable`."""
    row: Row = {"record": index, "kind": "unreadable", "subject_key": key_id or None, "leaf_hash": leaf_hash.hex()}
    try:
        kind = leaf["schema"].split(".")[1]
        return {**row, "kind": kind, "time": leaf["time"], "decision_id": leaf.get("id"), **_columns(kind, leaf)}
    except (LookupError, TypeError, AttributeError, ValueError):
        return row


def _columns(kind: str, leaf: Mapping[str, Any]) -> Row:
    if kind == "decision":
        return _decision(leaf)
    if kind == "outcome":
        return _outcome(leaf["outcome"])
    if kind == "evidence":
        told = leaf["evidence"]
        names = ("destination", "reference", "sender")
        return {"result": told["phase"], **{name: told[name] for name in names}}
    return {"result": leaf["event"]}


def _decision(leaf: Mapping[str, Any]) -> Row:
    classified, verdict, route = leaf["classification"], leaf["verdict"], leaf["route"] or {}
    ended = {} if leaf["outcome"] is None else _outcome(leaf["outcome"])
    codes = [*leaf["admission"]["reasons"], *verdict["reasons"], classified["reason"], ended.get("reasons") or ""]
    return {
        **ended,
        "trace_id": (leaf["request"]["trace"] or {}).get("trace_id"),
        "door": leaf["request"]["door"],
        "tenant": leaf["subject"]["tenant"],
        **{name: classified[name] for name in ("status", "intent", "tier", "model_digest")},
        **{name: _real(classified[name]) for name in ("confidence", "margin", "threshold")},
        "risk": leaf["risk"]["level"],
        "risk_score": _real(leaf["risk"]["score"]),
        "effect": verdict["effect"],
        "reasons": " ".join(dict.fromkeys(code for code in codes if code)) or None,
        "route": route.get("name"),
        "destination": route.get("destination"),
        "policy_revision": verdict["revision"],
        "policy_digest": verdict["digest"],
        "catalog_digest": leaf["catalog_digest"],
        "config_digest": leaf["config_digest"],
    }


def _outcome(outcome: Mapping[str, Any]) -> Row:
    return {
        "result": outcome["result"],
        "http_status": outcome["status"],
        "duration_ns": outcome["total_ns"],
        "reasons": outcome["reason"] or None,
    }


def _real(text: str | None) -> float | None:
    return None if text is None else float(text)
