"""Texts that are about the same, grouped by their vectors."""

from __future__ import annotations

import numpy as np
import pytest

from embeddings.ports import Matrix
from embeddings.topics import MOST, groups

DIRECTIONS = np.eye(4, dtype=np.float32)


def around(direction: int, count: int, seed: int = 1) -> Matrix:
    noise = np.random.default_rng(seed).normal(0, 0.1, (count, 4)).astype(np.float32)
    vectors = DIRECTIONS[direction] + noise
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_texts_of_one_direction_are_one_group() -> None:
    """The largest first; what stands alone is in none."""
    vectors = np.concatenate([around(0, 3), around(1, 5), around(2, 1)])
    assert groups(vectors, 0.5, 2) == [[3, 4, 5, 6, 7], [0, 1, 2]]


def test_the_same_texts_give_the_same_groups() -> None:
    """In whatever order they come."""
    vectors = np.concatenate([around(0, 4), around(3, 4)])
    order = np.random.default_rng(3).permutation(8)
    found = {frozenset(int(order[place]) for place in group) for group in groups(vectors[order], 0.5, 2)}
    assert found == {frozenset(range(4)), frozenset(range(4, 8))}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_texts_are_no_topic(count: int) -> None:
    """Nor is a likeness that nothing reaches."""
    assert groups(around(0, count) if count else np.empty((0, 4), dtype=np.float32), 0.5, 3) == []
    assert groups(np.concatenate([around(0, 3), around(1, 3)]), 1.0, 2) == []


def test_more_than_fit_are_refused() -> None:
    """Distances grow with the square."""
    with pytest.raises(ValueError, match="at most"):
        groups(np.zeros((MOST + 1, 4), dtype=np.float32), 0.5, 2)
