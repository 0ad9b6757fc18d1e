"""Which credential a request carries, if any. Nothing is verified here."""

from __future__ import annotations

from collections.abc import Iterable

from router.errors import IdentityError
from router.identity.api_keys import PREFIX

# RFC 7235 leaves longer ones possible; every header reader has a limit, this one is the same for all doors.
MAX_CREDENTIAL = 16 * 1024


def credential(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The token of `Authorization: Bearer` or `X-Api-Key`; names must be lower-case, as ASGI has them. Raises IdentityError.

    The same credential twice is harmless; two different ones are refused, because no order between them would be safe to guess.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            token = _bearer(value)
        elif name == b"x-api-key":
            token = _api_key(value)
        else:
            continue
        if found is not None and token != found:
            raise IdentityError("More than one credential was sent.", "two_credentials", 400)
        found = token
    return found


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.strip(b" \t").partition(b" ")
    if scheme.lower() != b"bearer":
        raise IdentityError("Only the Bearer scheme is accepted in Authorization.", "credential_malformed")
    return _plausible(token.strip(b" "))


def _api_key(value: bytes) -> bytes:
    token = value.strip(b" \t")
    if not token.startswith(PREFIX):
        raise IdentityError("X-Api-Key must hold a Lockgate API key.", "credential_malformed")
    return _plausible(token)


def _plausible(token: bytes) -> bytes:
    if not token or len(token) > MAX_CREDENTIAL or not token.isascii() or b" " in token or b"," in token:
        raise IdentityError("The credential is malformed.", "credential_malformed")
    return token
