"""A witness written from the pages of C2SP and RFC 6962 alone, without a line of Lockgate's: what a request must be, in one place.

Proofs are checked by the recursion that RFC 6962 section 2.1.2 defines them with, read backwards, and not by the step-by-step algorithm of
RFC 9162 that Lockgate uses.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# One form only (RFC 4648 section 3.5): the bits that are left over are zero.
BASE64 = rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"
HASH = rb"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
SIZE = rb"0|[1-9][0-9]{0,18}"
REQUEST = re.compile(
    rb"old (?P<old>" + SIZE + rb")\n"
    rb"(?P<proof>(?:" + HASH + rb"\n){0,63})\n"
    rb"(?P<text>(?P<origin>[^\x00-\x1f]+)\n(?P<size>" + SIZE + rb")\n(?P<root>" + HASH + rb")\n(?:[^\x00-\x1f]+\n)*)\n"
    rb"(?P<lines>(?:\xe2\x80\x94 [^\x00-\x20+]+ " + BASE64 + rb"\n)+)",
)


@dataclass
class ReferenceWitness:
    """`logs` by origin: raw public keys. `seen` by origin: size and root."""

    name: str
    key: Ed25519PrivateKey
    logs: dict[str, bytes]
    at: int
    seen: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def verifier(self) -> str:
        return f"{self.name}+{self._id().hex()}+{b64encode(bytes([4]) + self.public).decode()}"

    def add_checkpoint(self, body: bytes) -> tuple[int, str, bytes]:
        """(status, content type, body)"""
        found = REQUEST.fullmatch(body)
        if found is None or not _utf8(body):
            return 400, "text/plain", b""
        origin, size, root = found["origin"].decode(), int(found["size"]), b64decode(found["root"])
        if origin not in self.logs:
            return 404, "text/plain", b""
        if not self._signed(origin, found["text"], found["lines"]):
            return 403, "text/plain", b""
        old = int(found["old"])
        if old > size:
            return 400, "text/plain", b""
        known, known_root = self.seen.get(origin, (0, sha256(b"").digest()))
        if old != known:
            return 409, "text/x.tlog.size", b"%d\n" % known
        proof = [b64decode(line) for line in found["proof"].split()]
        if known and known == size and known_root != root:
            return 409, "text/plain", b""
        if not consistent(known, size, known_root, root, proof):
            return 422, "text/plain", b""
        self.seen[origin] = (size, root)
        signature = self.key.sign(b"cosignature/v1\ntime %d\n" % self.at + found["text"])
        line = b64encode(self._id() + self.at.to_bytes(8, "big") + signature)
        return 200, "text/plain", "\u2014 ".encode() + self.name.encode() + b" " + line + b"\n"

    def _id(self) -> bytes:
        return sha256(self.name.encode() + b"\n\x04" + self.public).digest()[:4]

    def _signed(self, origin: str, text: bytes, lines: bytes) -> bool:
        public = self.logs[origin]
        wanted = sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
        for line in lines[:-1].split(b"\n"):
            _, name, encoded = line.split(b" ")
            raw = b64decode(encoded)
            if name == origin.encode() and raw[:4] == wanted:
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text)
                except InvalidSignature:
                    return False
                return True
        return False


def _utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    if old == 0:
        return not proof and (new > 0 or new_root == sha256(b"").digest())
    left = list(proof)
    try:
        roots = _roots(old, new, left, old_root, whole=True)
    except IndexError:
        return False
    return not left and roots == (old_root, new_root)


def _roots(old: int, new: int, proof: list[bytes], old_root: bytes, *, whole: bool) -> tuple[bytes, bytes]:
    """SUBPROOF(old, D[new], whole) backwards: the roots of both trees, its hashes taken from the end."""
    if old == new:
        hashed = old_root if whole else proof.pop()
        return hashed, hashed
    split = 1 << (new - 1).bit_length() - 1
    last = proof.pop()
    if old <= split:
        below = _roots(old, split, proof, old_root, whole=whole)
        return below[0], _node(below[1], last)
    below = _roots(old - split, new - split, proof, old_root, whole=False)
    return _node(last, below[0]), _node(last, below[1])


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
