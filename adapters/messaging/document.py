"""What templates see of a request. Each part is made when it is first asked for: most destinations want one, and the body is long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from router.ports import Outbound

JSON = "application/json"
DECISION_ID, INTENT, CONFIDENCE, RISK, ROUTE, SUBJECT, SUBJECT_TYPE, ROLES, TENANT = (
    "x-lockgate-decision-id",
    "x-lockgate-intent",
    "x-lockgate-confidence",
    "x-lockgate-risk",
    "x-lockgate-route",
    "x-lockgate-subject",
    "x-lockgate-subject-type",
    "x-lockgate-roles",
    "x-lockgate-tenant",
)
CARRIED = ("traceparent", "tracestate")
_NOT_REQUEST = frozenset({"content-type", "idempotency-key", *CARRIED})


class Document(Mapping[str, Any]):
    """By the names of `router.templates.ROOTS`. `headers` by small name, `body` the one that goes out before any input mapping."""

    __slots__ = ("_body", "_content_type", "_headers", "_made", "_outbound")

    def __init__(self, outbound: Outbound, headers: Mapping[str, str], body: bytes, content_type: str) -> None:
        self._outbound = outbound
        self._headers = headers
        self._body = body
        self._content_type = content_type
        self._made: dict[str, Any] = {}

    def __getitem__(self, root: str) -> Any:
        if root not in self._made:
            self._made[root] = _PARTS[root](self)
        return self._made[root]

    def __iter__(self) -> Iterator[str]:
        return iter(_PARTS)

    def __len__(self) -> int:
        return len(_PARTS)

    def readable(self) -> Any:
        """JSON as a value, other text as text; None for what is neither."""
        kind = self._content_type.partition(";")[0].strip().lower()
        try:
            if kind == JSON or kind.endswith("+json"):
                return orjson.loads(self._body) if self._body else None
            return self._body.decode() or None
        except (orjson.JSONDecodeError, UnicodeDecodeError):
            return None

    def decision(self) -> dict[str, Any]:
        headers = self._headers
        return {
            "id": headers.get(DECISION_ID, ""),
            "intent": headers.get(INTENT),
            "confidence": float(headers[CONFIDENCE]) if CONFIDENCE in headers else None,
            "risk": headers.get(RISK),
            "route": headers.get(ROUTE),
        }

    def subject(self) -> dict[str, Any]:
        told = {name: unquote(self._headers[name]) for name in (SUBJECT, SUBJECT_TYPE, TENANT) if name in self._headers}
        return {
            "id": told.get(SUBJECT),
            "type": told.get(SUBJECT_TYPE),
            "tenant": told.get(TENANT),
            "roles": [unquote(role) for role in self._headers[ROLES].split(",")] if ROLES in self._headers else [],
        }

    def request(self) -> dict[str, Any]:
        path, _, query = self._outbound.target.partition("?")
        own = {name: value for name, value in self._headers.items() if name not in _NOT_REQUEST and not name.startswith("x-lockgate-")}
        return {
            "method": self._outbound.method,
            "path": path,
            "query": query,
            "content_type": self._content_type,
            "idempotency_key": self._outbound.idempotency_key,
            "headers": own,
        }

    def event(self) -> dict[str, str]:
        return {name[3:]: unquote(value) for name, value in self._headers.items() if name.startswith("ce-")}

    def trace(self) -> dict[str, str]:
        return {name: self._headers[name] for name in CARRIED if name in self._headers}


_PARTS: Mapping[str, Callable[[Document], Any]] = {
    "body": Document.readable,
    "decision": Document.decision,
    "event": Document.event,
    "request": Document.request,
    "subject": Document.subject,
    "trace": Document.trace,
}
