"""The vectors of evidence bundles held by a third reading, made of the ledger's own parts, that knows nothing of the two verifiers. What
those parts do not judge (a bundle's form, what is given beside it, witnesses, a second signature by the same key) is left to the two."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from typing import Any

import pytest

from lockgate_verify.note import LOG, WITNESS, Checkpoint, Key, Proof
from router.audit.records.canonical import is_canonical
from router.audit.records.record import SCHEMAS
from router.audit.records.sealing import sealed_digest
from router.audit.tree.checkpoint import NoteVerifier, note_checkpoint
from router.audit.tree.merkle import leaf_hash, verify_consistency, verify_inclusion
from router.audit.tree.tlog_proof import proof_text
from router.errors import AuditError
from tests.conformance.test_tlog import SIGNATURE, TEXT, VERIFIER
from tests.unit.verifier.vectors import Vector, raw_bundle, vectors

APART = {"signature-twice"}
JUDGED = [
    name for name, vector in vectors().items() if vector["status"] not in (2, 11, 16) and vector["policy"] is None and name not in APART
]
ENDLESS = float("inf")
Terms = dict[str, tuple[int, float]]
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
HASHES = [
    "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=",
    "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=",
    "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=",
    "RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=",
    "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=",
]


def failing(vector: Vector) -> int:
    """The status of the first step that fails, 0 when all that is judged here holds."""
    bundle = json.loads(raw_bundle(vector))
    every = [*bundle["records"], *bundle["erasures"], *bundle["rotations"]]
    keys = dict.fromkeys(vector["keys"], (0, ENDLESS))
    steps = (
        (12, lambda: all(map(canonical, every))),
        (13, lambda: all(stands(record, record["proof"], bundle["checkpoint"]) for record in every)),
        (14, lambda: all(followed(keys, rotation) for rotation in bundle["rotations"])),
        (15, lambda: signed(keys, bundle["checkpoint"])),
        (17, lambda: vector["checkpoint"] is None or continues(keys, bundle, vector["checkpoint"])),
        (17, lambda: one_tree_a_size(bundle, vector["checkpoint"])),
        (18, lambda: all(map(opened, bundle["records"]))),
        (19, lambda: all(erased(bundle, record) for record in bundle["records"])),
        (20, lambda: about(bundle)),
    )
    return next((status for status, holds in steps if not holds()), 0)


def leaf(record: Any) -> Any:
    return json.loads(b64decode(record["leaf"]))


def canonical(record: Any) -> bool:
    return is_canonical(b64decode(record["leaf"])) and leaf(record)["schema"] in SCHEMAS


def stands(record: Any, proof: str, note: str) -> bool:
    """Written anew from its hashes, the proof is the same text."""
    hashes = [b64decode(line) for line in proof.partition("\n\n")[0].split("\n")[2:]]
    tree = note_checkpoint(note)
    leads = verify_inclusion(leaf_hash(b64decode(record["leaf"])), record["index"], tree.size, hashes, tree.root)
    return leads and proof_text(record["index"], hashes, note) == proof


def opens(key: str, note: str) -> bool:
    try:
        NoteVerifier(key).open_checkpoint(note)
    except AuditError:
        return False
    return True


def followed(keys: Terms, rotation: Any) -> bool:
    details, note = leaf(rotation).get("details", {}), (rotation["handover"] or "").partition("\n\n")[2]
    index = rotation["index"]
    if leaf(rotation).get("event") != "key_rotated":
        return False
    if note:
        if not (stands(rotation, rotation["handover"], note) and all(opens(details[name], note) for name in ("old", "new"))):
            return False
        if note_checkpoint(note).size != index + 1:
            return False
    retire(keys, details, index, vouched=bool(note))
    return True


def retire(keys: Terms, details: Any, index: int, *, vouched: bool) -> None:
    """One rotation is all that the vectors have. The tree that ends with it is the new key's."""
    old, new = (next((key for key in keys if key.startswith(details[name])), None) for name in ("old", "new"))
    if old is not None:
        keys[old] = (0, index)
    if new is not None or (old is not None and vouched):
        keys[details["new"]] = (index + 1, ENDLESS)
    if new is not None and old is None and vouched:
        keys[details["old"]] = (0, index)


def signed(keys: Terms, note: str) -> bool:
    size = note_checkpoint(note).size
    return any(first <= size <= last and opens(key, note) for key, (first, last) in keys.items())


def continues(keys: Terms, bundle: Any, note: str) -> bool:
    older, newer = sorted((note_checkpoint(note), note_checkpoint(bundle["checkpoint"])), key=lambda one: one.size)
    path = bundle["consistency"] or {"old": older.size, "new": newer.size, "hashes": []}
    fits = (path["old"], path["new"]) == (older.size, newer.size)
    hashes = [b64decode(each) for each in path["hashes"]] if older.size != newer.size else []
    return fits and signed(keys, note) and verify_consistency(older.size, newer.size, older.root, newer.root, hashes)


def one_tree_a_size(bundle: Any, outside: str | None) -> bool:
    """Of the checkpoints by which keys were handed over, and of those that are to be believed."""
    handovers = [rotation["handover"].partition("\n\n")[2] for rotation in bundle["rotations"] if rotation["handover"]]
    trees = [note_checkpoint(note) for note in (*handovers, bundle["checkpoint"], *([outside] if outside else []))]
    return len({(tree.size, tree.root) for tree in trees}) == len({tree.size for tree in trees})


def opened(record: Any) -> bool:
    said = leaf(record).get("commitments", {})
    fields = record.get("opened", {}).items()
    return all(said.get(name) == sha256(b64decode(one["salt"]) + one["value"].encode()).hexdigest() for name, one in fields)


def erased(bundle: Any, record: Any) -> bool:
    one = record.get("erased")
    if one is None:
        return True
    ordering = {erasure["index"]: leaf(erasure) for erasure in bundle["erasures"]}
    named = one["erasure"] is None or ordering.get(one["erasure"], {}).get("details", {}).get("key_id") == one["key_id"]
    return named and sealed_digest(one["key_id"], b64decode(one["sealed"])) == leaf(record)["sealed"]


def about(bundle: Any) -> bool:
    leaves = [leaf(record) for record in bundle["records"]]
    return all(each.get("id") == bundle["decision"] for each in leaves) and any(
        each["schema"].startswith("lockgate.decision") for each in leaves
    )


@pytest.mark.parametrize("name", JUDGED)
def test_a_third_reading_comes_to_the_same_end(name: str) -> None:
    """The first step that fails is the vector's."""
    assert failing(vectors()[name]) == vectors()[name]["status"]


def test_the_published_cosigned_checkpoint_is_read() -> None:
    """The example of C2SP tlog-cosignature: origin, size, who signed, and the witness's time."""
    read = Checkpoint.parse(EXAMPLE)
    assert (read.origin, read.size) == ("example.com/behind-the-sofa", 20852163)
    assert [one.name for one in read.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(read.signatures[1].raw[:8], "big") == 1679315147
    assert len(read.signatures[1].raw) == 72
    assert note_checkpoint(EXAMPLE).root == read.root


def test_the_published_proof_is_read_and_written() -> None:
    """The example of C2SP tlog-proof without its extra data, which a bundle never has."""
    written = proof_text(73894, [b64decode(each) for each in HASHES], EXAMPLE)
    assert written.startswith("\n".join(["c2sp.org/tlog-proof@v1", "index 73894", *HASHES, "", "example.com/behind-the-sofa"]))
    read = Proof.parse(written)
    assert (read.index, len(read.hashes), read.note) == (73894, 5, EXAMPLE)


def test_the_published_key_and_signature_are_right() -> None:
    """Those of Go's `sumdb/note`."""
    key = Key.parse(VERIFIER, LOG)
    signature = b64decode(SIGNATURE.split(" ")[2])
    assert key.signed(TEXT.encode(), signature[4:])
    assert signature[:4] == key.id
    assert not key.signed(TEXT.encode() + b" ", signature[4:])
    with pytest.raises(ValueError, match="not such a key"):
        Key.parse(VERIFIER, WITNESS)
