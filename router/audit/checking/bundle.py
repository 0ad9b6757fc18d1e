"""Evidence about one decision for somebody who has nothing of ours: `lockgate.bundle.v1`, as docs/evidence.md describes it.

What a bundle says is taken from the ledger's files and held to the checkpoint before it is handed out; whoever gets it checks it himself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from router.audit.governance.standing import ERASED
from router.audit.questions.query import Query, Trail
from router.audit.questions.reader import KeyLookup, LedgerReader, Stored
from router.audit.records.record import DECISION, open_personal
from router.audit.records.sealing import salt
from router.audit.tree.checkpoint import Checkpoint, NoteVerifier, note_checkpoint, split_note
from router.audit.tree.merkle import Subtree, consistency_proof, inclusion_proof, leaf_hash, verify_inclusion
from router.audit.tree.proof import subtrees, tree_root
from router.audit.tree.tlog_proof import proof_text
from router.errors import AuditError
from router.ports import Entry

FORMAT = "lockgate.bundle.v1"
NOTES = 1000  # among so many of the latest the one that most witnesses cosigned is looked for
_COSIGNATURE = 4 + 8 + 64  # key id, time, Ed25519 signature: C2SP tlog-cosignature

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Which personal fields are opened: those of `names`, or all of them. `keys` finds the subjects' keys, which stay here."""

    keys: KeyLookup
    names: frozenset[str] | None = None


class Bundles:
    """Makes bundles from a ledger's files. `trail` finds the records, `reader` reads them as they were written."""

    def __init__(self, reader: LedgerReader, trail: Trail) -> None:
        self._reader = reader
        self._trail = trail

    def bundle(self, decision_id: str, outside: Checkpoint | None = None, disclosure: Disclosure | None = None) -> Document:
        """`outside` is a checkpoint kept elsewhere. Raises AuditError: `decision_unknown`, `checkpoint_pending` where no checkpoint covers
        all there is to prove, `checkpoint_other_history` where the outside one is not of this history, `field_unknown`."""
        records = [self._stored(index) for index in self.indexes(decision_id)]
        erasures = self._erasures({stored.key_id for stored in records if stored.sealed})
        tree = self._tree([stored.index for stored in records] + sorted(erasures.values()))
        if disclosure is not None and disclosure.names is not None:
            _check_names(decision_id, disclosure.names, records)
        return {
            "format": FORMAT,
            "decision": decision_id,
            "checkpoint": tree.note,
            "records": [{**tree.proven(stored), **_personal(stored, erasures, disclosure)} for stored in records],
            "erasures": [tree.proven(self._stored(index)) for index in sorted(set(erasures.values()))],
            "rotations": list(self._rotations(tree)),
            "consistency": None if outside is None else self._consistency(tree, outside),
        }

    def proof(self, decision_id: str, index: int | None = None) -> str:
        """The `tlog-proof` of one of the decision's records, the first when no index is given."""
        indexes = self.indexes(decision_id)
        wanted = indexes[0] if index is None else index
        if wanted not in indexes:
            raise AuditError(f"Record {wanted} is none of decision {decision_id}: these are {indexes}.", "record_other")
        return str(self._tree([wanted]).proven(self._stored(wanted))["proof"])

    def indexes(self, decision_id: str) -> list[int]:
        """Of the records about a decision, which are in order."""
        found = list(self._trail.find(Query(decision_id=decision_id), newest=False))
        if not any(each.leaf.get("schema") == DECISION for each in found):  # other records have ids of their own
            raise AuditError(f"The ledger holds no decision {decision_id}.", "decision_unknown")
        return [each.index for each in found]

    def _stored(self, index: int) -> Stored:
        stored = next(self._reader.records(index, index + 1), None)
        if stored is None:
            raise AuditError(f"Record {index} is missing from the ledger; run a verification.", "audit_record_missing")
        return stored

    def _events(self, event: str) -> Iterator[int]:
        return (found.index for found in self._trail.find(Query(kind="system", result=event), newest=False))

    def _erasures(self, key_ids: Collection[str]) -> dict[str, int]:
        """Key id -> index of the first record that says it was destroyed; not of one that only says so of another ledger."""
        told = self._trail.erasures(key_ids)
        return {key_id: index for key_id, index in told.items() if orjson.loads(self._stored(index).leaf).get("event") == ERASED}

    def _tree(self, indexes: Sequence[int]) -> _Tree:
        """Of the latest checkpoints over all of these the one with most cosignatures; the newest of several, or where there are none."""
        latest = self._reader.latest_checkpoint()
        covered = 0 if latest is None else note_checkpoint(latest).size
        if latest is None or covered <= max(indexes):
            first = min(index for index in indexes if index >= covered)
            raise AuditError(f"Record {first} is newer than the latest checkpoint, which is over {covered} records.", "checkpoint_pending")
        notes = self._reader.notes(max(indexes) + 1, NOTES, newest=True)
        return _Tree(max(notes, key=_cosignatures), subtrees(self._reader))

    def _rotations(self, tree: _Tree) -> Iterator[Document]:
        """Those that took effect: a checkpoint that ends with the record is signed by the new key. Where the old one signed it, too, it
        vouches; else it was lost, as the record says, and then the checkpoint before is not by the new key: who can only append records
        could have written one that says so of the key in force."""
        for index in self._events("key_rotated"):
            stored, note = self._stored(index), self._ending_with(index)
            details = _details(stored)
            if note is None or index >= tree.size or not _signed_by(details.get("new"), note):
                continue
            vouched = _signed_by(details.get("old"), note)
            if vouched or (details.get("vouched") is False and not self._in_force_before(details.get("new"), index)):
                handover = _Tree(note, tree.subtree).proven(stored)["proof"] if vouched else None
                yield {**tree.proven(stored), "handover": handover}

    def _in_force_before(self, verifier: Any, index: int) -> bool:
        before = [note for note in self._reader.checkpoints() if note_checkpoint(note).size <= index]
        return bool(before) and _signed_by(verifier, before[-1])

    def _ending_with(self, index: int) -> str | None:
        """The checkpoint whose last record this is."""
        return next((note for note in self._reader.notes(index + 1, 1, newest=False) if note_checkpoint(note).size == index + 1), None)

    def _consistency(self, tree: _Tree, outside: Checkpoint) -> Document | None:
        size, origin = self._reader.size(), self._reader.origin()
        if outside.origin != origin:
            raise AuditError(f"The outside checkpoint is of {outside.origin}, the ledger is {origin}.", "checkpoint_other_history")
        if not 0 < outside.size <= size or tree_root(self._reader, outside.size) != outside.root:
            message = f"The outside checkpoint over {outside.size} records is not of this ledger's history of {size}; run a verification."
            raise AuditError(message, "checkpoint_other_history")
        if outside.size == tree.size:
            return None
        old, new = sorted((outside.size, tree.size))
        return {"old": old, "new": new, "hashes": [_base64(each) for each in consistency_proof(old, new, tree.subtree)]}


class _Tree:
    """The tree of one checkpoint."""

    def __init__(self, note: str, subtree: Subtree) -> None:
        self.note = note
        self.subtree = subtree
        checkpoint = note_checkpoint(note)
        self.size, self._root = checkpoint.size, checkpoint.root

    def proven(self, stored: Stored) -> Document:
        hashes = inclusion_proof(stored.index, self.size, self.subtree)
        if not verify_inclusion(leaf_hash(stored.leaf), stored.index, self.size, hashes, self._root):
            message = f"Record {stored.index} does not lead to the root that the checkpoint was signed for; run a verification."
            raise AuditError(message, "audit_tree_broken")
        return {"index": stored.index, "leaf": _base64(stored.leaf), "proof": proof_text(stored.index, hashes, self.note)}


def _personal(stored: Stored, erasures: Mapping[str, int], disclosure: Disclosure | None) -> Document:
    """A destroyed key is known by its erasure record, or by its absence where keys are looked for."""
    if not stored.sealed:
        return {}
    key = disclosure.keys(stored.key_id) if disclosure is not None else None
    if stored.key_id in erasures or (disclosure is not None and key is None):
        return {"erased": {"key_id": stored.key_id, "sealed": _base64(stored.sealed), "erasure": erasures.get(stored.key_id)}}
    if disclosure is None or key is None:
        return {}
    opened = _opened(stored, key, disclosure.names)
    return {"opened": opened} if opened else {}


def _opened(stored: Stored, key: bytes, names: frozenset[str] | None) -> Document:
    """Salt and value of each field: enough to recompute its commitment, and no help with any other field's."""
    leaf, opened = orjson.loads(stored.leaf), Document()
    for name, value in open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key).items():
        if names is None or name in names:
            salted = salt(key, leaf.get("id", ""), name)
            if sha256(salted + value.encode()).hexdigest() != leaf["commitments"].get(name):
                message = f"The field {name} of record {stored.index} is not what was committed to; run a verification with --personal."
                raise AuditError(message, "commitment_wrong")
            opened[name] = {"salt": _base64(salted), "value": value}
    return opened


def _check_names(decision_id: str, names: frozenset[str], records: Sequence[Stored]) -> None:
    known = {name for stored in records for name in orjson.loads(stored.leaf).get("commitments", ())}
    if not names <= known:
        missing, there = ", ".join(sorted(names - known)), ", ".join(sorted(known)) or "none"
        raise AuditError(f"Decision {decision_id} has no personal field {missing}; there are: {there}.", "field_unknown")


def _details(stored: Stored) -> Mapping[str, Any]:
    details = orjson.loads(stored.leaf).get("details")
    return details if isinstance(details, dict) else {}


def _cosignatures(note: str) -> int:
    return sum(len(signature) == _COSIGNATURE for _, signature in split_note(note)[1])


def _signed_by(verifier: Any, note: str) -> bool:
    try:
        NoteVerifier(str(verifier)).open_checkpoint(note)
    except AuditError:
        return False
    return True


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()
