"""Sessions as rows of a table, whichever database has it."""

from __future__ import annotations

import json
from typing import Any

from router.decision import Subject
from router.ports import Session

COLUMNS = "digest, subject_id, subject, created_ns, used_ns, expires_ns, checked_ns, authenticated_ns, issuer, issuer_session, methods"
PLACES = 11
KEPT_NS = 86_400 * 1_000_000_000  # how long one that is ending waits to be recorded, from its last use
# `{0}` stands for a parameter: now, what is forgotten from, and what another takes the place of.
FORGOTTEN = "(expires_ns > 0 AND expires_ns <= {0}) OR (expires_ns = 0 AND used_ns <= {0}) OR digest = {0}"


def forgotten(now_ns: int, instead: bytes | None) -> tuple[Any, ...]:
    """Parameters of `FORGOTTEN`."""
    return now_ns, now_ns - KEPT_NS, instead or b""


def row_of(session: Session) -> tuple[Any, ...]:
    subject = session.subject
    owner: dict[str, Any] = {"type": subject.type, "roles": subject.roles, "groups": subject.groups, "tenant": subject.tenant}
    owner |= {"network": session.network, "browser": session.browser}
    owner |= {"claims": dict(subject.claims)} if subject.claims else {}
    times = (session.created_ns, session.used_ns, session.expires_ns, session.checked_ns, session.authenticated_ns)
    return (
        session.digest,
        subject.id,
        json.dumps(owner),
        *times,
        session.issuer,
        session.issuer_session,
        json.dumps(session.methods),
    )


def session_from(row: tuple[Any, ...]) -> Session:
    """Raises ValueError, KeyError."""
    digest, subject_id, owner, created, used, expires, checked, authenticated, issuer, issuer_session, methods = row
    told = json.loads(owner)
    owned = (told["type"], tuple(told["roles"]), tuple(told["groups"]), told["tenant"], told.get("claims", {}))
    subject = Subject(subject_id, *owned, authenticated_by="session")
    times = (created, used, expires, checked, authenticated)
    seen = (told.get("network", ""), told.get("browser", ""))  # sessions of an earlier version have neither
    return Session(bytes(digest), subject, *times, issuer, issuer_session, tuple(json.loads(methods)), *seen)
