"""The ten steps.

 1. Format: strict JSON, the keys and types of `lockgate.bundle.v1`, canonical base64, well-formed notes and proofs.
 2. Leaves: each is canonical JSON (RFC 8785) of a known version.
 3. Inclusion: each leaf stands at its index in the tree of the bundle's checkpoint.
 4. Rotations: old and new key have both signed the tree that ends with the rotation.
 5. Signature: the checkpoint is signed by a key that is given, or was reached from one, and in force at that size.
 6. Witnesses: the cosignatures are right and meet the policy's quorum.
 7. Consistency: the outside checkpoint is signed likewise, and one of the two trees is the beginning of the other; a hand-over of as many
    records as either is of the same tree.
 8. Opened fields: salt and value make the commitment in the leaf.
 9. Erasures: the sealed part is the leaf's, and the record that ordered the erasure names its key.
10. Decision: all records are about the decision that the bundle names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from lockgate_verify import strict_json
from lockgate_verify.bundle import Bundle, Record, parse_bundle
from lockgate_verify.failure import Refusal
from lockgate_verify.merkle import consistent, included
from lockgate_verify.note import Checkpoint, Key
from lockgate_verify.policy import NONE, Policy
from lockgate_verify.trust import Given, Reign, reigns, signer

Leaf = dict[str, Any]
_SCHEMA = re.compile(r"lockgate\.[a-z_]{1,64}\.v1")


@dataclass(frozen=True, slots=True)
class Holding:
    """A bundle that holds. `witnessed` are (witness, Unix seconds); `opened` (record, field, value); `erased` (record, its erasure)."""

    decision: str
    checkpoint: Checkpoint
    records: tuple[tuple[int, Leaf], ...]
    signer: Key
    handed_over: bool
    policy: Policy | None
    witnessed: tuple[tuple[str, int], ...]
    outside: int | None
    opened: tuple[tuple[int, str, str], ...]
    erased: tuple[tuple[int, int | None], ...]

    @property
    def under_quorum(self) -> bool:
        return self.policy is not None and self.policy.quorum != NONE


def verify(raw: bytes, brought: Given) -> Holding:
    """Raises Refusal by the first step that fails."""
    bundle = parse_bundle(raw)  # 1
    checkpoint = bundle.checkpoint
    leaves = [_leaf(record) for record in bundle.all_records()]  # 2
    for record in bundle.all_records():
        _check_inclusion(record, checkpoint)  # 3
    own, ordering, rotating = _split(bundle, leaves)
    found = reigns(bundle, rotating, brought.keys)  # 4
    key = signer(5, "", checkpoint, found)  # 5
    witnessed = () if brought.policy is None else _witnessed(checkpoint, brought.policy)  # 6
    if brought.outside is not None:
        _check_outside(bundle, brought.outside, found)  # 7
    _check_handovers(bundle, brought.outside)  # 7
    opened = tuple(_opened(record, leaf) for record, leaf in zip(bundle.records, own, strict=True))  # 8
    erasures = {record.index: leaf for record, leaf in zip(bundle.erasures, ordering, strict=True)}
    for record, leaf in zip(bundle.records, own, strict=True):
        _check_erased(record, leaf, erasures)  # 9
    _check_decision(bundle, own)  # 10
    return Holding(
        bundle.decision,
        checkpoint,
        tuple((record.index, leaf) for record, leaf in zip(bundle.records, own, strict=True)),
        key,
        key not in brought.keys,
        brought.policy,
        witnessed,
        None if brought.outside is None else brought.outside.size,
        tuple(each for part in opened for each in part),
        tuple((record.index, record.erased.erasure) for record in bundle.records if record.erased is not None),
    )


def _leaf(record: Record) -> Leaf:
    try:
        leaf = strict_json.parse(record.leaf)
        right = isinstance(leaf, dict) and strict_json.canonical(leaf) == record.leaf
    except strict_json.StrictError:
        right = False
    if not right:
        raise Refusal(2, "leaf_not_canonical", f"The leaf of record {record.index} is not canonical JSON.")
    if not isinstance(leaf.get("schema"), str) or not _SCHEMA.fullmatch(leaf["schema"]):
        raise Refusal(2, "leaf_schema_unknown", f"The leaf of record {record.index} has a schema that this verifier does not know.")
    return dict(leaf)


def _check_inclusion(record: Record, checkpoint: Checkpoint) -> None:
    proof = record.proof
    if proof.index != record.index or proof.note != checkpoint.note:
        raise Refusal(3, "proof_other", f"The proof of record {record.index} is of another record or checkpoint.")
    if not included(record.leaf, record.index, checkpoint.size, proof.hashes, checkpoint.root):
        raise Refusal(3, "inclusion_wrong", f"Record {record.index} is not in the tree that the checkpoint describes.")


def _split(bundle: Bundle, leaves: list[Leaf]) -> tuple[list[Leaf], list[Leaf], list[Leaf]]:
    first = len(bundle.records)
    second = first + len(bundle.erasures)
    return leaves[:first], leaves[first:second], leaves[second:]


def _witnessed(checkpoint: Checkpoint, policy: Policy) -> tuple[tuple[str, int], ...]:
    times = dict[str, int]()
    for name, key in policy.witnesses.items():
        try:
            at = checkpoint.cosigned_by(key)
        except ValueError as error:
            raise Refusal(6, "cosignature_wrong", f"The cosignature by the witness {_shown(name)} is wrong.") from error
        if at is not None:
            times[name] = at
    if not policy.met(times):
        names = " and ".join(map(_shown, times)) or "nobody"
        raise Refusal(6, "quorum_missing", f"The checkpoint is cosigned by {names}, which is not the quorum that the policy asks for.")
    return tuple((_shown(name), at) for name, at in times.items())


def _shown(name: str) -> str:
    return name.encode("latin-1").decode("utf-8", "replace")


def _check_outside(bundle: Bundle, outside: Checkpoint, found: list[Reign]) -> None:
    checkpoint, path = bundle.checkpoint, bundle.consistency
    if outside.origin != checkpoint.origin:
        raise Refusal(7, "outside_other_origin", f"The outside checkpoint is of {outside.origin}, the bundle of {checkpoint.origin}.")
    signer(7, "outside_", outside, found)
    if outside.size == checkpoint.size:
        _check_same(outside, checkpoint)
        return
    older, newer = sorted((outside, checkpoint), key=lambda each: each.size)
    if path is None or (path.old, path.new) != (older.size, newer.size):
        sentence = f"The bundle has no proof that leads from {older.size} records to {newer.size}."
        raise Refusal(7, "consistency_missing", sentence)
    if not consistent(older.size, newer.size, older.root, newer.root, path.hashes):
        sentence = f"The history of {newer.size} records does not continue the one of {older.size}."
        raise Refusal(7, "consistency_wrong", sentence)


def _check_handovers(bundle: Bundle, outside: Checkpoint | None) -> None:
    """Whoever signed them: of one size there is one tree."""
    handovers = [rotation.handover[1] for rotation in bundle.rotations if rotation.handover is not None]
    for checkpoint in (bundle.checkpoint, *([] if outside is None else [outside])):
        for handover in handovers:
            if handover.size == checkpoint.size:
                _check_same(handover, checkpoint)


def _check_same(one: Checkpoint, other: Checkpoint) -> None:
    if one.root != other.root:
        raise Refusal(7, "history_forked", f"Two different histories of the first {one.size} records were signed.")


def _opened(record: Record, leaf: Leaf) -> list[tuple[int, str, str]]:
    commitments = leaf.get("commitments")
    for name, opened in record.opened.items():
        said = commitments.get(name) if isinstance(commitments, dict) else None
        if not isinstance(said, str):
            raise Refusal(8, "commitment_missing", f"Record {record.index} commits to no field {name}.")
        if sha256(opened.salt + opened.value.encode()).hexdigest() != said:
            raise Refusal(8, "commitment_wrong", f"The field {name} of record {record.index} is not what was recorded.")
    return [(record.index, name, opened.value) for name, opened in record.opened.items()]


def _check_erased(record: Record, leaf: Leaf, erasures: dict[int, Leaf]) -> None:
    erased = record.erased
    if erased is None:
        return
    if leaf.get("sealed") != sha256(erased.key_id.encode() + b"\x00" + erased.sealed).hexdigest():
        raise Refusal(9, "sealed_wrong", f"The sealed part of record {record.index} is not the one that was recorded.")
    if erased.erasure is None:
        return
    ordering = erasures.get(erased.erasure)
    if ordering is None:
        raise Refusal(
            9, "erasure_missing", f"The bundle lacks record {erased.erasure}, which is said to have erased record {record.index}."
        )
    details = ordering.get("details")
    named = details.get("key_id") if isinstance(details, dict) else None
    if ordering["schema"] != "lockgate.system.v1" or ordering.get("event") != "subject_erased" or named != erased.key_id:
        raise Refusal(9, "erasure_wrong", f"Record {erased.erasure} is no erasure of what record {record.index} was sealed under.")


def _check_decision(bundle: Bundle, leaves: list[Leaf]) -> None:
    for record, leaf in zip(bundle.records, leaves, strict=True):
        if leaf.get("id") != bundle.decision:
            raise Refusal(10, "decision_other", f"Record {record.index} is not about decision {bundle.decision}.")
    if not any(leaf["schema"] == "lockgate.decision.v1" for leaf in leaves):
        raise Refusal(10, "decision_missing", f"No record of the bundle is the decision {bundle.decision} itself.")


def moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
