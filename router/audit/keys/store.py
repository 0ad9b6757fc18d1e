"""Every subject's own key, wrapped under the sealing key, apart from the ledger's backups and without anybody's name: what each store of
them does, and how all of them wrap.

A key is found by HMAC-SHA256 of the subject's id under a key derived (HKDF) from the sealing key. Who lacks the sealing key can neither
open a key nor tell whose it is. Without its key everything ever sealed for a subject is unreadable.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from router.audit.keys.comparing import Compared
from router.errors import AuditError

_NONCE = 12
_CHECK = b"lockgate"

SubjectKey = tuple[str, bytes]
"""(key id, 32-byte key)"""
Row = tuple[bytes, str, bytes, int]
"""(the subject's place, key id, wrapped key, when it was made in ns)"""


class SubjectKeyStore(ABC):
    """Blocks; threads may share one. All but `close` raise AuditError, `audit_closed` where it is not open."""

    def __init__(self, sealing_key: bytes, where: str) -> None:
        """`where` names the store in errors."""
        self._where = where
        self._wrapping = AESGCM(derived(sealing_key, b"lockgate subject key wrapping v1"))
        self._index = derived(sealing_key, b"lockgate subject key index v1")

    @abstractmethod
    def open(self) -> None:
        """`audit_sealing_key_wrong` where it was made with another sealing key."""

    @abstractmethod
    def close(self) -> None:
        """Twice is harmless; it may be opened again."""

    @abstractmethod
    def find(self, subject: str) -> str | None:
        """The key id of a subject that has one."""

    @abstractmethod
    def key(self, key_id: str) -> bytes | None:
        """The key of an id; None once it was destroyed."""

    @abstractmethod
    def present(self, key_ids: Sequence[str]) -> list[str]:
        """Those of them that are there, in the same order."""

    @abstractmethod
    def ensure(self, subjects: Sequence[str]) -> dict[str, SubjectKey]:
        """By subject. All that are missing are made together, and are on stable storage when it returns."""

    @abstractmethod
    def destroy(self, *key_ids: str) -> None:
        """They are gone when it returns, on stable storage; their ids stay, in `destroyed`. Without such a key it does the same: an attempt
        before may have ended between the two. Where it raises they may or may not be gone, and it is to be done again."""

    @abstractmethod
    def destroyed(self) -> list[str]:
        """The ids of all keys that were destroyed here, each once, in that order."""

    @abstractmethod
    def compared(self) -> Compared | None:
        """The last mark; None where there was none."""

    @abstractmethod
    def mark(self, compared: Compared) -> None:
        """On stable storage when it returns."""

    def _place(self, subject: str) -> bytes:
        return hmac.digest(self._index, subject.encode("utf-8", "surrogatepass"), "sha256")

    def _fresh(self, subject: str) -> Row:
        place, key_id = self._place(subject), secrets.token_hex(16)
        return place, key_id, self._sealed(secrets.token_bytes(32), key_id.encode() + place), time.time_ns()

    def _unwrapped(self, key_id: str, place: bytes, wrapped: bytes) -> bytes:
        try:
            return self._wrapping.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], key_id.encode() + place)
        except (InvalidTag, ValueError) as error:
            raise AuditError(f"The sealing key does not open a key in {self._where}.", "audit_sealing_key_wrong") from error

    def _fresh_check(self) -> bytes:
        """What a store keeps to know its sealing key by."""
        return self._sealed(_CHECK, None)

    def _verify_check(self, kept: bytes) -> None:
        """With another sealing key every subject would silently get a second key, and the first would never be found again."""
        try:
            self._wrapping.decrypt(kept[:_NONCE], kept[_NONCE:], None)
        except InvalidTag as error:
            raise AuditError(f"The sealing key is not the one that {self._where} was made with.", "audit_sealing_key_wrong") from error

    def _sealed(self, plain: bytes, bound: bytes | None) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._wrapping.encrypt(nonce, plain, bound)


def derived(sealing_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(sealing_key)
