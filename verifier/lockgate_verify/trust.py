"""What the verifier of a bundle brings along himself, and which keys of the log that makes good at which size of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockgate_verify.bundle import Bundle, Record, Rotation
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
    """`key` may have signed checkpoints of `since` to `until` records; None means that nothing retired it. Of a key that no trusted one
    leads to, because one before it was lost, it is only known that it came next."""

    key: Key
    since: int
    until: int | None = None
    vouched: bool = True

    def holds_at(self, size: int) -> bool:
        return self.since <= size and (self.until is None or size <= self.until)


@dataclass(frozen=True, slots=True)
class Change:
    """Of the key in force. `old` is None where it did not vouch; of a lost key no more than `old_id`, its name and id, may be known."""

    index: int
    old_id: str
    old: Key | None
    new: Key

    def ends(self, reign: Reign) -> bool:
        """A name and id are four bytes of a hash, which somebody may make a second key for: they can end a reign, but hand over nothing."""
        same = str(reign.key) == self.old_id if self.old is None else reign.key == self.old
        return same and reign.until is None


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
    return follow([_change(rotation, leaf, bundle.checkpoint) for rotation, leaf in zip(bundle.rotations, leaves, strict=True)], keys)


def follow(changes: Sequence[Change], keys: Sequence[Key]) -> list[Reign]:
    """A trusted key leads to the key that it handed over to, and to the one that handed over to it, for both have signed the hand-over.
    Where the old key did not vouch, its reign ends and leads nowhere. The hand-over, of index + 1 records, is the new key's first: what the
    old one signs of that size by itself is no hand-over, and whoever stole it has no other way to the record of its successor."""
    found = [Reign(key, 0) for key in keys]
    for change in changes:
        reigning = next((reign for reign in found if change.ends(reign)), None)
        if reigning is not None:
            reigning.until = change.index
        following = next((reign for reign in found if reign.key == change.new and reign.until is None), None)
        if following is not None:
            following.since = change.index + 1
        elif reigning is not None:
            found.append(Reign(change.new, change.index + 1, vouched=reigning.vouched and change.old is not None))
    for place, change in reversed(list(enumerate(changes))):
        known = [reign.key for reign in found if reign.vouched]
        if change.old and change.new in known and change.old not in known:
            since = next((one.index + 1 for one in reversed(changes[:place]) if one.new == change.old), 0)
            found.append(Reign(change.old, since, change.index))
    return found


def signer(step: int, prefix: str, checkpoint: Checkpoint, found: Sequence[Reign]) -> Key:
    """Whose signature counts on this checkpoint, the latest of them; `prefix` begins the id of a refusal."""
    which = "outside checkpoint" if prefix else "checkpoint"
    claims = [(reign, checkpoint.signed_by(reign.key)) for reign in found if reign.key.name == checkpoint.origin]
    if any(right is False for reign, right in claims if reign.vouched):
        raise Refusal(step, f"{prefix}signature_wrong", f"The {which}'s signature by {checkpoint.origin} is wrong.")
    signing = [reign for reign, right in claims if right and reign.vouched]
    if not signing:
        raise _unsigned(step, prefix, which, checkpoint.origin, [reign.since - 1 for reign, right in claims if right])
    in_force = [reign for reign in signing if reign.holds_at(checkpoint.size)]
    if not in_force:
        sentence = f"The {which} is signed by a key that was not in force at {checkpoint.size} records."
        raise Refusal(step, f"{prefix}key_not_in_force", sentence)
    return max(in_force, key=lambda reign: reign.since).key


def _unsigned(step: int, prefix: str, which: str, origin: str, not_vouched: Sequence[int]) -> Refusal:
    """`not_vouched` are the rotations to keys that did sign it."""
    if not_vouched:
        sentence = f"The {which} is signed by a key that record {not_vouched[0]} names, but a key before it was lost and vouches for none."
        return Refusal(step, f"{prefix}key_not_vouched", sentence)
    return Refusal(step, f"{prefix}signature_missing", f"The {which} of {origin} carries no signature by a key that is trusted.")


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


def _change(rotation: Rotation, leaf: dict[str, Any], checkpoint: Checkpoint) -> Change:
    index, details = rotation.record.index, leaf.get("details")
    try:
        if leaf["schema"] != "lockgate.system.v1" or leaf.get("event") != "key_rotated" or not isinstance(details, dict):
            raise ValueError("another record")
        old_id, new = "+".join(str(details.get("old")).split("+")[:2]), Key.parse(str(details.get("new")), LOG)
        old = None if rotation.handover is None else Key.parse(str(details.get("old")), LOG)
    except ValueError as error:
        raise Refusal(4, "rotation_malformed", f"Record {index} is no rotation from one key to another.") from error
    if old == new or {old_id.split("+")[0], new.name} != {checkpoint.origin}:
        raise Refusal(4, "rotation_malformed", f"Record {index} is no rotation from one key to another.")
    if rotation.handover is not None and old is not None:
        _check_handover(rotation.record, *rotation.handover, checkpoint, (old, new))
    return Change(index, old_id, old, new)


def _check_handover(record: Record, proof: Proof, handover: Checkpoint, checkpoint: Checkpoint, keys: tuple[Key, Key]) -> None:
    """It ends with the record, and both keys have signed it: the old one vouches, the new one takes over."""
    ends = handover.origin == checkpoint.origin and handover.size == record.index + 1 and proof.index == record.index
    stands = ends and included(record.leaf, record.index, handover.size, proof.hashes, handover.root)
    if not (stands and all(handover.signed_by(key) for key in keys)):
        raise Refusal(4, "handover_wrong", f"The old key does not hand over to the new one by record {record.index}.")
