"""Backups of a state folder that somebody else writes to."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite import copying
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.place import SqlitePlace
from router.audit.checking.verify import Plan, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, publish
from router.cli.main import run
from router.errors import AuditError
from router.processes.evidence import open_evidence
from router.system import SystemClock
from router.wiring import backing_up
from router.wiring.backing_up import State, as_tar, back_up_keys, back_up_records, in_folder
from router.wiring.drafts import STREAMED, clear_broken_off
from router.wiring.recovery import Place, recover
from router.workspace import parse, read
from tests.unit.audit.ledgers import SIGNER, entries, reader, verified

SEALING_KEY = bytes(32)
SERVING = 65534


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Open, with what it wrote last in its write-ahead log."""
    folder = tmp_path / "state"
    made = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, 1000))
    made.open()
    made.append(entries(8))
    made.sign_checkpoint()
    made.append(entries(3))
    yield made
    made.close()


@pytest.fixture
def state(tmp_path: Path, journal: Journal) -> State:
    folder = tmp_path / "state"
    with closing(SqlitePlace(folder).keys(SEALING_KEY)) as keys:
        keys.open()
        keys.ensure(["ann"])
    for name in ("keys/sealing.key", "policies/override.json", "bundles/last.tar.gz", "models/head.bin", "index.sqlite"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"content of " + name.encode())
    return State(folder, folder / "checkpoints")


def copied(state: State, to: Path) -> list[str]:
    told: list[str] = []
    with in_folder(to) as target:
        back_up_records(state, target, told.append)
    return told


def files(folder: Path) -> set[str]:
    return {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}


def refused(state: State, to: Path) -> AuditError:
    with pytest.raises(AuditError) as error:
        copied(state, to)
    assert not to.exists()
    assert not list(to.parent.glob(".*.part"))
    return error.value


def test_records_are_copied_whole_beside_their_writer_and_keys_are_not(state: State, tmp_path: Path) -> None:
    """Also what is only in the log, of which nothing is copied into the file; what is made again by itself stays."""
    ledger = state.folder / "ledger.sqlite"
    before = (ledger.read_bytes(), ledger.with_name("ledger.sqlite-wal").read_bytes())
    told = copied(state, tmp_path / "records")
    assert (ledger.read_bytes(), ledger.with_name("ledger.sqlite-wal").read_bytes()) == before
    assert told[-1].endswith("bytes, 11 records, of which the last checkpoint covers 8")
    checkpoint = f"checkpoints/{8:016d}.checkpoint"
    assert files(tmp_path / "records") == {"ledger.sqlite", checkpoint, "policies/override.json", "bundles/last.tar.gz"}
    assert verified(tmp_path / "records", (state.checkpoints / f"{8:016d}.checkpoint").read_text()).ok


def test_nobody_goes_on_with_a_copy(state: State, journal: Journal, tmp_path: Path) -> None:
    """What was signed after it is not in it, and nothing that lies there tells: where all else is lost it would be signed for anew. A new
    ledger begins after it, as after every other that must not be continued."""
    copied(state, tmp_path / "records")
    journal.append(entries(5))
    journal.sign_checkpoint()
    restored = Checkpointing(SIGNER, tmp_path / "records/checkpoints")
    with pytest.raises(AuditError, match="is a backup's copy of 20") as error:
        Journal(SqliteStore(tmp_path / "records/ledger.sqlite"), restored).open()
    assert error.value.code == "audit_backup_copy"
    later = NoteSigner("ledger.test/2", Ed25519PrivateKey.generate())
    before, kept, _ = recover(Place(tmp_path / "records", tmp_path / "records/checkpoints"), later, "restored")
    assert (before.size, before.copied[:2], verified(kept).ok) == (11, "20", True)
    after = Journal(SqliteStore(tmp_path / "records/ledger.sqlite"), Checkpointing(later, tmp_path / "records/checkpoints"))
    after.open()
    after.append(entries(1))
    after.close()
    report = verify(Plan(lambda: reader(tmp_path / "records"), later.verifier, processes=1))
    assert (report.ok, [f"copy of {before.copied}" in said for said in report.unproven].count(True)) == (True, 1)


def test_nobody_goes_on_with_the_copy_of_a_ledger_before(tmp_path: Path) -> None:
    """The one after it says where it ended."""
    folder = tmp_path / "state"
    first = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints"))
    first.open()
    first.append(entries(8))
    first.close()
    later = NoteSigner("ledger.test/2", Ed25519PrivateKey.generate())
    before, _, _ = recover(Place(folder, folder / "checkpoints"), later, "key_lost")
    copied(State(folder, folder / "checkpoints"), tmp_path / "records")
    with pytest.raises(AuditError) as error:
        Journal(SqliteStore(tmp_path / "records/predecessors" / before.name / "ledger.sqlite"), Checkpointing(SIGNER)).open()
    assert error.value.code == "audit_backup_copy"


def made_at(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as file:
        return file.execute("SELECT value FROM meta WHERE name = 'copied'").fetchall()


def test_a_copy_of_a_copy_says_when_the_first_was_made(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was recorded since is in neither."""
    copied(state, tmp_path / "records")
    monkeypatch.setattr("time.time_ns", lambda: 2**62)
    copied(State(tmp_path / "records", tmp_path / "records/checkpoints"), tmp_path / "again")
    assert made_at(tmp_path / "again") == made_at(tmp_path / "records")


def test_a_copy_is_made_where_no_memory_can_be_shared(state: State, tmp_path: Path) -> None:
    """As on many a share on a network."""
    (tmp_path / "share" / "ledger.sqlite-shm").mkdir(parents=True)
    copying.copied(state.folder / "ledger.sqlite", tmp_path / "share" / "ledger.sqlite", copying.marked)
    assert len(made_at(tmp_path / "share")) == 1


def test_keys_are_copied_whole_and_records_are_not(state: State, tmp_path: Path) -> None:
    with in_folder(tmp_path / "keys") as target:
        back_up_keys(state, target, lambda _: None)
    assert files(tmp_path / "keys") == {"keys.sqlite", "keys/sealing.key"}
    with closing(SqlitePlace(tmp_path / "keys").kept_keys(lambda: SEALING_KEY)) as keys:
        assert keys.find("ann")


def test_nobody_else_can_read_a_copy(state: State, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        copied(state, tmp_path / "records")
    finally:
        os.umask(before)
    for each in (tmp_path / "records", *(tmp_path / "records").rglob("*")):
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600), each


def test_a_copy_is_of_one_moment_however_much_is_written_meanwhile(
    state: State, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a transaction that stays open each commit would have it begin anew, for ever."""
    journal.append(entries(400))
    began, steps = copying._begun, 0

    class Written(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, *, pages: int, progress: Any) -> None:  # type: ignore[override]  # as it is called
            def meanwhile(*told: int) -> None:
                nonlocal steps
                steps += 1
                journal.append(entries(2))
                progress(*told)

            super().backup(target, pages=pages, progress=meanwhile)

    def reading(source: Path) -> sqlite3.Connection:
        return began(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, isolation_level=None, factory=Written))

    monkeypatch.setattr(copying, "_reading", reading)
    monkeypatch.setattr(copying, "AT_ONCE", 16)
    copying.copied(state.folder / "ledger.sqlite", tmp_path / "copy.sqlite")
    pages = os.path.getsize(tmp_path / "copy.sqlite") // 4096
    assert steps == -(-pages // 16)
    with copying.opened(tmp_path / "copy.sqlite") as connection:
        assert copying.CopiedLedger(connection).size == 411
    assert journal.size == 411 + 2 * steps


def test_what_is_not_finished_and_what_leads_elsewhere_stays(state: State, tmp_path: Path) -> None:
    """Drafts are gone before a copy gets to them; a link in a predecessor's folder leads to the keys."""
    (state.checkpoints / "9.draft").write_text("half")
    (state.folder / "policies/.override.json.part").write_text("half")
    old = state.folder / "predecessors/ledger.test-1"
    (old / "checkpoints").mkdir(parents=True)
    copying.copied(state.folder / "ledger.sqlite", old / "ledger.sqlite")
    (old / "checkpoints/1.checkpoint").write_text("note")
    (old / "keys.sqlite").symlink_to("../../keys.sqlite")
    (state.folder / "policies/link").symlink_to("../keys/sealing.key")
    copied(state, tmp_path / "records")
    found = files(tmp_path / "records")
    assert {each for each in found if each.startswith("predecessors")} == {
        "predecessors/ledger.test-1/ledger.sqlite",
        "predecessors/ledger.test-1/checkpoints/1.checkpoint",
    }
    assert not [each for each in found if "draft" in each or "part" in each or "link" in each or "key" in each]


def test_a_stream_has_the_ledger_last_and_leaves_nothing_behind(state: State) -> None:
    """Checkpoints before the ledger, so that it covers them; one that was broken off lacks it."""
    stream = io.BytesIO()
    before = files(state.folder)
    with as_tar(stream, state.folder) as target:
        back_up_records(state, target, lambda _: None)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        names = archive.getnames()
        assert {member.mode for member in archive} == {0o600}
    assert (names[0].startswith("checkpoints/"), names[-1]) == (True, "ledger.sqlite")
    assert files(state.folder) == before


def test_a_stream_of_keys_has_the_subjects_last(state: State) -> None:
    """One that was broken off between two files is a whole archive to tar, and without the sealing key nothing could be opened again."""
    stream = io.BytesIO()
    with as_tar(stream, state.folder) as target:
        back_up_keys(state, target, lambda _: None)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        assert archive.getnames() == ["keys/sealing.key", "keys.sqlite"]


def test_what_is_being_sent_is_under_no_name(state: State) -> None:
    """Who takes it may be slow, and who is killed meanwhile removes nothing: a copy of the keys must not outlive their erasure."""
    draft, there = state.folder / STREAMED, list[str]()

    class Slow(io.BytesIO):
        def write(self, content: Any) -> int:
            there.extend(each.name for each in draft.iterdir())
            return super().write(content)

    stream = Slow()
    with as_tar(stream, state.folder) as target:
        back_up_keys(state, target, lambda _: None)
    assert stream.tell() > 8192
    assert there == []


async def test_a_start_removes_what_a_killed_backup_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """But nothing of one that is under way."""
    assert run(["init", str(tmp_path / "bank")]) == 0
    workspace = parse(read(tmp_path / "bank/lockgate.yaml", {}), {})
    draft = workspace.path(workspace.config.state) / STREAMED
    draft.mkdir(parents=True)
    (draft / "file").write_bytes(b"half of the keys")
    handle = os.open(draft, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    await (await open_evidence(workspace, SystemClock())).close()
    assert (draft / "file").exists()
    os.close(handle)
    await (await open_evidence(workspace, SystemClock())).close()
    assert not draft.exists()
    assert [each.getMessage() for each in caplog.records if "broken off" in each.getMessage()] != []


@pytest.fixture
def served(state: State) -> Iterator[State]:
    """A state folder of the account that serves, where this is the machine's administrator; anybody may go through what is around it."""
    if os.geteuid() != 0:
        pytest.skip("only the administrator may act for another account")
    around = Path(mkdtemp())
    around.chmod(0o755)
    shutil.copytree(state.folder, around / "state")
    for each in (around / "state", *(around / "state").rglob("*")):
        os.chown(each, SERVING, SERVING)
    yield State(around / "state", around / "state/checkpoints")
    shutil.rmtree(around)


def test_a_stream_that_the_administrator_asks_for_keeps_no_start_out(served: State) -> None:
    """Whose folder it is in can see that it is under way, and take away what is left of it."""
    with as_tar(io.BytesIO(), served.folder):
        owner = (served.folder / STREAMED).stat()
        assert (owner.st_uid, os.geteuid(), os.getgroups()) == (SERVING, SERVING, os.getgrouplist("nobody", owner.st_gid))
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_a_link_that_takes_a_files_place_in_between_leads_to_nothing_of_the_administrators(
    served: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose folder it is could have a file made, or another database written over, wherever the administrator may."""
    secret, read = served.folder.parent / "root", copying._reading
    secret.mkdir(mode=0o700)

    def swapped(source: Path) -> sqlite3.Connection:
        file = served.folder / STREAMED / "file"
        file.unlink()
        file.symlink_to(secret / "made")
        return read(source)

    monkeypatch.setattr(copying, "_reading", swapped)
    with pytest.raises(AuditError), as_tar(io.BytesIO(), served.folder) as target:
        back_up_keys(served, target, str)
    assert list(secret.iterdir()) == []


@pytest.mark.parametrize("folder", ["checkpoints", "predecessors"])
def test_a_folder_that_must_not_be_looked_into_is_no_empty_one(served: State, folder: str) -> None:
    """A recovery by the administrator leaves such a one; what is in it would be in no backup, and nothing would say so."""
    (served.folder / folder).mkdir(exist_ok=True)
    os.chown(served.folder / folder, 0, 0)
    (served.folder / folder).chmod(0o700)
    with pytest.raises(AuditError, match=f"{folder} cannot be used: Permission denied"), as_tar(io.BytesIO(), served.folder) as target:
        back_up_records(served, target, str)


def test_a_link_in_the_place_of_a_streams_folder_leads_nowhere(tmp_path: Path, state: State) -> None:
    """Who may write to the state folder would have whatever folder it leads to emptied by the administrator's backup."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"somebody else's")
    (state.folder / STREAMED).symlink_to(elsewhere)
    with pytest.raises(AuditError, match="is a link") as error, as_tar(io.BytesIO(), state.folder):
        pass
    clear_broken_off(state.folder)
    assert (error.value.code, (elsewhere / "file").read_bytes()) == ("backup_linked", b"somebody else's")


def test_who_reads_a_stream_no_more_has_no_backup(state: State) -> None:
    """Such as a connection to a pod that was lost."""

    class Gone(io.BytesIO):
        def write(self, content: Any) -> int:
            if self.tell() > 8192:
                raise BrokenPipeError
            return super().write(content)

    with pytest.raises(AuditError) as error, as_tar(Gone(), state.folder) as target:
        back_up_records(state, target, lambda _: None)
    assert error.value.code == "backup_broken_off"


def test_nothing_is_overwritten(state: State, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    with pytest.raises(AuditError, match="is there already") as error:
        copied(state, tmp_path / "records")
    assert error.value.code == "backup_exists"


def test_what_somebody_who_was_killed_left_is_cleared_and_what_somebody_writes_is_not(state: State, tmp_path: Path) -> None:
    left = tmp_path / ".records.part"
    (left / "checkpoints").mkdir(parents=True)
    (left / "ledger.sqlite").write_bytes(b"half")
    handle = os.open(left, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(AuditError, match="Another backup") as error:
        copied(state, tmp_path / "records")
    assert error.value.code == "backup_running"
    assert (left / "ledger.sqlite").exists()
    os.close(handle)
    copied(state, tmp_path / "records")
    assert (tmp_path / "records/ledger.sqlite").stat().st_size > 4096


def test_a_ledger_that_its_checkpoints_do_not_fit_is_said(state: State, tmp_path: Path) -> None:
    """It was cut, or is another one's of the same name: no backup to rely on."""
    for size, root in ((99, bytes(32)), (8, b"x" * 32)):
        (state.checkpoints / f"{size:016d}.checkpoint").write_text(SIGNER.sign(Checkpoint(SIGNER.name, size, root).text()))
        assert refused(state, tmp_path / "records").code == "backup_unsound"
        (state.checkpoints / f"{size:016d}.checkpoint").unlink()


def test_checkpoints_of_another_ledger_and_what_is_none_are_passed_over(state: State, tmp_path: Path) -> None:
    checkpoint, other = Checkpoint("another", 99, bytes(32)), NoteSigner("another", Ed25519PrivateKey.generate())
    publish(state.checkpoints, checkpoint, other.sign(checkpoint.text()))
    (state.checkpoints / f"{100:016d}.checkpoint").write_bytes(b"\xff")
    told = copied(state, tmp_path / "records")
    assert told[-1].endswith("covers 8")


def test_a_damaged_file_makes_no_backup(state: State, journal: Journal, tmp_path: Path) -> None:
    journal.append(entries(400))
    journal.close()
    with (state.folder / "ledger.sqlite").open("r+b") as file:
        for page in range(8, 60):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    error = refused(state, tmp_path / "records")
    assert error.code in ("backup_unsound", "audit_io_failed")


def test_a_full_disk_is_a_sentence(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the copy is written to, and of who takes the stream."""
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed below
    with closing(full), pytest.raises(AuditError, match="is full") as error, as_tar(full, state.folder) as target:
        back_up_records(state, target, lambda _: None)
    assert error.value.code == "audit_disk_full"

    def no_room(content: bytes, copy: Path) -> int:
        raise OSError(28, "No space left on device", str(copy))

    monkeypatch.setattr(backing_up, "_written", no_room)
    assert refused(state, tmp_path / "records").code == "audit_disk_full"


def test_a_copy_does_not_fill_the_disk_of_a_node_that_serves(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would refuse every request until the copy has failed."""
    size = os.path.getsize(state.folder / "ledger.sqlite")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=size + copying.ROOM - 1))
    error = refused(state, tmp_path / "records")
    assert (error.code, "nothing was written" in str(error)) == ("audit_disk_full", True)


def test_a_copy_is_broken_off_where_others_fill_the_disk_meanwhile(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of what is copied grows for as long as the copy takes."""
    free = iter([2**40, copying.LEAST - 1])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=next(free)))
    error = refused(state, tmp_path / "records")
    assert (error.code, "broken off" in str(error)) == ("audit_disk_full", True)


def test_a_database_that_finds_the_disk_full_says_so(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(*arguments: object, **more: object) -> sqlite3.Connection:
        made = connect(*arguments, **more)  # type: ignore[call-overload]  # as they were
        if not more.get("uri"):
            made.execute("PRAGMA max_page_count=4")
        return made  # type: ignore[no-any-return]

    monkeypatch.setattr(sqlite3, "connect", small)
    error = refused(state, tmp_path / "records")
    assert (error.code, "is full" in str(error)) == ("audit_disk_full", True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say what to copy"),
        (["--records", "one", "--keys", "one"], "places of their own"),
        (["--records", "one", "--keys", "one/keys"], "places of their own"),
        (["--records", "-", "--keys", "-"], "places of their own"),
        (["--records", "one", "--state", "nowhere"], "There is no ledger at nowhere/ledger.sqlite"),
        (["--keys", "one", "--state", "nowhere"], "There are no subject keys at nowhere/keys.sqlite"),
        (["--records", "one", "--store", "postgresql://127.0.0.1/none"], "copy each database with pg_dump"),
    ],
)
def test_what_cannot_be_copied_is_a_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["backup", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
