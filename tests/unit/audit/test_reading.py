from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from router.audit.questions.reading import Reading, leave_note, new_reading_id, notes, told, told_id
from router.audit.questions.where import where
from router.audit.records.record import system_entry
from router.errors import AuditError
from router.wiring.readings import Readings

ID = "019ab9d0-1111-7000-8000-000000000001"
KNOWN = {("intent", "payment.cancel"), ("tenant", "halden")}


def note(**changes: Any) -> Reading:
    return Reading(**{"what": "records", "source": "cli", "reading": new_reading_id(), **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("intent = 'payment.cancel' and confidence < 0.5", "intent = 'payment.cancel' and confidence < 0.5"),
        ("risk >= 'high' or not (tenant in ('halden', 'anna'))", "risk in ('high', 'critical') or tenant not in ('halden', '…')"),
        ("tenant = 'Anna Berg' and (route is null or cached = true)", "tenant = '…' and (route is null or cached = true)"),
        ("reason like 'anna%'", "reason like '…'"),
        (f"decision_id = '{ID}' and trace_id <> 'anna.berg'", f"decision_id = '{ID}' and trace_id <> '…'"),
        ("time >= '2025-11-24' and duration > '250ms'", "time >= '2025-11-24T00:00:00.000000000Z' and duration > 0.25"),
    ],
)
def test_what_was_asked_for_is_told_without_names(text: str, said: str) -> None:
    """A word that no leaf has may be a name that somebody typed."""
    assert told(where(text), lambda column, word: (column, word) in KNOWN) == said


def test_an_id_is_told_and_anything_else_in_its_place_is_not() -> None:
    """Somebody may have pasted a name where an id belongs."""
    assert (told_id(ID), told_id("anna.berg")) == (f"id = '{ID}'", "id = '…'")


def test_a_note_is_kept_until_it_is_taken_up(tmp_path: Path) -> None:
    """What was read, by which account, and the latest that is known of one reading."""
    first = note(rows=None, filters="risk = 'high'", opened=True)
    leave_note(tmp_path / "readings", "cli:uid1000", first)
    leave_note(tmp_path / "readings", "cli:uid1000", note(reading=first.reading, rows=7, opened=True))
    leave_note(tmp_path / "readings", "cli:uid7", note(what="verify"))
    found = list(notes(tmp_path / "readings"))
    assert {(reader, reading.what, reading.rows) for _, reader, reading in found} == {
        ("cli:uid1000", "records", 7),
        ("cli:uid7", "verify", None),
    }
    assert all(place.stat().st_mode & 0o077 == 0 for place, _, _ in found)


def test_without_a_folder_there_are_no_notes(tmp_path: Path) -> None:
    """Nobody has read yet."""
    assert list(notes(tmp_path / "readings")) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"reader":"cli:uid1"}',
        b'{"reader":"cli:uid1","what":"records"}',
        b"\xff" * 20_000,
    ],
)
def test_what_is_no_note_is_put_aside(tmp_path: Path, content: bytes) -> None:
    """It neither stops the others nor comes again."""
    folder = tmp_path / "readings"
    leave_note(folder, "cli:uid1", note())
    (folder / "0.json").write_bytes(content)
    assert [reader for _, reader, _ in notes(folder)] == ["cli:uid1"]
    assert (folder / "0.bad").exists()
    assert not (folder / "0.json").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"reader": "Anna Berg"},
        {"what": "Anna Berg"},
        {"exported": "/home/anna"},
        {"rows": -1},
        {"rows": "many"},
        {"filters": 5},
        {"reading": ""},
    ],
)
def test_a_note_can_bring_nothing_personal_where_a_word_belongs(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whoever can write to the folder can leave one."""
    folder = tmp_path / "readings"
    leave_note(folder, "cli:uid1", note())
    place = next(folder.iterdir())
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))
    assert list(notes(folder)) == []


def test_where_no_note_can_be_left_it_is_said(tmp_path: Path) -> None:
    """One sentence with its code."""
    (tmp_path / "readings").write_text("a file in its place")
    with pytest.raises(AuditError, match="cannot be noted") as caught:
        leave_note(tmp_path / "readings", "cli:uid1", note())
    assert caught.value.code == "audit_reading_unrecorded"


class Ledger:
    """Takes records until it is `full`."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.full = False

    async def system(self, event: str, details: dict[str, Any]) -> None:
        if self.full:
            raise AuditError("The disk is full.", "audit_disk_full")
        self.records.append(json.loads(system_entry(event, 1, details).leaf))


class Keys:
    async def key_for(self, subject: str) -> tuple[str, bytes]:
        return f"key of {subject}", bytes(32)


async def test_notes_become_records_under_the_readers_key(tmp_path: Path) -> None:
    """Once each."""
    ledger = Ledger()
    readings = Readings(tmp_path, Keys(), ledger)
    leave_note(tmp_path / "readings", "cli:uid1", note(rows=3, filters="risk = 'high'", exported="file", opened=True))
    assert (await readings.take_up(), await readings.take_up()) == (1, 0)
    (record,) = ledger.records
    told = record["details"]
    assert (record["event"], told["reader_key"], told["rows"], told["opened"], told["exported"]) == (
        "audit_read",
        "key of cli:uid1",
        3,
        True,
        "file",
    )
    assert "cli:uid1" not in told.values()


async def test_what_cannot_be_recorded_now_is_recorded_later(tmp_path: Path) -> None:
    """A note is removed after its record is durable, and not before."""
    ledger = Ledger()
    readings = Readings(tmp_path, Keys(), ledger)
    leave_note(tmp_path / "readings", "cli:uid1", note())
    ledger.full = True
    assert await readings.take_up() == 0
    ledger.full = False
    assert await readings.take_up() == 1
    assert len(ledger.records) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only the machine's administrator can give files away")
def test_what_an_administrator_leaves_can_be_read_by_the_owner_of_the_state(tmp_path: Path) -> None:
    """Folder and note belong to whom the state directory belongs to, or the server could not take them up."""
    os.chown(tmp_path, 65534, 65534)
    leave_note(tmp_path / "readings", "cli:uid0", note())
    (place, _, _) = next(notes(tmp_path / "readings"))
    assert [path.stat().st_uid for path in (place.parent, place)] == [65534, 65534]


@pytest.mark.parametrize("name", ["readings", "readings/{}.json.new"])
def test_what_is_left_follows_no_link(tmp_path: Path, name: str) -> None:
    """Whose folder it is could have whatever they like written over where the administrator may, once the reading's name has been seen."""
    elsewhere, left = tmp_path / "elsewhere", note()
    elsewhere.mkdir()
    (elsewhere / "file").write_text("somebody else's")
    if name == "readings":
        (tmp_path / name).symlink_to(elsewhere)
        with pytest.raises(AuditError):
            leave_note(tmp_path / "readings", "cli:uid0", left)
    else:
        leave_note(tmp_path / "readings", "cli:uid0", left)
        (tmp_path / name.format(left.reading)).symlink_to(elsewhere / "file")
        (tmp_path / f"readings/{left.reading}.new").symlink_to(elsewhere / "file")
        leave_note(tmp_path / "readings", "cli:uid0", left)
    assert [(each.name, each.read_text()) for each in elsewhere.iterdir()] == [("file", "somebody else's")]
