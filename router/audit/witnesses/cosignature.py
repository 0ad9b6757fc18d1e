"""Cosignatures: what a witness signs about a checkpoint that it found to continue the ones before. C2SP `tlog-cosignature` in its form
`cosignature/v1`, with Ed25519 (signature type 0x04). Its other kind, ML-DSA-44 (type 0x06), is neither made nor verified here.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from router.audit.tree.checkpoint import split_note
from router.errors import AuditError

COSIGNATURE = b"\x04"
MLDSA = b"\x06"
LATEST = 253_402_300_799
"""The end of the year 9999, the last time that can be written as one. The specification allows 2^63 - 1, and to refuse the future."""

_SIZE = 4 + 8 + 64
"""Key id, timestamp, signature."""


@dataclass(frozen=True, slots=True)
class Cosignature:
    """As of `at` (POSIX seconds, by the witness's clock) the checkpoint was the largest consistent one that `name` had seen. `line` is
    its line of the note, newline included."""

    name: str
    key_id: bytes
    at: int
    line: str


class Cosigner:
    """Signs checkpoints under `name`: not empty, without spaces and plus signs. A key must cosign under one name only, for the name is
    not signed."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        if not name or "+" in name or not name.isprintable() or any(character.isspace() for character in name):
            raise AuditError(f"The witness's name {name!r} must not be empty nor hold spaces or plus signs.", "witness_name_invalid")
        self.name = name
        self._key = key
        self._public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def verifier(self) -> str:
        """`name+keyid+base64`, as policy files want it. Safe to hand to anybody."""
        return f"{self.name}+{_key_id(self.name, self._public).hex()}+{b64encode(COSIGNATURE + self._public).decode()}"

    def cosign(self, text: str, at: int) -> str:
        """The line to put under a note with this text. `at` in POSIX seconds, above 0."""
        signature = self._key.sign(_message(text, at))
        return f"— {self.name} {b64encode(_key_id(self.name, self._public) + at.to_bytes(8, 'big') + signature).decode()}\n"


class CosignatureVerifier:
    """`public` is the raw key: two verifiers with the same one are the same witness, whatever they are called."""

    def __init__(self, verifier: str) -> None:
        """`verifier` is `name+keyid+base64`. Raises AuditError `verifier_key_invalid` when it is not."""
        name, _, rest = verifier.partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded)
        if key is not None and key[:1] == MLDSA:
            raise _invalid("ML-DSA-44 cosignatures are not verified by this version, only Ed25519.")
        if key is None or len(key) != 33 or key[:1] != COSIGNATURE or not _named(name) or _key_id(name, key[1:]).hex() != key_id:
            raise _invalid("This is not an Ed25519 cosignature key (type 4) of the form name+keyid+base64.")
        self.name = name
        self.public = key[1:]
        self._id = _key_id(name, self.public)
        self._key = Ed25519PublicKey.from_public_bytes(self.public)

    def find(self, note: str) -> Cosignature | None:
        """This witness's newest cosignature under a note, None when there is none. Raises AuditError `checkpoint_invalid` when one of its
        lines is wrong: such a note is to be rejected whole."""
        text, lines = split_note(note)
        mine = [self._checked(text, signature) for name, signature in lines if name == self.name and signature[:4] == self._id]
        return max(mine, key=lambda each: each.at, default=None)

    def _checked(self, text: str, signature: bytes) -> Cosignature:
        at = int.from_bytes(signature[4:12], "big")
        if len(signature) != _SIZE or not 0 < at <= LATEST:
            raise AuditError(f"The cosignature by {self.name} is malformed.", "checkpoint_invalid")
        try:
            self._key.verify(signature[12:], _message(text, at))
        except InvalidSignature as error:
            raise AuditError(f"The cosignature by {self.name} is wrong.", "checkpoint_invalid") from error
        return Cosignature(self.name, self._id, at, f"— {self.name} {b64encode(signature).decode()}\n")


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + COSIGNATURE + public).digest()[:4]


def _named(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # no UTF-8, so no name of a note
        return False
    return bool(name) and not any(character.isspace() for character in name)


def _decoded(encoded: str) -> bytes | None:
    """None for what is not base64, or not the one form that these bytes have."""
    try:
        decoded = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if b64encode(decoded).decode() == encoded else None


def _invalid(sentence: str) -> AuditError:
    return AuditError(sentence, "verifier_key_invalid")
