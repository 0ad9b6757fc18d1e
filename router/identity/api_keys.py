"""API keys: how they look, how they are made, how one is checked.

`lgk_<8 characters, public>_<43 characters, base64url of 32 random bytes>`. Only the SHA-256 of the secret part is stored. A slow
password hash would add nothing: it makes guessing low-entropy secrets expensive, and 256 random bits cannot be guessed at any speed.
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import replace
from hashlib import sha256
from hmac import compare_digest

from router.acting import key_claims
from router.decision import Subject
from router.errors import IdentityError, StateError
from router.ports import ApiKey, ApiKeys

PREFIX = b"lgk_"
FORM = re.compile(rb"lgk_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
ALPHABET = string.ascii_lowercase + string.digits
ATTEMPTS = 8


def mint(key_id: str | None = None) -> tuple[str, str, bytes]:
    """(public id, the key as its holder sees it, digest to store)."""
    key_id = key_id or "".join(secrets.choice(ALPHABET) for _ in range(8))
    secret = secrets.token_urlsafe(32)
    return key_id, f"lgk_{key_id}_{secret}", sha256(secret.encode()).digest()


def create(
    keys: ApiKeys, name: str, subject: Subject, scopes: frozenset[str], now_ns: int, expires_ns: int | None = None, by: str = ""
) -> tuple[ApiKey, str]:
    """Stores a new key and returns it with its plain form, which exists nowhere else. Raises StateError."""
    for _ in range(ATTEMPTS):
        key_id, plain, digest = mint()
        owner = replace(subject, claims=key_claims(key_id, by), authenticated_by="api_key")
        key = ApiKey(key_id, digest, name, owner, scopes, created_ns=now_ns, created_by=by, expires_ns=expires_ns)
        if keys.add(key):
            return key, plain
    raise StateError("no free key id was found; the key store answers wrongly")


def verify(keys: ApiKeys, credential: bytes, now_ns: int) -> ApiKey:
    """Raises IdentityError, or StateError when the store does not answer."""
    form = FORM.fullmatch(credential)
    if form is None:
        raise IdentityError("The API key is malformed.", "credential_malformed")
    key_id, secret = form.groups()
    key = keys.find(key_id.decode())
    # An unknown id and a wrong secret get one answer, and expiry is told only to who holds the secret.
    if key is None or not compare_digest(sha256(secret).digest(), key.digest):
        raise IdentityError("The API key is not known.", "credential_unknown")
    if key.revoked_ns is not None:
        raise IdentityError("The API key was revoked.", "credential_revoked")
    if key.expires_ns is not None and now_ns >= key.expires_ns:
        raise IdentityError("The API key has expired.", "credential_expired")
    return key
