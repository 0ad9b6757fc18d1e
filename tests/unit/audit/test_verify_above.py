"""The hashes that are stored above the leaves, over runs of 256 records and of 256 such runs."""

from __future__ import annotations

import pytest

from router.audit.checking.above import wrong_above, wrong_runs
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.audit.tree.proof import STRIDE

SIZE = 2**16 + 700


class Stored:
    def __init__(self, size: int) -> None:
        self.leaves = [leaf_hash(b"%d" % place) for place in range(size)]
        self.above: dict[tuple[int, int], bytes] = {}
        tree = CompactRange()
        for each in self.leaves:
            tree.append(each, lambda level, index, made: self.above.update({(level, index): made}) if level % STRIDE == 0 else None)

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        return [self.above[level, index] for index in range(start, end) if (level, index) in self.above]


@pytest.fixture(scope="module")
def whole() -> Stored:
    return Stored(SIZE)


def test_what_the_records_made_is_theirs(whole: Stored) -> None:
    assert list(wrong_runs(whole, 0, whole.leaves)) == []
    assert list(wrong_runs(whole, 300, whole.leaves[300:900])) == []
    assert list(wrong_above(whole, SIZE)) == []


def test_a_run_of_runs_that_is_another_one_is_named(whole: Stored) -> None:
    """Or that is not there."""
    kept = whole.above.pop((16, 0))
    assert list(wrong_above(whole, SIZE)) == [(0, 2**16)]
    whole.above[16, 0] = bytes(32)
    assert list(wrong_above(whole, SIZE)) == [(0, 2**16)]
    whole.above[16, 0] = kept


def test_of_records_that_begin_in_a_run_its_own_is_not_told(whole: Stored) -> None:
    altered = [*whole.leaves[300:600], bytes(32), *whole.leaves[601:1100]]
    assert list(wrong_runs(whole, 300, altered)) == [(512, 768)]
