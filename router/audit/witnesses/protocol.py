"""The messages of C2SP `tlog-witness`: a log asks `POST <prefix>/add-checkpoint`, a witness answers with cosignature lines, or with the
size that it knows. Of that page's calls, the optional `sign-subtree` is left out: it is for ML-DSA-44 cosignatures.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from router.audit.tree.checkpoint import Checkpoint, parse_checkpoint, split_note
from router.errors import AuditError

ADD_CHECKPOINT = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
MOST_STEPS = 63
MOST_SIGNATURES = 64  # signed-note wants at least 16 to be accepted
MOST_BYTES = 128 * 1024
LARGEST = 2**63 - 1
_MALFORMED = "witness_request_malformed"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """`proof` leads from the tree of `old` records to the note's."""

    old: int
    proof: tuple[bytes, ...]
    note: str
    checkpoint: Checkpoint

    @property
    def text(self) -> str:
        return split_note(self.note)[0]


def request_body(old: int, proof: Sequence[bytes], note: str) -> bytes:
    steps = "".join(f"{b64encode(step).decode()}\n" for step in proof)
    return f"old {old}\n{steps}\n{note}".encode()


def parse_request(body: bytes) -> AddCheckpoint:
    """Raises AuditError `witness_request_malformed` for whatever is not of the specified form."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _malformed("The request is not UTF-8.") from error
    head, separator, note = text.partition("\n\n")
    first, *steps = head.split("\n")
    old = decimal(first.removeprefix("old "))
    if not separator or not first.startswith("old ") or old is None:
        raise _malformed("The request does not begin with `old`, a size, a proof and an empty line.")
    if len(steps) > MOST_STEPS:
        raise _malformed(f"The consistency proof has more than {MOST_STEPS} hashes.")
    return AddCheckpoint(old, tuple(_hash(step) for step in steps), note, strict_checkpoint(note))


def strict_checkpoint(note: str) -> Checkpoint:
    """What a note claims; signatures are not checked. Raises AuditError `witness_request_malformed`."""
    if any(character < " " and character != "\n" for character in note):
        raise _malformed("The checkpoint has a control character.")
    try:
        text, lines = split_note(note)
        checkpoint = parse_checkpoint(text)
    except AuditError as error:
        raise _malformed(str(error)) from error
    if len(lines) > MOST_SIGNATURES:
        raise _malformed(f"The checkpoint has more than {MOST_SIGNATURES} signatures.")
    if any("+" in name or any(character.isspace() for character in name) for name, _ in lines):
        raise _malformed("A signature's name holds a space or a plus sign.")
    if checkpoint.size > LARGEST or "" in text[:-1].split("\n"):
        raise _malformed("The checkpoint's size is too large, or one of its lines is empty.")
    return checkpoint


def size_body(size: int) -> str:
    return f"{size}\n"


def parse_size(content_type: str, body: bytes) -> int | None:
    """The size that an answer of 409 tells; None where it tells none."""
    if content_type != SIZE_TYPE or not body.endswith(b"\n"):
        return None
    try:
        return decimal(body[:-1].decode("ascii"))
    except UnicodeDecodeError:
        return None


def decimal(text: str) -> int | None:
    """A size as the specifications write it: no sign, no leading zero, below 2^63."""
    if not (text.isascii() and text.isdecimal()) or (text[0] == "0" and text != "0") or len(text) > 19:
        return None
    return int(text) if int(text) <= LARGEST else None


def _hash(step: str) -> bytes:
    try:
        decoded = b64decode(step, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("A line of the consistency proof is not base64.") from error
    if len(decoded) != 32 or b64encode(decoded).decode() != step:
        raise _malformed("A line of the consistency proof is not a hash of 32 bytes.")
    return decoded


def _malformed(sentence: str) -> AuditError:
    return AuditError(sentence, _MALFORMED)
