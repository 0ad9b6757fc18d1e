"""The configured ledger's keys at work: who signs its checkpoints, and who hands it over to whom."""

from __future__ import annotations

from router.audit.journal import Checkpointing, LedgerStore
from router.audit.keys.rotation import hand_over, is_in_force, last_note, lost, vouched
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, latest_published
from router.wiring.ledger_keys import open_signing_key
from router.workspace import Workspace


def ledger_signer(workspace: Workspace) -> NoteSigner:
    """Opens the key, and makes it where it is to be in a file that is not there. Raises AuditError. Blocks."""
    audit = workspace.config.audit
    return NoteSigner(audit.origin, open_signing_key(audit.key, workspace.root, create=True))


def checkpointing(workspace: Workspace, signer: NoteSigner) -> Checkpointing:
    audit = workspace.config.audit
    return Checkpointing(signer, workspace.path(audit.checkpoint.directory), audit.checkpoint.every, audit.checkpoint.records)


def is_to_be_handed_over(workspace: Workspace, store: LedgerStore, new: NoteSigner) -> bool:
    """Whether `taken_over` has something to do. What is not needed is not opened: it may have been destroyed. Raises AuditError."""
    return workspace.config.audit.previous_key is not None and not is_in_force(store, checkpointing(workspace, new))


def taken_over(workspace: Workspace, store: LedgerStore, new: NoteSigner, reason: str, at_ns: int) -> Checkpoint | None:
    """The checkpoint by which the configured previous key handed over; None where there was nothing to do. Raises AuditError."""
    audit, plan = workspace.config.audit, checkpointing(workspace, new)
    if audit.previous_key is None or not is_to_be_handed_over(workspace, store, new):
        return None
    old = NoteSigner(audit.origin, open_signing_key(audit.previous_key, workspace.root, create=False))
    return hand_over(store, plan, vouched(old, new), reason, at_ns)


def taken_over_from_lost(
    workspace: Workspace, store: LedgerStore, new: NoteSigner, old: str | None, reason: str, at_ns: int
) -> Checkpoint | None:
    """As `taken_over`, with no key that vouches. `old` is the lost key's verifier line, where somebody has it."""
    audit, plan = workspace.config.audit, checkpointing(workspace, new)
    if is_in_force(store, plan):
        return None
    note = last_note(store, audit.origin, latest_published(workspace.path(audit.checkpoint.directory)))
    return hand_over(store, plan, lost(note, new, old), reason, at_ns)
