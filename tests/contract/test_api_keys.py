from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.sqlite.api_keys import SqliteApiKeys
from router.errors import StateError
from tests.unit.identity.parts import NOW, HandClock, new_key, open_keys


def test_another_process_revocation_is_noticed_within_a_second(tmp_path: Path) -> None:
    """A cached key stays good for at most one second after another process revoked it."""
    clock = HandClock()
    worker = open_keys(tmp_path, clock)
    key_id, _ = new_key(worker)
    assert worker.find(key_id) is not None
    revoke = f"import sys; from router.cli.keys import keys; keys(['revoke', '--state', sys.argv[1], '{key_id}'])"
    subprocess.run([sys.executable, "-c", revoke, tmp_path / "state"], check=True, capture_output=True, timeout=30)
    clock.forward(1)
    found = worker.find(key_id)
    assert found is not None
    assert found.revoked_ns is not None
    worker.close()


def test_a_key_made_elsewhere_is_found_at_once(tmp_path: Path) -> None:
    """Unknown ids are not remembered as unknown."""
    clock = HandClock()
    worker, control = open_keys(tmp_path, clock), open_keys(tmp_path, clock)
    assert worker.find("abcdefgh") is None
    key_id, _ = new_key(control)
    assert worker.find(key_id) is not None
    worker.close()
    control.close()


def test_the_first_revocation_keeps_its_time(tmp_path: Path) -> None:
    """Revoking twice changes nothing, revoking nothing says so."""
    keys = open_keys(tmp_path, HandClock())
    key_id, _ = new_key(keys)
    assert keys.revoke(key_id, NOW)
    assert keys.revoke(key_id, NOW + 1)
    assert [key.revoked_ns for key in keys.all()] == [NOW]
    assert not keys.revoke("abcdefgh", NOW)
    keys.close()


def test_files_are_private(tmp_path: Path) -> None:
    """The directory is 0700 and every file in it 0600, whatever the umask."""
    before = os.umask(0)
    try:
        keys = open_keys(tmp_path, HandClock())
        new_key(keys)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert modes == {0o600}
    keys.close()


def test_a_directory_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    """Who can replace the file could make keys."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(StateError, match="chmod o-w"):
        open_keys(tmp_path, HandClock())


def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """Garbage in the file is a StateError, not a traceback."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "identity.sqlite").write_bytes(b"not a database at all" * 100)
    (tmp_path / "state" / "identity.sqlite").chmod(0o600)
    with pytest.raises(StateError, match="does not answer"):
        open_keys(tmp_path, HandClock())


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older Lockgate does not guess what a newer one wrote."""
    open_keys(tmp_path, HandClock()).close()
    with sqlite3.connect(tmp_path / "state" / "identity.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateError, match="newer Lockgate"):
        open_keys(tmp_path, HandClock())


def test_a_closed_store_says_so_and_closes_twice(tmp_path: Path) -> None:
    """Closing is idempotent; asking afterwards is a StateError."""
    keys = SqliteApiKeys(tmp_path / "state" / "identity.sqlite", HandClock())
    keys.close()
    keys.open()
    keys.ping()
    keys.close()
    keys.close()
    with pytest.raises(StateError):
        keys.ping()
