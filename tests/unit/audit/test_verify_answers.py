"""The index that answers come from, held against the records when a ledger is verified."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from adapters.sqlite import index_checked
from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.index_checked import difference
from router.audit.checking.verify import Report
from router.audit.questions import index
from router.audit.questions.columns import NAMES
from router.audit.questions.index import catch_up, make_up_to
from router.audit.questions.query import Query, Trail
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.audit.tree.checkpoint import Checkpoint
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.ledgers import SIGNER, entries, reader, run, verified, written
from tests.unit.audit.samples import DECISION, KEY, KEY_ID, OUTCOME, numbered

COUNT = 60
INTENT, EFFECT = NAMES.index("intent"), NAMES.index("effect")


@contextmanager
def opened(folder: Path) -> Iterator[Trail]:
    with closing(SqliteIndex(folder / "index.sqlite")) as index, closing(reader(folder)) as ledger:
        yield Trail(ledger, index)


def held(folder: Path) -> Report:
    return verified(folder, answers=partial(difference, folder / "index.sqlite"))


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as file:
        for statement in statements:
            file.execute(statement)


def varied() -> list[Entry]:
    """Decisions of several intents; one that is recorded again, and what comes before its decision or long after it."""
    made = [system_entry("started", 1)]
    for number in range(20):
        classified = replace(DECISION.classification, intent=f"intent.{number % 3}")
        made.append(decision_entry(numbered(number, classification=classified), b"{}", KEY_ID, KEY))
    made += [outcome_entry(numbered(number).id, OUTCOME, 10**18 + number, KEY_ID, KEY) for number in range(15, 25)]
    made += [decision_entry(numbered(number), b"{}", KEY_ID, KEY) for number in (3, 22, 22)]
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path, entries(COUNT))
    with opened(tmp_path) as trail:
        assert len(list(trail.find(Query(kind="decision")))) == COUNT // 2
    return tmp_path


def test_an_index_of_the_records_has_no_difference(folder: Path) -> None:
    """Be it of all of them, behind, or not there at all."""
    assert held(folder).faults == []
    written(folder, entries(7))
    assert held(folder).faults == []
    (folder / "index.sqlite").unlink()
    assert held(folder).faults == []
    assert not (folder / "index.sqlite").exists()


def test_how_far_it_is_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of records take minutes."""
    monkeypatch.setattr(index, "BATCH", 25)
    told: list[tuple[int, int]] = []
    with closing(reader(folder)) as ledger:
        assert difference(folder / "index.sqlite", ledger, lambda *far: told.append(far)) is None
    assert told == [(25, COUNT), (50, COUNT), (COUNT, COUNT)]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_same_however_many_records_made_a_batch(tmp_path: Path, seed: int) -> None:
    """Questions add to it, as much as has come since the one before."""
    dice, records = random.Random(seed), varied()
    written(tmp_path, records)
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as index, closing(reader(tmp_path)) as ledger:
        size = 0
        while size < len(records):
            size = min(len(records), size + dice.randint(1, 7))
            make_up_to(ledger, index, size)
    assert held(tmp_path).faults == []


def test_what_is_pruned_or_erased_makes_no_difference(folder: Path) -> None:
    """The index was made before, and has nothing of it."""
    run(folder, "UPDATE records SET sealed = x'' WHERE idx < 9")
    with closing(reader(folder)) as ledger:
        assert difference(folder / "index.sqlite", ledger) is None


@pytest.mark.parametrize(
    "statements",
    [
        (f"UPDATE zones SET nulls = size WHERE kept = {EFFECT}",),
        (f"UPDATE zones SET low = low + 5, high = high + 5 WHERE kept = {INTENT}",),
        (f"UPDATE words SET word = 'payment.other' WHERE kept = {INTENT}",),
        ("UPDATE decision_id SET value = x'00' WHERE code = 21",),
        ("UPDATE segments SET data = zeroblob(length(data)) WHERE place = (SELECT max(place) FROM segments)",),
        ("DELETE FROM segments WHERE place = (SELECT max(place) FROM segments)",),
        ("DELETE FROM zones WHERE kept = 0",),
        ("UPDATE zones SET kept = 'x' WHERE kept = 0",),
        ("INSERT INTO late VALUES (21, 3)",),
        ("CREATE TRIGGER hides AFTER UPDATE ON meta BEGIN DELETE FROM late; END",),
        ("ALTER TABLE words RENAME TO kept_words", "CREATE VIEW words AS SELECT * FROM kept_words"),
        ("DROP TABLE late",),
        (
            "DELETE FROM words",
            "ALTER TABLE meta RENAME TO kept",
            "CREATE VIEW meta AS SELECT name, CASE name WHEN 'version' THEN '4' ELSE value END AS value FROM kept",
        ),
        ("DELETE FROM words", "UPDATE meta SET value = CAST(value AS TEXT) WHERE name = 'complete'"),
        ("DELETE FROM words", "UPDATE meta SET value = value + 0.5 WHERE name = 'complete'"),
    ],
)
def test_an_index_that_was_changed_is_found(folder: Path, statements: tuple[str, ...]) -> None:
    """By whoever can write to the file, which wants no key: the ledger, and every proof of it, stay as they were."""
    change(folder, *statements)
    assert verified(folder).ok
    (fault,) = held(folder).faults
    assert (fault.kind, fault.index < COUNT) == ("answers_altered", True)
    assert "delete `index.sqlite`" in fault.message


def test_a_record_that_no_question_finds_any_more_is_told(folder: Path) -> None:
    """From the first on of which the index says something else."""
    place = NAMES.index("kind") << 24
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as file:
        ((data,),) = file.execute("SELECT data FROM segments WHERE place = ?", (place,)).fetchall()
        changed = bytearray(data)
        changed[20] = changed[21]  # an outcome, as it were
        file.execute("UPDATE segments SET data = ? WHERE place = ?", (bytes(changed), place))
    with opened(folder) as trail:
        assert 20 not in [found.index for found in trail.find(Query(kind="decision"))]
    (fault,) = held(folder).faults
    assert (fault.kind, fault.index) == ("answers_altered", 20)


def test_what_a_question_would_throw_away_is_not_looked_at(folder: Path, tmp_path: Path) -> None:
    """An index of another ledger or of another release answers nothing."""
    other = tmp_path / "other"
    other.mkdir()
    written(other, varied())
    (folder / "index.sqlite").rename(other / "index.sqlite")
    assert held(other).faults == []
    with closing(SqliteIndex(other / "index.sqlite")) as index, closing(reader(other)) as ledger:
        catch_up(ledger, index)
    change(other, "UPDATE meta SET value = '4' WHERE name = 'version'", "DELETE FROM words")
    assert held(other).faults == []


@pytest.mark.parametrize(
    "value", ["value = '4' WHERE name = 'version'", "value = 'all' WHERE name = 'complete'", "name = 'none' WHERE name = 'last_hash'"]
)
def test_a_node_that_has_it_open_throws_it_away_too(folder: Path, value: str) -> None:
    """What serves opened it at its start, long before somebody changed it: such a file is no finding, so nothing is answered from it."""
    with opened(folder) as trail:
        change(folder, f"UPDATE meta SET {value}", f"UPDATE zones SET low = 1, high = 1, width = 0 WHERE kept = {NAMES.index('kind')}")
        assert len(list(trail.find(Query(kind="decision")))) == COUNT // 2
    assert held(folder).faults == []


def test_nothing_is_answered_from_it_where_it_changes_in_the_middle_of_a_question(folder: Path) -> None:
    """Whoever asks again has it made anew."""
    with closing(SqliteIndex(folder / "index.sqlite")) as index, closing(reader(folder)) as ledger:
        catch_up(ledger, index)
        change(folder, "UPDATE meta SET value = '4' WHERE name = 'version'")
        with pytest.raises(AuditError) as refused:
            index.events(["started"], 0)
        assert refused.value.code == "audit_indexing"
        with pytest.raises(AuditError) as refused:
            make_up_to(ledger, index, COUNT)
        assert refused.value.code == "audit_indexing"
        assert catch_up(ledger, index) == COUNT


def test_nothing_of_a_file_that_is_thrown_away_is_left(folder: Path) -> None:
    """A view in the place of a table would answer afterwards, and could see to it that the file is never looked at."""
    again = "UPDATE meta SET value = '4' WHERE name = 'version'"
    view = "CREATE VIEW late AS SELECT 0 AS code, 0 AS idx WHERE 0"
    change(folder, "DROP TABLE late", view, f"CREATE TRIGGER t INSTEAD OF INSERT ON late BEGIN {again}; END", again)
    with opened(folder) as trail:
        assert len(list(trail.find(Query(kind="decision")))) == COUNT // 2
    with closing(sqlite3.connect(folder / "index.sqlite")) as file:
        assert file.execute("SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')").fetchall() == []
    assert held(folder).faults == []


def test_one_that_says_to_have_no_record_is_looked_at(folder: Path) -> None:
    """A question would make it on what is there."""
    change(folder, "UPDATE meta SET value = 0 WHERE name = 'complete'", "UPDATE words SET word = 'x' || word WHERE word = 'decision'")
    (fault,) = held(folder).faults
    assert fault.kind == "answers_altered"
    (folder / "index.sqlite").unlink()
    SqliteIndex(folder / "index.sqlite").close()
    assert held(folder).faults == []


def test_a_file_that_is_no_index_is_a_finding(folder: Path) -> None:
    (folder / "index.sqlite").write_bytes(b"no database at all, however long it may be" * 100)
    (fault,) = held(folder).faults
    assert "cannot be read" in fault.message


def test_without_room_for_another_it_is_said_that_it_was_not_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no finding: the ledger was verified."""
    monkeypatch.setattr(index_checked, "ROOM", 2**60)
    change(folder, "DELETE FROM words")
    report = held(folder)
    assert report.ok
    assert any("are needed to make another one" in each for each in report.unproven)


def test_who_leaves_it_out_is_told_what_that_leaves_open(folder: Path) -> None:
    assert any("they may leave records out" in each for each in verified(folder).unproven)
    assert not any("they may leave records out" in each for each in held(folder).unproven)


@pytest.mark.parametrize(
    "beside",
    [lambda: ["no note"], lambda: [SIGNER.sign(Checkpoint(SIGNER.name, 5, bytes(32)).text())], lambda: [AuditError("It cannot be read.")]],
    ids=["no note", "another history", "unreadable"],
)
def test_a_finding_about_a_checkpoint_hides_none_about_answers(folder: Path, beside: Callable[[], list[str | AuditError]]) -> None:
    """Whoever can lay a file into the directory would keep the index from being looked at, and the hashes above the records."""
    change(folder, "DELETE FROM words")
    found = verified(folder, answers=partial(difference, folder / "index.sqlite"), beside=beside)
    assert {fault.kind for fault in found.faults} - {"checkpoint_invalid", "root_wrong", "history_forked"} == {"answers_altered"}
    run(folder, "UPDATE commits SET root = zeroblob(32) WHERE size = (SELECT max(size) FROM commits)")
    assert "The records do not lead to the root of the last commit." in {fault.message for fault in verified(folder, beside=beside).faults}
