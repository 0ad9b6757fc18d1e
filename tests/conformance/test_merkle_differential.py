"""The same trees by a library of other people, which follows RFC 9162 as well."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from router.audit.tree.merkle import CompactRange, consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion

COUNT = 300
LEAVES = [f'{{"number":{number}}}'.encode() for number in range(COUNT)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
SIZES = st.integers(1, COUNT)


@cache
def theirs() -> Any:
    tree = InmemoryTree(algorithm="sha256")
    for leaf in LEAVES:
        tree.append_entry(leaf)
    return tree


def subtree(level: int, index: int) -> bytes:
    tree = CompactRange()
    for hashed in HASHES[index << level : (index + 1) << level]:
        tree.append(hashed)
    return tree.root()


def test_every_root_is_theirs() -> None:
    """Of all trees up to 300 leaves."""
    tree = CompactRange()
    for size, hashed in enumerate(HASHES, start=1):
        tree.append(hashed)
        assert tree.root() == theirs().get_root(size)


@given(SIZES, st.data())
def test_inclusion_proofs_are_theirs(size: int, data: st.DataObject) -> None:
    """They put the leaf's own hash into the path; without it, the steps are ours, and ours hold against their root."""
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, subtree)
    their = theirs().prove_inclusion(index + 1, size).path  # they count from one
    assert [step for step in their if step != HASHES[index]] == proof
    assert verify_inclusion(HASHES[index], index, size, proof, theirs().get_root(size))


@given(SIZES, st.data())
def test_consistency_proofs_hold_between_their_roots(size: int, data: st.DataObject) -> None:
    """And not from any other root."""
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, subtree)
    assert verify_consistency(old, size, theirs().get_root(old), theirs().get_root(size), proof)
    if old > 1:
        assert not verify_consistency(old, size, theirs().get_root(old - 1), theirs().get_root(size), proof)
