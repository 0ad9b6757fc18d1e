"""What may be asked of a new key, whether it is ordered over the API or on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from router.control.permissions import CONTROL, ROLES, SCOPES, Permission
from router.decision import Subject
from router.errors import RefusedError
from router.identity.key_service import KeyOrder

TYPES = ("user", "service")
MAX_TEXT = 256
MAX_LISTED = 100


def key_order(
    name: str,
    subject: str,
    kind: str = "user",
    roles: Sequence[str] = (),
    groups: Sequence[str] = (),
    tenant: str | None = None,
    scopes: Sequence[str] = (),
    expires_ns: int | None = None,
) -> KeyOrder:
    """Raises RefusedError `request_invalid` with one sentence."""
    for field, text in (("name", name), ("subject", subject), *(("tenant", one) for one in (tenant,) if one is not None)):
        _plain(field, text)
    for field, listed in (("role", roles), ("group", groups), ("scope", scopes)):
        _listed(field, listed)
    if kind not in TYPES:
        raise _refused(f"The type must be one of {', '.join(TYPES)}.")
    _meaningful(roles, scopes)
    return KeyOrder(name, Subject(subject, kind, tuple(roles), tuple(groups), tenant), frozenset(scopes), expires_ns)


def check_escalation(given: frozenset[Permission], holder: frozenset[Permission]) -> None:
    """Raises RefusedError: who may make keys may still not make one that can do more than they can. `given`: what policy lets it do."""
    missing = given - holder
    if missing:
        raise RefusedError(f"Your own key lacks {', '.join(sorted(missing))}.", "privilege_escalation", 403)


def _meaningful(roles: Sequence[str], scopes: Sequence[str]) -> None:
    unknown = sorted(set(scopes) - SCOPES)
    if not scopes or unknown:
        raise _refused(f"A key needs one or more scopes of {', '.join(sorted(SCOPES))}{'; not ' + ', '.join(unknown) if unknown else ''}.")
    if CONTROL in scopes and not set(roles) & ROLES.keys():
        raise _refused(f"A key with the scope 'control' needs one of the roles {', '.join(ROLES)}.")


def _listed(field: str, listed: Sequence[str]) -> None:
    if len(listed) > MAX_LISTED:
        raise _refused(f"A key can have at most {MAX_LISTED} of {field}.")
    for text in listed:
        _plain(field, text)


def _plain(field: str, text: str) -> None:
    if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
        raise _refused(f"The {field} must be printable text of 1 to {MAX_TEXT} characters.")


def _refused(sentence: str) -> RefusedError:
    return RefusedError(sentence, "request_invalid", 422)
