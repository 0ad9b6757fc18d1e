"""The Merkle tree of RFC 6962 section 2.1: hashes, an appendable compact range, inclusion and consistency proofs and their verification.

The verifications follow RFC 9162 sections 2.1.3.2 and 2.1.4.2, which say the same tree's algorithms step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()

Subtree = Callable[[int, int], bytes]
"""(level, index) -> hash of the complete subtree over leaves [index * 2**level, (index + 1) * 2**level)."""


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The roots of the complete subtrees that make up the first `size` leaves, largest first. Appending is amortised O(1).

    `completed`, when given, is called with (level, index, hash) for every complete subtree of more than one leaf as it is finished.
    """

    def __init__(self, peaks: Sequence[bytes] = (), size: int = 0) -> None:
        if len(peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(peaks)}")
        self.peaks = list(peaks)
        self.size = size

    def copy(self) -> CompactRange:
        return CompactRange(self.peaks, self.size)

    def append(self, hashed: bytes, completed: Callable[[int, int, bytes], None] | None = None) -> None:
        """`hashed` is a leaf hash."""
        peaks, index, level = self.peaks, self.size, 0
        while index & 1:
            hashed = sha256(b"\x01" + peaks.pop() + hashed).digest()
            index >>= 1
            level += 1
            if completed is not None:
                completed(level, index, hashed)
        peaks.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY_ROOT
        hashed = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            hashed = node_hash(peak, hashed)
        return hashed


def peak_positions(size: int) -> list[tuple[int, int]]:
    """(level, index) of the complete subtrees that make up the first `size` leaves, largest first."""
    positions, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            positions.append((level, start >> level))
            start += 1 << level
    return positions


def range_hash(start: int, end: int, subtree: Subtree) -> bytes:
    """MTH of leaves [start, end), where `start` is a multiple of a power of two not smaller than `end - start`."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return subtree(level, start >> level)
    middle = start + (1 << (count.bit_length() - 1))
    return node_hash(range_hash(start, middle, subtree), range_hash(middle, end, subtree))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]), RFC 6962 section 2.1.1."""
    if not 0 <= index < size:
        raise ValueError(f"record {index} is not in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < middle:
            path.append(range_hash(middle, end, subtree))
            end = middle
        else:
            path.append(range_hash(start, middle, subtree))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[new]), RFC 6962 section 2.1.2."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof leads from a tree of {old} to one of {new}")
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if old <= middle:
            path.append(range_hash(middle, end, subtree))
            end = middle
        else:
            path.append(range_hash(start, middle, subtree))
            start, whole = middle, False
    if not whole:
        path.append(range_hash(start, end, subtree))
    return path[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that the proof leads to from a leaf hash; None when the proof cannot belong to that place."""
    if not 0 <= index < size:
        return None
    node, last, hashed = index, size - 1, leaf
    for step in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            hashed = node_hash(step, hashed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, step)
        node, last = node >> 1, last >> 1
    return hashed if last == 0 else None


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    return root_from_inclusion(leaf, index, size, path) == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    if old == new:
        return not path and old_root == new_root
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
