"""The mark that the subjects' keys have of the ledger: a ledger that is older than they are is not gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.comparing import Compared, compared_now, refuse_older
from router.errors import AuditError
from tests.unit.audit.ledgers import entries, reader, written


def test_a_ledger_that_went_on_is_the_one_that_was_compared(tmp_path: Path) -> None:
    """It has what was seen, and more; so has one of another name, of which nothing was seen."""
    written(tmp_path, entries(8))
    mark = compared_now(reader(tmp_path))
    assert mark.size == 8
    written(tmp_path, entries(4))
    refuse_older(mark, reader(tmp_path))
    refuse_older(Compared("another", 99, b""), reader(tmp_path))
    refuse_older(None, reader(tmp_path))


def test_a_ledger_that_is_older_than_its_keys_is_refused(tmp_path: Path) -> None:
    """It lacks records that the keys were held against, or has others in their place."""
    written(tmp_path / "one", entries(8))
    written(tmp_path / "older", entries(7))
    mark = compared_now(reader(tmp_path / "one"))
    for found in (mark, Compared(mark.origin, 7, mark.leaf)):
        with pytest.raises(AuditError, match="older") as refused:
            refuse_older(found, reader(tmp_path / "older"))
        assert refused.value.code == "audit_rolled_back"


def test_a_mark_over_nothing_refuses_nothing(tmp_path: Path) -> None:
    """The keys may be older than the ledger's first record."""
    written(tmp_path, entries(1))
    refuse_older(Compared(compared_now(reader(tmp_path)).origin, 0, b""), reader(tmp_path))


def test_keys_remember_what_was_destroyed_and_the_last_mark(tmp_path: Path) -> None:
    """Ids, each once, in their order; and one mark, also after the file was opened anew."""
    file = tmp_path / "keys.sqlite"
    keys = KeyFile(file, bytes(32))
    keys.open()
    made = [key_id for key_id, _ in keys.ensure(["ann", "bo", "cy"]).values()]
    assert (keys.compared(), keys.destroyed()) == (None, [])
    keys.destroy(made[2], made[0])
    keys.destroy(made[0])
    for size in (3, 4):
        keys.mark(Compared("ledger.test", size, bytes(32)))
    keys.close()
    again = KeyFile(file, bytes(32))
    again.open()
    assert again.compared() == Compared("ledger.test", 4, bytes(32))
    assert again.destroyed() == [made[2], made[0]]
    assert again.present(made) == [made[1]]
    again.close()
