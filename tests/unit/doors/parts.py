"""What the doors' tests build on: scopes as an ASGI server gives them, and decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from router.decision import (
    ANONYMOUS,
    Classification,
    Decision,
    Effect,
    Level,
    Obligation,
    Request,
    Risk,
    Route,
    Signals,
    Status,
    Subject,
    Verdict,
)

ALLOWED = Verdict(Effect.ALLOW)


def scope(path: str = "/pay", *headers: tuple[str, str], **changes: Any) -> dict[str, Any]:
    raw, _, query = path.partition("?")
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"host" for name, _ in fields):
        fields.insert(0, (b"host", b"Halden.Example"))
    return {
        "type": "http",
        "method": "POST",
        "http_version": "1.1",
        "scheme": "https",
        "raw_path": raw.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "client": ("203.0.113.9", 4711),
        "headers": fields,
        **changes,
    }


def decision(*obligations: Obligation, content_type: str = "application/json", subject: Subject = ANONYMOUS, **changes: Any) -> Decision:
    request = Request("r-1", 0, "gateway", subject, "POST", "halden.example", "/pay", content_type=content_type)
    made = Decision(
        id="d-1",
        request=request,
        signals=Signals(),
        classification=Classification(Status.CLASSIFIED, "cancel_payment", 0.98765),
        risk=Risk(Level.MEDIUM, 0.4),
        admission=ALLOWED,
        verdict=Verdict(Effect.ALLOW, obligations=obligations),
        route=Route("pay", "payments", "intent"),
        outcome=None,
        decided_ns=0,
        config_digest="c",
    )
    return replace(made, **changes)
