"""API keys as an administrator handles them: made, listed, revoked, and checked where they open the control API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from router.decision import Subject
from router.errors import IdentityError
from router.identity import api_keys
from router.identity.credentials import credential
from router.ports import ApiKey, ApiKeys, Clock


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """What a new key is to be; checked by whoever takes the order."""

    name: str
    subject: Subject
    scopes: frozenset[str]
    expires_ns: int | None = None


class KeyService:
    def __init__(self, keys: ApiKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def verify(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey:
        """The key in a request's headers, whatever its scopes. Raises IdentityError, StateError."""
        token = credential(headers)
        if token is None:
            raise IdentityError("No API key was sent: use Authorization: Bearer or X-Api-Key.", "credential_missing")
        return api_keys.verify(self._keys, token, self._clock.now_ns())

    def create(self, order: KeyOrder, by: str) -> tuple[ApiKey, str]:
        """The key and its plain form, which cannot be had again. `by` is who ordered it."""
        return api_keys.create(self._keys, order.name, order.subject, order.scopes, self._clock.now_ns(), order.expires_ns, by)

    def all(self) -> Sequence[ApiKey]:
        return self._keys.all()

    def revoke(self, key_id: str) -> bool:
        """False when there is no such key."""
        return self._keys.revoke(key_id, self._clock.now_ns())
