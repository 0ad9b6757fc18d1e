"""What a service asks: the request as it received it, and on whose behalf."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate.client.errors import RequestRefused


class _Nothing:
    """No body; JSON's null is one."""

    def __repr__(self) -> str:
        return "NO_BODY"


NO_BODY = _Nothing()


@dataclass(frozen=True, slots=True)
class Subject:
    """On whose behalf is asked: somebody whom this service authenticated. The key needs the scope `delegate`."""

    id: str
    type: str = "user"
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tenant: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """`text` or `body` (JSON), or neither. Without a subject the question is about this service itself. `hold`: where policy wants a
    review, reviewers get to see it."""

    text: str | None = field(default=None, repr=False)
    body: Any = field(default=NO_BODY, repr=False)
    subject: Subject | None = None
    method: str = "POST"
    path: str = "/"
    query: str = field(default="", repr=False)
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    client: str = ""
    idempotency_key: str | None = field(default=None, repr=False)
    traceparent: str | None = None
    hold: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it may be asked again where nobody knows if it arrived: it says by its key that it is the same, and holds nothing, for
        reviewers would see it twice."""
        return self.idempotency_key is not None and not self.hold

    def json(self) -> bytes:
        """Raises RequestRefused for what JSON cannot say: nothing is left out of what policy judges."""
        if self.text is not None and self.body is not NO_BODY:
            raise RequestRefused("A question has a text or a body, not both.")
        asked: dict[str, Any] = {"method": self.method, "path": self.path}
        optional = {
            "text": self.text,
            "query": self.query or None,
            "host": self.host or None,
            "headers": dict(self.headers) or None,
            "client": self.client or None,
            "idempotency_key": self.idempotency_key,
            "traceparent": self.traceparent,
            "subject": _subject(self.subject) if self.subject is not None else None,
            "hold": True if self.hold else None,
        }
        asked |= {name: value for name, value in optional.items() if value is not None}
        if self.body is not NO_BODY:
            asked["body"] = self.body
        try:
            return json.dumps(asked, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestRefused(f"The question cannot be written as JSON: {error}.") from error


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "id": subject.id,
        "type": subject.type,
        "roles": list(subject.roles),
        "groups": list(subject.groups),
        "tenant": subject.tenant,
        "claims": dict(subject.claims),
    }
