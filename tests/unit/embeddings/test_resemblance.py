from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embeddings.resemblance import crossings, nearest_rivals


@given(st.integers(0, 1000))
def test_with_as_many_rivals_as_there_are_the_nearest_is_found(seed: int) -> None:
    """Compared with every example one by one."""
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(12, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.arange(12) % 3
    rows = np.array([0, 1, 2, 5, 7, 11])
    found = nearest_rivals(vectors, labels, rows, chance.normal(size=(6, 3)))
    for place, row in enumerate(rows.tolist()):
        cosines = vectors @ vectors[row]
        own = [cosines[other] for other in range(12) if labels[other] == labels[row] and other != row]
        others = {other: cosines[other] for other in range(12) if labels[other] != labels[row]}
        nearest = max(others, key=lambda other: others[other])
        assert np.isclose(found.own_similarity[place], max(own), atol=1e-5)
        assert np.isclose(found.rival_similarity[place], others[nearest], atol=1e-5)
        assert (found.rival[place], found.rival_row[place]) == (labels[nearest], nearest)
        assert crossings(found)[place] == (found.rival_similarity[place] > found.own_similarity[place])


def test_two_intents_have_one_rival_each() -> None:
    """There is nobody else to be near to."""
    vectors = np.eye(4, dtype=np.float32)
    found = nearest_rivals(vectors, np.array([0, 0, 1, 1]), np.arange(4), np.zeros((4, 2)))
    assert found.rival.tolist() == [1, 1, 0, 0]
