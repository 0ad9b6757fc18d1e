"""The index is the same whether it is made at once or gives way to others meanwhile."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from adapters.sqlite.index import SqliteIndex
from router.audit.questions import index as module
from router.audit.questions.columns import NAMES
from router.audit.questions.conditions import Compare
from router.audit.questions.index import catch_up
from router.audit.questions.reader import IndexRow, Stored
from tests.unit.audit.ledgers import entries, reader, written

COUNT = 50


def test_who_gives_way_makes_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In slices of its own, of which the last is a part of one."""
    monkeypatch.setattr(module, "SLICE", 7)
    written(tmp_path, entries(COUNT))
    with (
        closing(reader(tmp_path)) as source,
        closing(SqliteIndex(tmp_path / "at-once")) as one,
        closing(SqliteIndex(tmp_path / "b")) as other,
    ):
        assert catch_up(source, one) == catch_up(source, other, lambda: None) == COUNT
        assert one.complete() == other.complete()
        assert content(one) == content(other)


def test_a_pause_is_never_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes records in waits for a few of them to be read, or for one slice to be written, and for no more."""
    monkeypatch.setattr(module, "SLICE", 8)
    monkeypatch.setattr(module, "PAUSE", 2)
    written(tmp_path, entries(COUNT))
    read, pauses = [0], list[int]()
    original = module.index_row

    def counted(stored: Stored) -> IndexRow:
        read[0] += 1
        return original(stored)

    monkeypatch.setattr(module, "index_row", counted)
    with closing(reader(tmp_path)) as source, closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        catch_up(source, index, lambda: pauses.append(read[0]))
    assert max(later - earlier for earlier, later in zip([0, *pauses], [*pauses, COUNT], strict=True)) <= 2


def test_it_gives_way_while_it_writes_too(tmp_path: Path) -> None:
    """Thousands of rows are written at once, for every batch writes anew the parts that it adds to."""
    rows = [IndexRow({"idx": number, "kind": "outcome", "status": 200 + number}) for number in range(100)]
    pauses = list[None]()
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        index.extend(rows, 0, len(rows), b"", lambda: pauses.append(None))
        made = len(pauses)
        assert made >= 2 * len(NAMES), "each column is coded, and each is written"
        index.extend(rows, 0, len(rows), b"", lambda: pauses.append(None))
        assert len(pauses) == made, "another process was quicker: there is nothing to write"


def test_one_thread_of_many_that_are_far_behind_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many ask at the first moment of a start without an index; and who reads the log sees how far it is."""
    for name, value in (("FAR", 5), ("BATCH", 5), ("SAY_EVERY_S", 0.0)):
        monkeypatch.setattr(module, name, value)
    written(tmp_path, entries(COUNT))
    made, said = list[int](), list[str]()
    original, index = module.index_row, tmp_path / "index.sqlite"

    def counted(stored: Stored) -> IndexRow:
        made.append(stored.index)
        time.sleep(0.001)  # others come meanwhile
        return original(stored)

    def asks(_: int) -> int:
        with closing(reader(tmp_path)) as source, closing(SqliteIndex(index)) as opened:
            start.wait()
            return catch_up(source, opened)

    monkeypatch.setattr(module, "index_row", counted)
    monkeypatch.setattr(module.log, "warning", lambda text, *values: said.append(text % values))
    SqliteIndex(index).close()
    start = Barrier(3)
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(asks, range(3))) == [COUNT] * 3
    far = [each for each in made if each < COUNT - 5]
    assert sorted(far) == list(range(COUNT - 5))
    assert any(re.match(r"the index of the audit trail is being made: \d+ of 50 records, about \d+ s left", each) for each in said), said


def content(index: SqliteIndex) -> list[dict[str, list[int]]]:
    wanted = Compare("record", ">=", 0)
    return [{name: values.tolist() for name, values in chunk.items()} for chunk in index.scan(wanted, NAMES)]
