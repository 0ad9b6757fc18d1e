"""A key as people and programs may see it: everything but its digest."""

from __future__ import annotations

from typing import Any

from router.control.times import moment
from router.ports import ApiKey


def shown(key: ApiKey) -> dict[str, Any]:
    subject = key.subject
    return {
        "id": key.id,
        "name": key.name,
        "subject": subject.id,
        "type": subject.type,
        "roles": list(subject.roles),
        "groups": list(subject.groups),
        "tenant": subject.tenant,
        "scopes": sorted(key.scopes),
        "created": moment(key.created_ns),
        "created_by": key.created_by,
        "expires": moment(key.expires_ns),
        "revoked": moment(key.revoked_ns),
    }
