"""What witnesses confirmed about a ledger that is being verified."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from router.audit.tree.checkpoint import note_checkpoint, split_note
from router.audit.witnesses.policy import Witnessed, WitnessPolicy
from router.errors import AuditError


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The first `size` records, by these witnesses."""

    size: int
    by: Witnessed


def confirmed(policy: WitnessPolicy, notes: Iterable[str], agreeing: Collection[int]) -> tuple[list[Confirmed], list[str]]:
    """The trees with a quorum's cosignatures among notes of these sizes, which agree with the records, smallest first; and what is wrong
    with the cosignatures of others, a sentence each."""
    found, wrong = list[Confirmed](), list[str]()
    for note in notes:
        try:
            size = note_checkpoint(note).size
            witnessed = policy.witnessed(policy.cosignatures(note)) if size in agreeing else None
        except AuditError as error:
            wrong.append(f"A checkpoint in the ledger: {error}")
            continue
        if witnessed is not None:
            found.append(Confirmed(size, witnessed))
    return sorted(found, key=lambda each: (each.size, each.by.as_of)), wrong


def cosigned_by_anybody(origin: str, notes: Iterable[str]) -> bool:
    """Whether a note has a line by somebody else than the ledger."""
    for note in notes:
        try:
            if any(name != origin for name, _ in split_note(note)[1]):
                return True
        except AuditError:  # told elsewhere
            continue
    return False
