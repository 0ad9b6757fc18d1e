"""What may be asked of a new key, whether it is ordered over the API or on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from router.acting import ON_COMMAND_LINE, actors
from router.control.judging import Facts
from router.control.permissions import CONTROL, ROLES, SCOPES, Permission
from router.decision import Subject
from router.errors import RefusedError
from router.identity.break_glass import METHOD as BREAK_GLASS
from router.identity.key_service import KeyOrder

ADMIN = "admin"
TYPES = ("user", "service")
MAX_TEXT = 256
MAX_LISTED = 100
MAX_ROLES = 8192  # bytes of all of them: they stand in the record that says that the key was made
FOR_ONESELF = frozenset(
    {
        Permission.KEYS_WRITE,
        Permission.REVIEWS_DECIDE,
        Permission.POLICY_PROPOSE,
        Permission.POLICY_APPROVE,
        Permission.PROPOSALS_PROPOSE,
        Permission.PROPOSALS_APPROVE,
    }
)
"""What two people have to agree on: whoever could make keys for it in others' names would be both. And making keys, or who made one that
something is asked with would be known by another name."""


class Maker(Protocol):
    """Who asks for a key over the API."""

    @property
    def subject(self) -> Subject: ...

    @property
    def permissions(self) -> frozenset[Permission]: ...

    @property
    def facts(self) -> Facts: ...


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
    if len("".join(roles).encode()) > MAX_ROLES:
        raise _refused(f"All roles of a key together have at most {MAX_ROLES} bytes.")
    if kind not in TYPES:
        raise _refused(f"The type must be one of {', '.join(TYPES)}.")
    _meaningful(roles, scopes)
    return KeyOrder(name, Subject(subject, kind, tuple(roles), tuple(groups), tenant), frozenset(scopes), expires_ns)


def check_escalation(order: KeyOrder, given: frozenset[Permission], maker: Maker) -> None:
    """Who may make keys may still not make one that can do more than they can. `given`: what policy lets the key do. An administrator may
    do everything, and makes keys for anybody. Raises RefusedError `privilege_escalation`."""
    if maker.subject.authenticated_by == BREAK_GLASS:
        raise _more("Break-glass is nobody in particular, so it makes no keys, which would outlast it; it can revoke them.")
    if missing := given - maker.permissions:
        raise _more(f"Your own key lacks {', '.join(sorted(missing))}.")
    own, wanted = maker.subject, order.subject
    if own.id.startswith(ON_COMMAND_LINE):
        raise _more(f"Whose name begins with '{ON_COMMAND_LINE}' makes no keys here: they would seem to be made on the command line.")
    if CONTROL in maker.facts.scopes and ADMIN in own.roles:
        return
    if own.tenant is not None and wanted.tenant != own.tenant:
        raise _more("You belong to one tenant, so you make keys for that one only.")
    if actors(own):
        raise _more("Who acts for somebody makes no keys: nobody would know of it who asks with them.")
    if not given:
        return
    if more := (set(wanted.roles) - set(own.roles)) | (set(wanted.groups) - set(own.groups)):
        raise _more(f"You have not all roles and groups that the key would have in the control API: {', '.join(sorted(more))[:MAX_TEXT]}.")
    if given & FOR_ONESELF and wanted.id != own.id:
        raise _more(f"Only an administrator makes keys with {', '.join(sorted(given & FOR_ONESELF))} for somebody else.")


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


def _more(sentence: str) -> RefusedError:
    return RefusedError(sentence, "privilege_escalation", 403)


def _refused(sentence: str) -> RefusedError:
    return RefusedError(sentence, "request_invalid", 422)
