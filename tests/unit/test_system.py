"""What a process leaves out of garbage collection when it begins to serve, and what it does not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from router.system import release_memory, settle_memory


class Circle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_is_built_later_is_let_go_of() -> None:
    """Though collections no longer look at what was there before, not even through what it refers to."""
    settle_memory()
    assert gc.get_freeze_count() > 0
    gone = weakref.ref(Circle())
    release_memory()
    assert gone() is None


def test_what_was_there_is_not_looked_at_again() -> None:
    """That would take as long as it took at the start, while requests wait."""
    circle = weakref.ref(there := Circle())
    settle_memory()
    del there
    release_memory()
    assert circle() is not None
