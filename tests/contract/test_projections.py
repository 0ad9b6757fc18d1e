"""One suite over every projection that can be read back: it holds what the ledger holds, once, whatever happens in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.audit.copies.projecting import Kept, differences, digest, step
from router.audit.records.record import decision_entry, evidence_entry, system_entry
from router.audit.records.table import COLUMNS, LEAF
from router.audit.tree.merkle import leaf_hash
from router.errors import AuditError
from router.ports import Entry
from tests.needs import needs
from tests.unit.audit.ledgers import SIGNER, entries, reader, written
from tests.unit.audit.samples import KEY, KEY_ID, numbered

needs("pyarrow", "pip install 'lockgate[parquet]'")
needs("duckdb", "pip install 'lockgate[duckdb]'")

import duckdb
import pyarrow.parquet as pq

from adapters.duckdb_projection import DuckdbFile
from adapters.parquet_projection import ParquetDirectory

DAY = 86_400 * 1_000_000_000
ALL = (*COLUMNS, *LEAF)


def parquet(folder: Path) -> ParquetDirectory:
    return ParquetDirectory(folder / "copy", ALL, digest, Kept)


def duck(folder: Path) -> DuckdbFile:
    return DuckdbFile(folder / "copy" / "ledger.duckdb", ALL, Kept)


@pytest.fixture(params=[parquet, duck], ids=["parquet", "duckdb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    def made() -> Any:
        projection = request.param(tmp_path)
        projection.batch = 7
        return projection

    return made


def follow(folder: Path, projection: Any, steps: int = 1000) -> int:
    with closing(reader(folder)) as source:
        for _ in range(steps):
            complete, size = step(source, projection)
            if complete == size:
                break
        return complete


def wrong(folder: Path, projection: Any) -> list[tuple[int, str]]:
    with closing(reader(folder)) as source:
        return list(differences(source, projection))


def query(folder: Path, projection: Any, sql: str) -> list[Any]:
    if isinstance(projection, DuckdbFile):
        with duckdb.connect(str(folder / "copy" / "ledger.duckdb"), read_only=True) as file:
            return file.execute(sql).fetchall()
    with duckdb.connect() as file:
        file.execute(f"CREATE VIEW records AS SELECT * FROM read_parquet('{folder}/copy/day=*/*.parquet')")
        return file.execute(sql).fetchall()


def rows(folder: Path, projection: Any) -> list[tuple[int, str]]:
    return query(folder, projection, "SELECT record, leaf_hash FROM records ORDER BY record")


def truth(folder: Path) -> list[tuple[int, str]]:
    with closing(reader(folder)) as source:
        return [(stored.index, leaf_hash(stored.leaf).hex()) for stored in source.records(0, source.size())]


def test_it_follows_the_ledger(tmp_path: Path, make: Callable[[], Any]) -> None:
    """Batch by batch, and on where it ended; each record once, with its leaf."""
    written(tmp_path, entries(30))
    assert follow(tmp_path, make()) == 30
    written(tmp_path, entries(10))
    assert follow(tmp_path, make()) == 40
    assert rows(tmp_path, make()) == truth(tmp_path)
    assert wrong(tmp_path, make()) == []
    found = query(tmp_path, make(), "SELECT kind, count(*), max(intent) FROM records GROUP BY kind ORDER BY kind")
    assert found == [("decision", 20, "payment.cancel"), ("outcome", 20, None)]
    origin, complete, last = make().complete()
    assert (origin, complete, last.hex()) == (SIGNER.name, 40, truth(tmp_path)[-1][1])


def test_it_holds_every_kind_and_time(tmp_path: Path, make: Callable[[], Any]) -> None:
    """Over midnight, clocks that are set back, and records without anything in most columns."""
    decision = numbered(1)
    details = {"phase": "completed", "reference": "decision", "destination": None, "sender": "abcd1234"}
    written(
        tmp_path,
        [
            system_entry("started", decision.decided_ns - DAY),
            decision_entry(decision, b"{}", KEY_ID, KEY),
            decision_entry(replace(numbered(2), decided_ns=decision.decided_ns + DAY), b"{}", KEY_ID, KEY),
            decision_entry(replace(numbered(3), decided_ns=decision.decided_ns - DAY), b"{}", KEY_ID, KEY),
            evidence_entry(decision.id, decision.decided_ns, details, {}),
            Entry(b'{"unknown":1}'),
        ],
    )
    assert follow(tmp_path, make()) == 6
    assert rows(tmp_path, make()) == truth(tmp_path)
    assert wrong(tmp_path, make()) == []
    found = query(tmp_path, make(), "SELECT epoch_us(time), kind, subject_key, leaf FROM records WHERE record IN (1, 5) ORDER BY record")
    assert found[0][:3] == (decision.decided_ns // 1000, "decision", KEY_ID)
    assert found[1] == (None, "unreadable", None, '{"unknown":1}')


def test_another_ledger_is_not_mixed_in(tmp_path: Path, make: Callable[[], Any]) -> None:
    """A projection of another past is left alone until it is rebuilt."""
    written(tmp_path, entries(20))
    follow(tmp_path, make())
    (tmp_path / "ledger.sqlite").unlink()
    shutil.rmtree(tmp_path / "checkpoints")
    written(tmp_path, [system_entry("other", number) for number in range(30)])
    with pytest.raises(AuditError, match="rebuild it") as refused:
        follow(tmp_path, make())
    assert refused.value.code == "projection_foreign"
    assert [index for index, _ in wrong(tmp_path, make())] == [0]
    make().reset()
    assert follow(tmp_path, make()) == 30
    assert rows(tmp_path, make()) == truth(tmp_path)
    assert wrong(tmp_path, make()) == []


def test_an_empty_ledger_is_no_difference(tmp_path: Path, make: Callable[[], Any]) -> None:
    """Nor a projection that was never written to."""
    written(tmp_path, [])
    assert follow(tmp_path, make()) == 0
    assert wrong(tmp_path, make()) == []


def test_a_reset_may_be_repeated(tmp_path: Path, make: Callable[[], Any]) -> None:
    """Also of nothing."""
    written(tmp_path, entries(10))
    make().reset()
    follow(tmp_path, make())
    make().reset()
    make().reset()
    assert make().complete()[1] == 0
    assert follow(tmp_path, make()) == 10


@pytest.mark.parametrize("what", ["altered", "leaf", "removed", "doubled"])
def test_what_was_changed_is_found(tmp_path: Path, make: Callable[[], Any], what: str) -> None:
    """With the record where it begins."""
    written(tmp_path, entries(30))
    projection = make()
    follow(tmp_path, projection)
    assert tamper(tmp_path, projection, what) in [index for index, _ in wrong(tmp_path, make())]


def tamper(folder: Path, projection: Any, what: str) -> int:
    """The record at which it shows."""
    if isinstance(projection, DuckdbFile):
        sql = {
            "altered": "UPDATE records SET leaf_hash = repeat('00', 32) WHERE record = 9",
            "leaf": "UPDATE records SET leaf = replace(leaf, 'routed', 'failed') WHERE record = 9",
            "removed": "DELETE FROM records WHERE record = 9",
            "doubled": "INSERT INTO records SELECT * FROM records WHERE record = 9",
        }
        with duckdb.connect(str(folder / "copy" / "ledger.duckdb")) as file:
            file.execute(sql[what])
        return 9 if what != "doubled" else 10
    files = sorted((folder / "copy").glob("day=*/*.parquet"))
    if what == "removed":
        files[1].unlink()
        return 7
    if what == "doubled":
        files[1].with_name(files[1].name.replace("-000000000014", "-000000000013")).write_bytes(files[1].read_bytes())
        return 7
    if what == "leaf":
        with duckdb.connect() as file:
            changed = "SELECT * REPLACE (replace(leaf, 'routed', 'failed') AS leaf)"
            notes = pq.read_metadata(files[1]).metadata[b"lockgate.digest"].decode()
            file.execute(f"CREATE TABLE one AS {changed} FROM read_parquet('{files[1]}')")
            file.execute(f"COPY one TO '{files[1]}' (FORMAT parquet, KV_METADATA {{\"lockgate.digest\": '{notes}'}})")
        return 7
    files[1].write_bytes(files[2].read_bytes())
    return 7
