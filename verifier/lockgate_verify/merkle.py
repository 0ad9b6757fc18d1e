"""Inclusion and consistency in the Merkle tree of RFC 6962, as RFC 9162 sections 2.1.3.2 and 2.1.4.2 check them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """`path` leads from the leaf's sibling upwards."""
    if not 0 <= index < size:
        return False
    node, last, hashed = index, size - 1, leaf_hash(leaf)
    for step in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            hashed = node_hash(step, hashed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, step)
        node, last = node >> 1, last >> 1
    return last == 0 and hashed == root


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the first `old` leaves of the tree of `new` are those of `old_root`; 0 < old < new."""
    if not 0 < old < new or not path:
        return False
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, step)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
