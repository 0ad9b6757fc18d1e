"""Ids; and what a process leaves out of garbage collection when it begins to serve, and what it does not."""

from __future__ import annotations

import gc
import importlib
import os
import time
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from router.system import AT_ONCE, UuidV7, loading, release_memory, settle_memory


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


def test_nothing_is_looked_for_while_modules_are_loaded() -> None:
    """Afterwards it is, also after one that cannot be loaded and where two load at once."""
    with loading():
        with loading():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()


def test_modules_are_not_looked_at_once_they_are_loaded() -> None:
    """A hundred thousand objects, which the first requests would wait for."""
    before = gc.get_freeze_count()
    with loading():
        kept = [Circle() for _ in range(10)]
    assert gc.get_freeze_count() >= before + len(kept)


def test_a_worker_that_is_loaded_looks_for_garbage() -> None:
    """Its module switches that off for its imports."""
    importlib.import_module("router.processes.worker")
    assert gc.isenabled()


def test_ids_are_of_version_7_and_differ_and_tell_their_time() -> None:
    """RFC 9562, 5.7: milliseconds in the first 48 bits, then the version and the variant; the other 74 are random."""
    before = time.time_ns() // 1_000_000
    ids = [uuid.UUID(text) for text in (UuidV7().new() for _ in range(1000))]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    assert {(each.version, each.variant) for each in ids} == {(7, uuid.RFC_4122)}
    assert all(before <= each.int >> 80 <= after for each in ids)
    ever, always = 0, (1 << 128) - 1
    for each in ids:
        ever, always = ever | each.int, always & each.int
    assert ((ever & ~always) & ((1 << 76) - 1)) == ((1 << 76) - 1) ^ (0b11 << 62)


def test_ids_differ_also_where_threads_and_a_child_process_make_them() -> None:
    """Randomness is fetched for many at once: no two take the same of it, whoever they are."""

    def made() -> list[str]:
        return [UuidV7().new() for _ in range(AT_ONCE * 8)]

    with ThreadPoolExecutor(4) as threads:
        ids = [each for future in [threads.submit(made) for _ in range(4)] for each in future.result()]
    assert len(set(ids)) == 4 * 8 * AT_ONCE
    UuidV7().new()  # so that something is at hand when the process is doubled
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writing, _random_part(UuidV7().new()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    told = os.read(reading, 64).decode()
    os.close(reading)
    assert told
    assert told != _random_part(UuidV7().new())


def _random_part(text: str) -> str:
    return text[15:]
