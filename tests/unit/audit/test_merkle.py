from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.audit.tree.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    peak_positions,
    verify_consistency,
    verify_inclusion,
)

SIZES = st.integers(1, 130)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(size)]


def tree_hash(hashes: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it, over leaf hashes."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256().digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(tree_hash(hashes[:split]), tree_hash(hashes[split:]))


def subtree(level: int, index: int) -> bytes:
    return tree_hash([leaf_hash(b"%d" % number) for number in range(index << level, (index + 1) << level)])


@given(SIZES)
def test_an_appended_tree_has_the_recursive_root(size: int) -> None:
    """The compact range is only a cheaper way to the same hash."""
    tree = CompactRange()
    for hashed in leaves(size):
        tree.append(hashed)
    assert tree.root() == tree_hash(leaves(size))
    assert tree.peaks == [subtree(*position) for position in peak_positions(size)]


@given(SIZES)
def test_every_complete_subtree_is_reported_once(size: int) -> None:
    """Stored nodes come from this."""
    tree, seen = CompactRange(), dict[tuple[int, int], bytes]()
    for hashed in leaves(size):
        tree.append(hashed, lambda level, index, node: seen.setdefault((level, index), node) and None)
    assert seen == {(level, index): subtree(level, index) for level in range(1, 8) for index in range(size >> level)}


@given(SIZES, st.data())
def test_inclusion_is_proved_and_nothing_else_is(size: int, data: st.DataObject) -> None:
    """A proof holds for its leaf, place, size and root, and fails when any of these or any step changes."""
    index, root = data.draw(st.integers(0, size - 1)), tree_hash(leaves(size))
    leaf, path = leaves(size)[index], inclusion_proof(index, size, subtree)
    assert verify_inclusion(leaf, index, size, path, root)
    assert not verify_inclusion(leaf_hash(b"x"), index, size, path, root)
    assert not verify_inclusion(leaf, index, size, [*path, root], root)
    assert not verify_inclusion(leaf, size, size, path, root)
    assert not verify_inclusion(leaf, index, size, path, EMPTY_ROOT)
    if path:
        assert not verify_inclusion(leaf, index, size, path[:-1], root)
        assert not verify_inclusion(leaf, index ^ 1, size, path, root)


@given(SIZES, st.data())
def test_consistency_is_proved_and_nothing_else_is(size: int, data: st.DataObject) -> None:
    """A later tree is shown to begin with an earlier one, and only with that."""
    old = data.draw(st.integers(1, size))
    old_root, new_root, path = tree_hash(leaves(old)), tree_hash(leaves(size)), consistency_proof(old, size, subtree)
    assert verify_consistency(old, size, old_root, new_root, path)
    assert not verify_consistency(old, size, leaf_hash(b"x"), new_root, path)
    assert not verify_consistency(old, size, old_root, leaf_hash(b"x"), path)
    assert not verify_consistency(old, size, old_root, new_root, [*path, new_root])
    if path:
        assert not verify_consistency(old, size, old_root, new_root, path[:-1])
        assert not verify_consistency(old, size, old_root, new_root, [leaf_hash(b"x"), *path[1:]])


def test_impossible_proofs_are_refused() -> None:
    """Asking for a place or a size that is not there is the caller's mistake."""
    for index, size in ((0, 0), (3, 3), (-1, 2)):
        with pytest.raises(ValueError, match="is not in a tree"):
            inclusion_proof(index, size, subtree)
    for old, new in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="no consistency proof"):
            consistency_proof(old, new, subtree)
    with pytest.raises(ValueError, match="peaks"):
        CompactRange([EMPTY_ROOT], 3)
    assert not verify_consistency(0, 3, EMPTY_ROOT, EMPTY_ROOT, [])
