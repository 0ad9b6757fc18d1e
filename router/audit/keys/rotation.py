"""Handing the ledger over from one signing key to the next. It is a record of the ledger, and the old key's last act is to vouch for it.

1. The record `key_rotated` is appended: the old key, the new one, why. After a crash the old key is still in force; whoever hands over
   again writes the record again, and a record that no hand-over follows has no effect.
2. A checkpoint over that record, signed by both keys, is stored. From here on the new key is in force and the old one may sign nothing.
3. The checkpoint is published; after a crash the next start does that.

A key that was lost cannot vouch. Then 1 says so, and 2 is signed by the new key alone: nobody needs to believe it who only knew the old.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.audit.journal import Checkpointing, HandsOver, Journal, LedgerStore
from router.audit.keys.signing import Signer
from router.audit.records.canonical import is_slug
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, NoteVerifier, note_checkpoint, split_note
from router.errors import AuditError

EVENT = "key_rotated"
ATTEMPTS = 3
CHANGED, DIFFERS = "audit_key_changed", "audit_key_differs"


@dataclass(frozen=True, slots=True)
class Change:
    """`signer` signs the hand-over; `old` and `new` are verifier lines, the old one only `name+keyid` where no more is known of it."""

    signer: Signer
    old: str
    new: str
    vouched: bool


class _Both:
    """Signs with the old key and then the new; the order is how a start can tell whose last checkpoint this is."""

    remote = False  # who hands over has nobody's records to commit meanwhile

    def __init__(self, old: NoteSigner, new: NoteSigner) -> None:
        self.name = old.name
        self._old, self._new = old, new

    def sign(self, text: str) -> str:
        return self._old.sign(text) + self._new.sign(text).removeprefix(text + "\n")

    def continues(self, note: str) -> None:
        self._old.continues(note)


class _Alone:
    """Signs with the new key whatever the old one was."""

    remote = False

    def __init__(self, new: NoteSigner) -> None:
        self.name, self.sign = new.name, new.sign

    def continues(self, note: str) -> None:
        """Nothing vouches here, which is what the record says."""


def vouched(old: NoteSigner, new: NoteSigner) -> Change:
    if old.verifier == new.verifier:
        raise AuditError("The new key is the old one, so there is nothing to hand over.", "audit_rotation_refused")
    return Change(_Both(old, new), old.verifier, new.verifier, vouched=True)


def lost(note: str | None, new: NoteSigner, old: str | None = None) -> Change:
    """`note` is the ledger's last checkpoint; `old` the lost key's verifier line where somebody has noted it, which must have signed it.
    Raises AuditError."""
    if note is None:
        raise AuditError("The ledger has no checkpoint yet, so no key of it can be lost.", "audit_rotation_refused")
    if old is not None:
        NoteVerifier(old).open_checkpoint(note)
        return Change(_Alone(new), old, new.verifier, vouched=False)
    own = [signature[:4].hex() for name, signature in split_note(note)[1] if name == new.name]
    return Change(_Alone(new), f"{new.name}+{own[-1] if own else ''}", new.verifier, vouched=False)


def hand_over(store: LedgerStore, plan: Checkpointing, change: Change, reason: str, at_ns: int) -> Checkpoint:
    """The checkpoint that hands over. `plan` is the new key's; the store is closed when this returns. Raises AuditError, after which it may
    or may not have happened: opening the ledger tells."""
    if not is_slug(reason):
        raise AuditError(
            "A reason stays in the ledger for ever: one word of lower-case letters, digits, '_', '-' and '.'.", "audit_reason_invalid"
        )
    details = {"old": change.old, "new": change.new, "vouched": change.vouched, "reason": reason}
    old = HandsOver(change.old if change.vouched else None)
    journal = Journal(store, replace(plan, signer=change.signer, hands_over=old))
    try:
        journal.open()
        for _ in range(ATTEMPTS):  # another node may sign for more between the two
            journal.append([system_entry(EVENT, at_ns, details)])  # 1
            if journal.sign_checkpoint(wait=True):  # 2, 3
                return Checkpoint(plan.signer.name, journal.size, journal.root())
        raise AuditError("The ledger was not handed over, for the hand-over could not be signed or stored.", "audit_rotation_failed")
    finally:
        store.close()


def is_in_force(store: LedgerStore, plan: Checkpointing) -> bool:
    """Whether the plan's key signed the ledger's last checkpoint, or no key has signed one yet. Raises AuditError for everything else for
    which a ledger does not open."""
    try:
        Journal(store, plan).open()
    except AuditError as error:
        if error.code not in (CHANGED, DIFFERS):
            raise
        return False
    finally:
        store.close()
    return True


def last_note(store: LedgerStore, origin: str, published: str | None) -> str | None:
    """The ledger's last checkpoint, in the store or outside of it."""
    try:
        store.open(origin, successor=True)
        notes = [note for note in (store.latest_checkpoint(), published) if note is not None]
    finally:
        store.close()
    return max(notes, key=lambda note: note_checkpoint(note).size, default=None)
