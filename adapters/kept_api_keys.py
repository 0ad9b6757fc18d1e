"""API keys as rows of a table, whichever database has it."""

from __future__ import annotations

import json

from router.acting import key_claims
from router.decision import Subject
from router.ports import ApiKey

COLUMNS = "id, digest, name, subject, scopes, created_ns, created_by, expires_ns, revoked_ns"
Row = tuple[str, bytes, str, str, str, int, str, int | None, int | None]


def row_of(key: ApiKey) -> Row:
    subject = key.subject
    owner = {"id": subject.id, "type": subject.type, "roles": subject.roles, "groups": subject.groups, "tenant": subject.tenant}
    scopes = json.dumps(sorted(key.scopes))
    return (key.id, key.digest, key.name, json.dumps(owner), scopes, key.created_ns, key.created_by, key.expires_ns, key.revoked_ns)


def key_from(row: Row) -> ApiKey:
    """Raises ValueError, KeyError."""
    key_id, digest, name, owner, scopes, created_ns, created_by, expires_ns, revoked_ns = row
    told = json.loads(owner)
    subject = Subject(
        told["id"],
        told["type"],
        tuple(told["roles"]),
        tuple(told["groups"]),
        told["tenant"],
        key_claims(key_id, created_by),
        authenticated_by="api_key",
    )
    return ApiKey(key_id, digest, name, subject, frozenset(json.loads(scopes)), created_ns, created_by, expires_ns, revoked_ns)
