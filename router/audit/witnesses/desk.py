"""What a witness does with a checkpoint that a log brings: C2SP `tlog-witness`, `add-checkpoint`. Blocking; one call at a time.

1. The request is of the specified form, its log is known, and a key trusted for it signed the checkpoint.
2. The log knows what was cosigned last: `old` is that size.
3. The new tree is not smaller, and continues the one that was cosigned last.
4. What is about to be cosigned is on stable storage. A crash from here on leaves a witness that remembers more than it signed: the log
   asks again from there. The other order would leave one that could sign a fork.
5. Only then is it cosigned.
"""

from __future__ import annotations

import logging
import threading
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from router.audit.tree.checkpoint import Checkpoint, NoteVerifier, note_checkpoint, split_note
from router.audit.tree.merkle import EMPTY_ROOT, verify_consistency
from router.audit.witnesses.cosignature import Cosigner
from router.audit.witnesses.protocol import SIZE_TYPE, AddCheckpoint, parse_request, size_body
from router.errors import AuditError
from router.ports import Clock

log = logging.getLogger("lockgate.witness")
SECOND = 1_000_000_000
STEPPED_BACK_S = 300
"""By how much the clock may have gone backwards: a correction, within which the last time is said again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last checkpoint cosigned for an origin, as the log signed it, and when that was (POSIX seconds)."""

    note: str
    at: int

    @property
    def checkpoint(self) -> Checkpoint:
        return note_checkpoint(self.note)


class SeenStore(Protocol):
    """What a witness remembers. Raises AuditError `witness_state_unwritable`, after which nothing may be cosigned any more."""

    def last(self, origin: str) -> Seen | None: ...

    def replace(self, origin: str, last: Seen | None, seen: Seen) -> None:
        """On stable storage when it returns. Raises where `last` is not what is remembered."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


class WitnessDesk:
    """`logs` are verifier keys; a key's name is the origin that it signs for, and an origin may have several."""

    def __init__(self, cosigner: Cosigner, logs: Sequence[str], store: SeenStore, clock: Clock) -> None:
        self._cosigner = cosigner
        self._logs: dict[str, list[str]] = {}
        for verifier in logs:
            self._logs.setdefault(NoteVerifier(verifier).name, []).append(verifier)
        self._store = store
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        with self._one_at_a_time:
            try:
                return self._add(body)
            except _RefusedError as refusal:
                return refusal.answer
            except AuditError as error:
                return _failed(error)

    def _add(self, body: bytes) -> Answer:
        request = parse_request(body)  # 1
        origin = request.checkpoint.origin
        signed = self._signed(request)
        if request.old > request.checkpoint.size:
            raise refused("witness_old_size_larger", 400, "The old size is larger than the checkpoint's.")
        last = self._store.last(origin)
        known = last.checkpoint if last is not None else Checkpoint(origin, 0, EMPTY_ROOT)
        if request.old != known.size:  # 2
            raise _RefusedError(Answer(409, size_body(known.size), SIZE_TYPE))
        self._check(request, known, last, signed)  # 3
        at = self._now(last)
        self._store.replace(origin, last, Seen(signed, at))  # 4
        log.info("cosigned %d records of %s", request.checkpoint.size, _shown(origin))
        return Answer(200, self._cosigner.cosign(request.text, at))  # 5

    def _signed(self, request: AddCheckpoint) -> str:
        """The note, with the signature lines of trusted keys alone. One that is by such a key and wrong condemns the note."""
        verifiers = self._logs.get(request.checkpoint.origin)
        if verifiers is None:
            raise refused("witness_log_unknown", 404, "This witness does not know the log of that origin.")
        text, lines = split_note(request.note)
        trusted = {_key_id(verifier): NoteVerifier(verifier) for verifier in verifiers}
        mine = {signature[:4].hex() for name, signature in lines if name == request.checkpoint.origin} & trusted.keys()
        try:
            for known in mine:
                trusted[known].open(request.note)
        except AuditError as error:
            raise refused("witness_signature_wrong", 403, str(error)) from error
        if not mine:
            raise refused("witness_signature_missing", 403, "No key that this witness trusts for the log signed the checkpoint.")
        kept = [(name, signature) for name, signature in lines if name == request.checkpoint.origin and signature[:4].hex() in mine]
        return text + "\n" + "".join(f"— {name} {b64encode(signature).decode()}\n" for name, signature in kept)

    def _check(self, request: AddCheckpoint, known: Checkpoint, last: Seen | None, signed: str) -> None:
        new = request.checkpoint
        if last is not None and new.size == known.size > 0 and new.root != known.root:
            log.error("a log signed two histories of %d records, which these two prove:\n%s\n%s", known.size, last.note, signed)
            raise refused("witness_fork", 409, f"Another tree of {known.size} records was cosigned for this log.")
        if not _continues(known, new, request.proof):
            if last is not None:
                log.error("a log brought no proof that its second tree here continues the first:\n%s\n%s", last.note, signed)
            raise refused("witness_proof_wrong", 422, "The proof does not lead from the tree that was cosigned last to this one.")

    def _now(self, last: Seen | None) -> int:
        """Never earlier than the last cosignature for this log: as of then, something smaller was the largest."""
        now = self._clock.now_ns() // SECOND
        if last is None or now >= last.at:
            return now
        if last.at - now > STEPPED_BACK_S:
            sentence = (
                f"This witness's clock is {last.at - now} seconds behind its last cosignature; it signs nothing until that is settled."
            )
            raise refused("witness_clock_behind", 503, sentence)
        return last.at


class _RefusedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


def _key_id(verifier: str) -> str:
    return verifier.split("+")[1]


def refused(code: str, status: int, sentence: str) -> _RefusedError:
    log.warning("refused with %d: %s", status, sentence)
    return _RefusedError(Answer(status, f"{code}: {sentence}\n"))


def _failed(error: AuditError) -> Answer:
    malformed = error.code == "witness_request_malformed"
    log.log(logging.WARNING if malformed else logging.ERROR, "refused: %s", error)
    return Answer(400 if malformed else 500, f"{error.code}: {error if malformed else 'The witness cannot remember anything now.'}\n")


def _continues(known: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> bool:
    if known.size == 0:  # everything continues nothing
        return not proof and (new.size > 0 or new.root == EMPTY_ROOT)
    return verify_consistency(known.size, new.size, known.root, new.root, proof)


def _shown(origin: str) -> str:
    return origin.encode("ascii", "backslashreplace").decode()
