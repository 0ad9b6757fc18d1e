"""What the verifier of a bundle brings along himself, and which keys of the log that makes good at which size of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockgate_verify.bundle import Bundle, Record
from lockgate_verify.failure import Refusal, misuse
from lockgate_verify.merkle import included
from lockgate_verify.note import LOG, Checkpoint, Key, Proof
from lockgate_verify.policy import Policy, parse_policy

MAX_NOTE = 2**20


@dataclass(frozen=True, slots=True)
class Given:
    keys: tuple[Key, ...]
    policy: Policy | None = None
    outside: Checkpoint | None = None


@dataclass(slots=True)
class Reign:
    """`key` may have signed checkpoints of `since` to `until` records; None means that nothing retired it."""

    key: Key
    since: int
    until: int | None = None

    def holds_at(self, size: int) -> bool:
        return self.since <= size and (self.until is None or size <= self.until)


def given(keys: Sequence[str], policy: bytes | None = None, checkpoint: bytes | None = None) -> Given:
    """Raises Refusal. A policy that lists logs narrows the keys down to these, or gives them where there are none."""
    parsed = None if policy is None else parse_policy(policy)
    trusted = [_key(text) for text in keys]
    logs = parsed.logs if parsed else []
    if logs and trusted:
        trusted = [key for key in trusted if key in logs]
        if not trusted:
            raise misuse("key_not_in_policy", "None of the keys given is one of the logs that the policy lists.")
    if not (trusted or logs):
        raise misuse("key_missing", "No public key of a ledger is given: without one any checkpoint would do.")
    return Given(tuple(trusted or logs), parsed, None if checkpoint is None else _checkpoint(checkpoint))


def reigns(bundle: Bundle, leaves: Sequence[dict[str, Any]], keys: Sequence[Key]) -> list[Reign]:
    """Step 4: follows the rotations, whose leaves stand in `leaves`. Raises Refusal when one is not what it says."""
    found = [Reign(key, 0) for key in keys]
    for rotation, leaf in zip(bundle.rotations, leaves, strict=True):
        index = rotation.record.index
        old, new = _rotated(leaf, index, bundle.checkpoint.origin)
        if rotation.handover is not None:
            _check_handover(bundle, rotation.record, *rotation.handover, old)
        reigning = next((reign for reign in found if reign.key == old and reign.until is None), None)
        if reigning is not None:
            reigning.until = index if rotation.handover is None else rotation.handover[1].size
            if rotation.handover is not None and not any(reign.key == new and reign.until is None for reign in found):
                found.append(Reign(new, index + 1))
    return found


def signer(step: int, prefix: str, checkpoint: Checkpoint, found: Sequence[Reign]) -> Key:
    """Whose signature counts on this checkpoint, the latest of them; `prefix` begins the id of a refusal."""
    which = "outside checkpoint" if prefix else "checkpoint"
    claims = [(reign, checkpoint.signed_by(reign.key)) for reign in found if reign.key.name == checkpoint.origin]
    if any(right is False for _, right in claims):
        raise Refusal(step, f"{prefix}signature_wrong", f"The {which}'s signature by {checkpoint.origin} is wrong.")
    signing = [reign for reign, right in claims if right]
    if not signing:
        sentence = f"The {which} of {checkpoint.origin} carries no signature by a key that is trusted."
        raise Refusal(step, f"{prefix}signature_missing", sentence)
    in_force = [reign.key for reign in signing if reign.holds_at(checkpoint.size)]
    if not in_force:
        sentence = f"The {which} is signed by a key that was not in force at {checkpoint.size} records."
        raise Refusal(step, f"{prefix}key_not_in_force", sentence)
    return in_force[-1]


def _key(text: str) -> Key:
    try:
        return Key.parse(text.strip(), LOG)
    except ValueError as error:
        raise misuse("key_malformed", "A key given is not an Ed25519 verifier key of the form name+keyid+base64.") from error


def _checkpoint(raw: bytes) -> Checkpoint:
    try:
        if len(raw) > MAX_NOTE:
            raise ValueError("too large")
        return Checkpoint.parse(raw.decode("utf-8"))
    except ValueError as error:
        raise misuse("checkpoint_malformed", "The outside checkpoint is not a signed checkpoint.") from error


def _rotated(leaf: dict[str, Any], index: int, origin: str) -> tuple[Key, Key]:
    details = leaf.get("details")
    try:
        if leaf["schema"] != "lockgate.system.v1" or leaf.get("event") != "key_rotated" or not isinstance(details, dict):
            raise ValueError("another record")
        old, new = (Key.parse(str(details.get(name)), LOG) for name in ("old", "new"))
    except ValueError as error:
        raise Refusal(4, "rotation_malformed", f"Record {index} is no rotation from one key to another.") from error
    if old == new or {old.name, new.name} != {origin}:
        raise Refusal(4, "rotation_malformed", f"Record {index} is no rotation from one key to another.")
    return old, new


def _check_handover(bundle: Bundle, record: Record, proof: Proof, checkpoint: Checkpoint, old: Key) -> None:
    fits = checkpoint.origin == bundle.checkpoint.origin and checkpoint.size <= bundle.checkpoint.size and proof.index == record.index
    if not (fits and included(record.leaf, record.index, checkpoint.size, proof.hashes, checkpoint.root) and checkpoint.signed_by(old)):
        raise Refusal(4, "handover_wrong", f"The old key does not vouch for the rotation in record {record.index}.")
