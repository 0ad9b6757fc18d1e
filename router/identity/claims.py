"""From a verified token's claims to a Subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.acting import MOST_ACTORS
from router.decision import Subject
from router.errors import IdentityError

MAX_TEXT = 256
MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Where each part of a Subject stands: a claim's name, or a dotted path into nested claims (`realm_access.roles`)."""

    id: str = "sub"
    roles: str = "roles"
    groups: str = "groups"
    tenant: str = "tenant"
    type: str = "type"


def subject(claims: Mapping[str, Any], names: ClaimNames, prefix: str = "") -> Subject:
    """Who acts for the subject (`act`) is named as subjects are, or the two would seem to be other people. Raises IdentityError
    `claims_invalid` for a claim of the wrong shape: a role that cannot be read is not the same as no role."""
    found_id = _text(claims, names.id)
    if not found_id:
        raise _invalid(names.id, "is missing")
    return Subject(
        id=prefix + found_id,
        type=_text(claims, names.type) or "user",
        roles=_texts(claims, names.roles),
        groups=_texts(claims, names.groups),
        tenant=_text(claims, names.tenant) or None,
        claims={**claims, **_acting(claims, names.id, prefix)},
        authenticated_by="jwt",
    )


def lookup(claims: Mapping[str, Any], path: str) -> Any:
    """A claim that has the whole path as its name wins: some issuers use URLs as names."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _acting(claims: Mapping[str, Any], path: str, prefix: str, most: int = MOST_ACTORS) -> dict[str, Any]:
    """`act` as the token has it, but for the ids."""
    acting = claims.get("act")
    if acting is None:
        return {}
    name = (_text(acting, path) or _text(acting, "sub")) if isinstance(acting, Mapping) else ""
    if not name or not most:
        raise _invalid("act", f"must say who acts, and for whom, in at most {MOST_ACTORS} steps")
    return {"act": {**acting, "sub": prefix + name, **_acting(acting, path, prefix, most - 1)}}


def _text(claims: Mapping[str, Any], path: str) -> str:
    value = lookup(claims, path)
    return "" if value is None else _plain(value, path)


def _texts(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """A list of texts, or one text with spaces between as OAuth writes scopes."""
    value = lookup(claims, path)
    if value is None:
        return ()
    listed = value.split() if isinstance(value, str) else value
    if not isinstance(listed, list) or len(listed) > MAX_LISTED:
        raise _invalid(path, f"must be a list of at most {MAX_LISTED} texts")
    return tuple(_plain(one, path) for one in listed)


def _plain(value: Any, path: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise _invalid(path, f"must be printable text of at most {MAX_TEXT} characters")
    return value


def _invalid(path: str, what: str) -> IdentityError:
    return IdentityError(f"The token's claim '{path}' {what}.", "claims_invalid")
