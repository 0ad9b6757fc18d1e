from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest

from router.audit.copies.projecting import Kept, digest
from router.audit.records.table import COLUMNS, LEAF
from router.errors import AuditError
from router.processes.projecting import Projecting, locked
from router.wiring.projections import Followed
from tests.e2e.processes import until
from tests.needs import needs
from tests.unit.audit.ledgers import entries, reader, written

needs("pyarrow", "pip install 'lockgate[parquet]'")

from adapters.parquet_projection import ParquetDirectory


def following(folder: Path) -> Projecting:
    projection = ParquetDirectory(folder / "copies", (*COLUMNS, *LEAF), digest, Kept)
    projection.batch = 4
    return Projecting([Followed("files", projection, 0.02, folder / "files.lock")], partial(reader, folder))


def last(folder: Path) -> str:
    return max(path.name for path in (folder / "copies").glob("day=*/*.parquet"))


def test_it_follows_until_it_is_closed(tmp_path: Path) -> None:
    """Batch after batch, then what comes; the lag is told."""
    written(tmp_path, entries(10))
    projecting = following(tmp_path)
    assert projecting.lags() == {}
    projecting.start()
    until(lambda: projecting.lags() == {"files": 0}, "it had caught up")
    written(tmp_path, entries(9))
    until(lambda: last(tmp_path).endswith("-000000000019.parquet"), "it went on")
    projecting.close(5)
    written(tmp_path, entries(9))
    assert last(tmp_path).endswith("-000000000019.parquet")


def test_a_failure_is_said_once_and_got_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried; nobody else is troubled, and who is busy with it is waited for in silence."""
    caplog.set_level(logging.WARNING)
    written(tmp_path, entries(10))
    (tmp_path / "copies").write_text("no directory")
    projecting = following(tmp_path)
    projecting.start()
    until(lambda: "does not follow the ledger" in caplog.text, "it was said")
    with locked(tmp_path / "files.lock", 5):
        (tmp_path / "copies").unlink()
    until(lambda: projecting.lags() == {"files": 0}, "it went on")
    projecting.close(5)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "follows the ledger again" in caplog.text


def test_two_processes_do_not_write_to_one_projection(tmp_path: Path) -> None:
    """Who comes second is told, once nobody is left to wait for."""
    with locked(tmp_path / "lock"), pytest.raises(AuditError) as refused, locked(tmp_path / "lock"):
        pytest.fail("it was taken twice")
    assert refused.value.code == "projection_locked"
