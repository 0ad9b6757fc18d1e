"""Checkpoints: what a ledger signs about itself. C2SP `signed-note` carrying C2SP `tlog-checkpoint`, with Ed25519 (signature type 0x01)."""

from __future__ import annotations

import binascii
import os
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EINVAL
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from router.audit.keys.files import LocalSigningKey, signed_by
from router.durable import sync_folder
from router.errors import AuditError
from router.ports import SigningKey

ED25519 = b"\x01"
MAX_NOTE = 2**20  # characters; a hundred witnesses sign in a fiftieth of it
WITNESSED = "latest.witnessed"
_ASIDE = re.compile(r"[0-9]{16}-[0-9a-f]{16}")  # a ledger that was not continued: its size, and its root
_BAD = "checkpoint_invalid"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`root` is the Merkle tree hash of the first `size` records of the log named `origin`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class NoteSigner:
    """Signs notes under `name`, which for a checkpoint is the log's origin: not empty, without spaces and plus signs."""

    def __init__(self, name: str, key: Ed25519PrivateKey | SigningKey) -> None:
        if not name or "+" in name or any(character.isspace() for character in name):
            raise AuditError(f"The ledger's origin {name!r} must not be empty nor hold spaces or plus signs.", "audit_origin_invalid")
        self.name = name
        self._key = LocalSigningKey(key) if isinstance(key, Ed25519PrivateKey) else key
        self._public = self._key.public

    @property
    def remote(self) -> bool:
        """Whether a signature is waited for."""
        return self._key.remote

    @property
    def verifier(self) -> str:
        """The public key as signed-note writes it: `name+keyid+base64`. Safe to hand to anybody."""
        return f"{self.name}+{_key_id(self.name, self._public).hex()}+{b64encode(ED25519 + self._public).decode()}"

    def sign(self, text: str) -> str:
        """Raises AuditError where the key's keeper gives no signature, or one that does not verify."""
        signature = _key_id(self.name, self._public) + signed_by(self._key, text.encode())
        return f"{text}\n— {self.name} {b64encode(signature).decode()}\n"

    def continues(self, note: str) -> None:
        """Raises AuditError unless the last checkpoint's signature is by this key, and by no other of the ledger's after it: a note with
        two was the last of the first key."""
        own = [signature[:4] for name, signature in split_note(note)[1] if name == self.name]
        if own[-1:] != [_key_id(self.name, self._public)]:
            raise AuditError(_changed(self.name, own, _key_id(self.name, self._public)), "audit_key_changed")
        NoteVerifier(self.verifier).open_checkpoint(note)


def _changed(name: str, signed_by: list[bytes], key_id: bytes) -> str:
    by = f"the key {signed_by[-1].hex()}" if signed_by else "no key of its own"
    return (
        f"The last checkpoint of {name} is signed by {by} and not by the configured one, {key_id.hex()}: set `audit.previous_key`, or see "
        "`lockgate audit rotate-key`."
    )


class NoteVerifier:
    def __init__(self, verifier: str) -> None:
        """`verifier` is `name+keyid+base64`. Raises AuditError when it is not."""
        name, _, rest = verifier.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded, "The verifier key is not base64.")
        if len(key) != 33 or key[:1] != ED25519 or not name or _key_id(name, key[1:]).hex() != key_id:
            raise AuditError("This is not an Ed25519 verifier key of the form name+keyid+base64.", "verifier_key_invalid")
        self.name = name
        self._id = _key_id(name, key[1:])
        self._key = Ed25519PublicKey.from_public_bytes(key[1:])

    def open(self, note: str) -> str:
        """The signed text. Raises AuditError unless one signature by this key is there and right; others' are passed over."""
        text, lines = split_note(note)
        for name, signature in lines:
            if name == self.name and signature[:4] == self._id:
                return self._checked(text, signature[4:])
        raise AuditError(f"The checkpoint carries no signature by {self.name}.", _BAD)

    def _checked(self, text: str, signature: bytes) -> str:
        try:
            self._key.verify(signature, text.encode())
        except InvalidSignature as error:
            raise AuditError(f"The checkpoint's signature by {self.name} is wrong.", _BAD) from error
        return text

    def open_checkpoint(self, note: str) -> Checkpoint:
        """The origin must be the key's name: a log signs for itself only."""
        checkpoint = parse_checkpoint(self.open(note))
        if checkpoint.origin != self.name:
            raise AuditError(f"The checkpoint is of {checkpoint.origin}, the key of {self.name}.", _BAD)
        return checkpoint


def under_name(verifier: str, name: str) -> str:
    """The same key's verifier line for another log."""
    typed = _decoded(verifier.strip().split("+", 2)[-1], "The verifier key is not base64.")
    return f"{name}+{_key_id(name, typed.removeprefix(ED25519)).hex()}+{b64encode(typed).decode()}"


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """(text, [(signer's name, key id and signature)])"""
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise AuditError("The checkpoint is not a signed note.", _BAD)
    return text + "\n", [_signature_line(line) for line in signatures[:-1].split("\n")]


def parse_checkpoint(text: str) -> Checkpoint:
    """Lines after the third are extensions and are passed over, but they are signed like the rest."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not lines[0]:
        raise AuditError("The checkpoint lacks its origin, size or root.", _BAD)
    size, root = lines[1], _decoded(lines[2], "The checkpoint's root is not base64.")
    if not (size.isascii() and size.isdecimal()) or (size[0] == "0" and size != "0") or len(root) != 32:
        raise AuditError("The checkpoint's size or root is malformed.", _BAD)
    return Checkpoint(lines[0], int(size), root)


def note_checkpoint(note: str) -> Checkpoint:
    """What a note claims, without checking any signature."""
    return parse_checkpoint(split_note(note)[0])


def check_same(kept: str, note: str) -> None:
    """That two notes about trees of one size are about the same tree. Raises AuditError `audit_tree_broken`: this key signed two histories,
    or was about to."""
    if split_note(kept)[0] != split_note(note)[0]:
        size = note_checkpoint(note).size
        raise AuditError(f"Another checkpoint of {size} records was signed for this ledger, with another root.", "audit_tree_broken")


def fuller(kept: str, note: str) -> str:
    """Of two notes about the same tree the one with more signatures, for others than the ledger's are not to be had again at will; the
    second where they have as many. Raises AuditError `audit_tree_broken`."""
    check_same(kept, note)
    return kept if len(split_note(kept)[1]) > len(split_note(note)[1]) else note


def publish(directory: Path, checkpoint: Checkpoint, note: str) -> None:
    """Writes `<size>.checkpoint`, unless one with more signatures is there; durable when it returns. The directory belongs on other storage
    than the ledger. Raises AuditError `audit_tree_broken` where there is one about another tree, which stays: it proves a forgery."""
    final = directory / f"{checkpoint.size:016d}.checkpoint"
    write_note(final, fuller(_kept(final), note) if final.is_file() else note)


def write_note(final: Path, note: str) -> None:
    """In the place of what is there, in one step; durable when it returns."""
    directory = final.parent
    directory.mkdir(parents=True, exist_ok=True)
    draft = final.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(final)
    sync_folder(directory)


def latest_published(directory: Path) -> str | None:
    """The note of the largest tree in a directory; names sort as sizes do. Raises AuditError, OSError."""
    files = [file for file in _files(directory) if file.name != WITNESSED]
    return _kept(files[-1]) if files else None


def latest_witnessed(directory: Path) -> str | None:
    """The note of the largest tree that witnesses have confirmed, where there are any. Raises AuditError, OSError."""
    file = directory / WITNESSED
    return _kept(file) if file.is_file() else None


def put_aside(directory: Path) -> list[Path]:
    """The folders in which checkpoints were put aside for a ledger after theirs, which may not have come about."""
    return sorted(each for each in directory.glob("*/") if _ASIDE.fullmatch(each.name))


def every_note(directory: Path) -> Iterator[str]:
    """All that were published there, smallest tree first, and the witnessed one; one that is no text is an empty one. Raises OSError."""
    for file in _files(directory):
        try:
            yield _kept(file)
        except AuditError:
            yield ""


def every_readable_note(directory: Path) -> Iterator[str | AuditError]:
    """The same; why one of them cannot be read stands in its place. Raises OSError where the folder cannot be."""
    for file in _files(directory):
        try:
            yield _kept(file)
        except AuditError as error:
            yield error
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or file.is_symlink():  # else somebody took it away meanwhile
                yield AuditError(f"{file} cannot be read: {error.strerror}.", _BAD)


def _files(directory: Path) -> list[Path]:
    """Of a folder that must not be looked into there are not none."""
    names = sorted(os.listdir(directory)) if directory.is_dir() else []
    return [directory / name for name in names if name.endswith(".checkpoint") or name == WITNESSED]


def is_of(note: str, origin: str) -> bool:
    """Whether it says so; what is no note is of nobody."""
    try:
        return note_checkpoint(note).origin == origin
    except AuditError:
        return False


def _kept(file: Path) -> str:
    """Its form is not checked yet. What somebody put in its place is neither waited for nor read without end."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(EINVAL, "it is no file", str(file))
    with open(handle, encoding="utf-8") as opened:
        try:
            note = opened.read(MAX_NOTE + 1)
        except UnicodeDecodeError as error:
            raise AuditError(f"{file} is no signed note, for it is no text.", _BAD) from error
    if len(note) > MAX_NOTE:
        raise AuditError(f"{file} is no signed note, for it is too long.", _BAD)
    return note


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def _signature_line(line: str) -> tuple[str, bytes]:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    signature = _decoded(encoded, "A signature of the checkpoint is not base64.")
    if mark != "—" or not name or len(signature) < 5:
        raise AuditError("A signature line of the checkpoint is malformed.", _BAD)
    return name, signature


def _decoded(encoded: str, fault: str) -> bytes:
    try:
        decoded = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AuditError(fault, _BAD) from error
    if b64encode(decoded).decode() != encoded:  # one form for one signature: padding and spare bits are not anybody's to choose
        raise AuditError(fault, _BAD)
    return decoded
