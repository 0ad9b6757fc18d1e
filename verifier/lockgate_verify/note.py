"""C2SP texts: `signed-note`, verifier keys, `tlog-checkpoint`, `tlog-cosignature`, `tlog-proof`. Ed25519 only.

Every parser here raises ValueError and checks nothing but the form, except `Key`, whose id must fit its bytes.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LOG, WITNESS = 0x01, 0x04
MAX_SIGNATURES = 100
MAX_SIZE = 2**53 - 1
LAST_SECOND = 253_402_300_799  # of the year 9999
_PROOF = "c2sp.org/tlog-proof@v1\n"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_SPACE_OR_PLUS = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000+]")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_ORIGIN = re.compile(r"[!-*,-~]{1,200}")


def unbase64(text: str, length: int | None = None) -> bytes:
    """RFC 4648 section 4 with padding; the one spelling that encoding would give."""
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if b64encode(raw).decode() != text or (length is not None and len(raw) != length):
        raise ValueError("not canonical base64 of that length")
    return raw


def number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SIZE:
        raise ValueError("not a number")
    return int(text)


def key_name(text: str) -> str:
    if not text or _SPACE_OR_PLUS.search(text) or _CONTROL.search(text):
        raise ValueError("not a key name")
    return text


@dataclass(frozen=True, slots=True)
class Key:
    """A verifier key, `name+id+base64`. `kind` is the signature type: LOG or WITNESS."""

    name: str
    id: bytes
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str, kind: int) -> Key:
        name, key_id, encoded = text.split("+", 2) if text.count("+") >= 2 else ("", "", "")
        raw = unbase64(encoded, 33)
        made = sha256(key_name(name).encode() + b"\n" + raw).digest()[:4]
        if raw[0] != kind or made.hex() != key_id:
            raise ValueError("not such a key")
        return cls(name, made, kind, raw[1:])

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}"

    def signed(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    key_id: bytes
    raw: bytes

    def by(self, key: Key) -> bool:
        """Whether it claims to be by that key."""
        return self.name == key.name and self.key_id == key.id


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`note` is the whole text as it was given, `text` the part that is signed."""

    note: str
    text: str
    origin: str
    size: int
    root: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str) -> Checkpoint:
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not lines.endswith("\n") or _CONTROL.search(note):
            raise ValueError("not a signed note")
        signatures = lines[:-1].split("\n")
        if len(signatures) > MAX_SIGNATURES:
            raise ValueError("too many signatures")
        said = text.split("\n")
        if len(said) < 3 or "" in said or not _ORIGIN.fullmatch(said[0]):
            raise ValueError("not a checkpoint")
        return cls(note, text + "\n", said[0], number(said[1]), unbase64(said[2], 32), tuple(map(_signature, signatures)))

    def signed_by(self, key: Key) -> bool | None:
        """None when no signature claims to be by this log's key; False when one that does is wrong."""
        claimed = [one.raw for one in self.signatures if one.by(key)]
        return all(key.signed(self.text.encode(), raw) for raw in claimed) if claimed else None

    def cosigned_by(self, key: Key) -> int | None:
        """When (Unix seconds) this witness says to have seen it, None if it does not. Raises ValueError when a cosignature is wrong."""
        times = [_cosigned(self.text, key, one.raw) for one in self.signatures if one.by(key)]
        return max(times, default=None)


@dataclass(frozen=True, slots=True)
class Proof:
    """A `tlog-proof` without extra data. `note` is the checkpoint's, unparsed."""

    index: int
    hashes: tuple[bytes, ...]
    note: str

    @classmethod
    def parse(cls, text: str) -> Proof:
        head, separator, note = text.partition("\n\n")
        if not separator or not head.startswith(_PROOF + "index "):
            raise ValueError("not a tlog-proof")
        index, *hashes = head[len(_PROOF + "index ") :].split("\n")
        return cls(number(index), tuple(unbase64(each, 32) for each in hashes), note)


def _signature(line: str) -> Signature:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    raw = unbase64(encoded)
    if mark != "—" or len(raw) < 5:
        raise ValueError("not a signature")
    return Signature(key_name(name), raw[:4], raw[4:])


def _cosigned(text: str, key: Key, raw: bytes) -> int:
    """tlog-cosignature: eight bytes of time, then an Ed25519 signature over a header, the time and the checkpoint."""
    at = int.from_bytes(raw[:8], "big")
    if len(raw) != 72 or not 0 < at <= LAST_SECOND or not key.signed(f"cosignature/v1\ntime {at}\n{text}".encode(), raw[8:]):
        raise ValueError("a wrong cosignature")
    return at
