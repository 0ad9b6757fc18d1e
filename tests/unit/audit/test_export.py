from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pytest

from adapters.parquet_file import ParquetRows
from adapters.sqlite.index import SqliteIndex
from router.audit.copies.export import Manifest, Order, export
from router.audit.copies.formats import Csv, JsonArray, JsonLines, Rows, Writer, cloud_event
from router.audit.copies.ocsf import ocsf_event
from router.audit.questions.query import Found, Query, Trail
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.audit.records.table import COLUMNS, LEAF, PERSONAL
from router.audit.tree.checkpoint import NoteVerifier, note_checkpoint
from router.audit.tree.merkle import leaf_hash
from router.errors import AuditError
from router.ports import Entry
from tests.needs import needs
from tests.unit.audit.ledgers import SIGNER, reader, written
from tests.unit.audit.samples import KEY, KEY_ID, OUTCOME, REQUEST, SECRETS, SUBJECT, numbered

Make = Callable[[IO[bytes]], Writer]
FORMATS: dict[str, Callable[[bool], Make]] = {
    "jsonl": lambda personal: lambda file: JsonLines(file.write),
    "csv": lambda personal: lambda file: Csv(file.write, personal),
    "cloudevents": lambda personal: lambda file: JsonArray(file.write, cloud_event("ledger.test/a b")),
    "ocsf": lambda personal: lambda file: JsonArray(file.write, ocsf_event("ledger.test")),
}


def records(count: int = 3) -> list[Entry]:
    made = [system_entry("started", 1_764_000_000_000_000_000)]
    for number in range(count):
        decision = numbered(number)
        made += [decision_entry(decision, b"{}", KEY_ID, KEY), outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, KEY_ID, KEY)]
    return made


@contextmanager
def trail(folder: Path, entries: Sequence[Entry], keys: Any = None) -> Iterator[Trail]:
    if not (folder / "ledger.sqlite").exists():
        written(folder, entries)
    with closing(reader(folder)) as source, closing(SqliteIndex(folder / "index.sqlite")) as index:
        yield Trail(source, index, keys)


def order(target: Path, form: str, query: Query, *, personal: bool = False, make: Make | None = None) -> Order:
    with closing(reader(target.parent)) as source:
        note = source.latest_checkpoint()
    return Order(form, query, target, make or FORMATS[form](personal), personal, "ledger.test", note, 1_764_000_000_000_000_000)


def made(folder: Path, form: str, entries: Sequence[Entry], query: Query = Query(), keys: Any = None) -> tuple[str, Manifest]:  # noqa: B008 - frozen
    with trail(folder, entries, keys) as asked:
        manifest = export(asked, order(folder / f"e.{form}", form, query, personal=keys is not None), lambda _: None)
    return (folder / f"e.{form}").read_bytes().decode(), manifest


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_manifest_says_what_the_file_is(tmp_path: Path, form: str) -> None:
    """Rows, digest, filters, and up to where it is complete under which signed checkpoint."""
    text, manifest = made(tmp_path, form, records(), Query(kind="decision", intent="payment.cancel"))
    kept = json.loads((tmp_path / f"e.{form}.manifest.json").read_bytes())
    assert kept["sha256"] == sha256(text.encode()).hexdigest()
    assert (kept["rows"], kept["bytes"], kept["complete_to"], kept["filters"]) == (
        3,
        len(text.encode()),
        7,
        {"kind": "decision", "intent": "payment.cancel"},
    )
    assert note_checkpoint(kept["checkpoint"]).size == kept["checkpoint_size"] == manifest.checkpoint_size == 7
    NoteVerifier(SIGNER.verifier).open(kept["checkpoint"])
    assert {path.name for path in tmp_path.iterdir() if "e." + form in path.name} == {f"e.{form}", f"e.{form}.manifest.json"}
    assert (tmp_path / f"e.{form}").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_nothing_personal_is_in_it_unless_it_is_asked_for(tmp_path: Path, form: str) -> None:
    """Sealed parts stay sealed, and are opened with their keys."""
    text, _ = made(tmp_path, form, records())
    assert not [secret for secret in SECRETS if secret in text]
    (tmp_path / "open").mkdir()
    assert SUBJECT.id in made(tmp_path / "open", form, records(), keys={KEY_ID: KEY}.get)[0]


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_what_was_erased_says_so(tmp_path: Path, form: str) -> None:
    """Where the key is gone there is a word and not a hole; another one where no record says why."""
    order = system_entry("erasure_ordered", 1, {"key_id": KEY_ID, "reason": "gdpr_art_17"})
    text, _ = made(tmp_path, form, [*records(1), order], keys=lambda _: None)
    assert "erased" in text
    (tmp_path / "lost").mkdir()
    assert "unreadable" in made(tmp_path / "lost", form, records(1), keys=lambda _: None)[0]
    assert not [secret for secret in SECRETS if secret in text]


def test_rows_are_all_of_them_oldest_first(tmp_path: Path) -> None:
    """However many there are: more than several pages."""
    text, manifest = made(tmp_path, "jsonl", records(250))
    indexes = [json.loads(line)["index"] for line in text.splitlines()]
    assert indexes == list(range(501))
    assert manifest.rows == 501


def test_what_is_appended_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    """An export is of one moment."""
    entries = records(300)
    with trail(tmp_path, entries) as asked:

        class Growing(JsonLines):
            def add(self, found: Found) -> None:
                super().add(found)
                if found.index == 10:
                    written(tmp_path, records(50))

        manifest = export(asked, order(tmp_path / "e", "jsonl", Query(), make=lambda file: Growing(file.write)), lambda _: None)
    assert (manifest.rows, manifest.complete_to) == (601, 601)


def test_csv_has_the_documented_columns(tmp_path: Path) -> None:
    """In order; an outcome has its decision's intent, a decision the result of its outcome, each its leaf's hash."""
    text, _ = made(tmp_path, "csv", records(1))
    assert text.splitlines()[0].split(",") == [name for name, _ in COLUMNS]
    _, decision, outcome = table(text)
    assert (decision["result"], decision["intent"], decision["confidence"]) == ("routed", "payment.cancel", "0.931235")
    assert (outcome["intent"], outcome["http_status"], outcome["confidence"]) == ("payment.cancel", "200", "0.931235")
    with closing(reader(tmp_path)) as source:
        assert decision["leaf_hash"] == leaf_hash(next(source.records(1, 2)).leaf).hex()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_a_cell_is_no_formula(tmp_path: Path, text: str) -> None:
    """What a spreadsheet would compute is text in it, quotes and line ends included."""
    hostile = replace(numbered(1), request=replace(REQUEST, path=text, subject=replace(SUBJECT, id=text + '","x')))
    entry = decision_entry(hostile, b"{}", KEY_ID, KEY)
    (row,) = table(made(tmp_path, "csv", [entry], keys={KEY_ID: KEY}.get)[0])
    assert (row["path"], row["subject"]) == (f"'{text}", f"'{text}" + '","x')


def test_an_event_has_the_ledger_as_its_source(tmp_path: Path) -> None:
    """Index, schema, decision and time are CloudEvents' own attributes."""
    events = json.loads(made(tmp_path, "cloudevents", records(1))[0])
    assert [event["id"] for event in events] == ["0", "1", "2"]
    assert events[1] | {"data": None} == {
        "specversion": "1.0",
        "id": "1",
        "source": "urn:lockgate:ledger:ledger.test%2Fa%20b",
        "type": "lockgate.decision.v1",
        "subject": numbered(0).id,
        "time": "2025-11-24T16:00:00.223456789Z",
        "datacontenttype": "application/json",
        "data": None,
    }
    assert "subject" not in events[0]


@pytest.mark.parametrize("form", ["cloudevents", "ocsf"])
def test_no_record_is_an_empty_array(tmp_path: Path, form: str) -> None:
    """Still JSON."""
    assert json.loads(made(tmp_path, form, records(1), Query(intent="other"))[0]) == []


def test_an_export_replaces_nothing(tmp_path: Path) -> None:
    """Neither a file nor a manifest that is there."""
    made(tmp_path, "jsonl", records(1))
    with pytest.raises(AuditError, match="exists already"):
        made(tmp_path, "jsonl", records(1))
    (tmp_path / "e.jsonl").unlink()
    with pytest.raises(AuditError, match="exists already") as refused:
        made(tmp_path, "jsonl", records(1))
    assert refused.value.code == "export_exists"


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Nor does one whose reading could not be recorded, or that has no place."""
    written(tmp_path, records(1))

    class Failing(JsonLines):
        def add(self, found: Found) -> None:
            raise AuditError("no more")

    def unrecorded(_: Manifest) -> None:
        raise AuditError("not recorded")

    with trail(tmp_path, ()) as asked:
        with pytest.raises(AuditError, match="no more"):
            export(asked, order(tmp_path / "e", "jsonl", Query(), make=lambda file: Failing(file.write)), lambda _: None)
        with pytest.raises(AuditError, match="not recorded"):
            export(asked, order(tmp_path / "e", "jsonl", Query()), unrecorded)
        elsewhere = replace(order(tmp_path / "e", "jsonl", Query()), target=tmp_path / "none" / "e")
        with pytest.raises(AuditError, match="cannot be written: No such file or directory") as refused:
            export(asked, elsewhere, lambda _: None)
    assert refused.value.code == "export_unwritable"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".e", "e"))]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """One record is held at a time."""
    peaks = []
    for count in (300, 1500):
        folder = tmp_path / str(count)
        folder.mkdir()
        with trail(folder, records(count)) as asked:
            asked.page(Query(), None, 1)  # the index is made
            tracemalloc.start()
            export(asked, order(folder / "e", "csv", Query()), lambda _: None)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_parquet_has_types(tmp_path: Path) -> None:
    """Read by DuckDB, another implementation of the format: times are times, the leaf is whole, the metadata names the ledger."""
    needs("pyarrow", "pip install 'lockgate[parquet]'")
    needs("duckdb", "pip install 'lockgate[duckdb]'")
    import duckdb

    columns = (*COLUMNS, *PERSONAL, *LEAF)
    with trail(tmp_path, records(2), {KEY_ID: KEY}.get) as asked:
        make = lambda file: Rows(ParquetRows(file, columns, {"lockgate.origin": "ledger.test"}), personal=True)  # noqa: E731 - shorter so
        export(asked, order(tmp_path / "e", "parquet", Query(), personal=True, make=make), lambda _: None)
    with duckdb.connect() as database:
        asked_for = "SELECT record, epoch_us(time), confidence, subject, leaf FROM read_parquet(?) ORDER BY record"
        rows = database.execute(asked_for, [str(tmp_path / "e")]).fetchall()
        notes = database.execute(
            "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'lockgate.origin'", [str(tmp_path / "e")]
        )
        assert notes.fetchall() == [("ledger.test",)]
    assert [row[0] for row in rows] == list(range(5))
    assert rows[1][1:4] == (numbered(0).decided_ns // 1000, 0.931235, SUBJECT.id)
    with closing(reader(tmp_path)) as source:
        assert [row[4].encode() for row in rows] == [stored.leaf for stored in source.records(0, 5)]
