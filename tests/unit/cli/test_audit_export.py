from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from router.cli.audit.export import FORMATS
from tests.needs import wanted
from tests.unit.audit.samples import SUBJECT
from tests.unit.cli.test_audit import Lockgate, lockgate, state  # noqa: F401 - fixtures


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_written_with_its_manifest(lockgate: Lockgate, tmp_path: Path, state: Path, form: str) -> None:  # noqa: F811 - a fixture
    """What matches; that it was exported is noted for the ledger."""
    if form == "parquet" and not wanted("pyarrow"):
        pytest.skip("pyarrow is missing: pip install 'lockgate[parquet]'")
    out = tmp_path / "out"
    status, output, error = lockgate("export", "--format", form, "--out", str(out), "--subject", SUBJECT.id, "--json")
    manifest = json.loads(output)
    assert (status, manifest["rows"], manifest["complete_to"], manifest["format"]) == (0, 120, 241, form)
    assert manifest["sha256"] == sha256(out.read_bytes()).hexdigest()
    assert SUBJECT.id not in output + out.read_bytes().decode("latin-1")
    notes = [json.loads(note.read_bytes()) for note in (state / "readings").iterdir()]
    assert "export" in str(notes)
    assert SUBJECT.id not in str(notes)
    status, output, error = lockgate("export", "--format", form, "--out", str(out))
    assert (status, "exists already" in error) == (2, True)


def test_personal_fields_need_their_flag_and_the_key(lockgate: Lockgate, tmp_path: Path, state: Path) -> None:  # noqa: F811 - a fixture
    """As in every question."""
    assert lockgate("export", "--format", "csv", "--out", str(tmp_path / "a"), "--personal")[0] == 0
    assert SUBJECT.id in (tmp_path / "a").read_text()
    (state / "keys" / "sealing.key").unlink()
    status, _, error = lockgate("export", "--format", "csv", "--out", str(tmp_path / "b"), "--personal")
    assert (status, "sealing.key cannot be read" in error, (tmp_path / "b").exists()) == (2, True, False)


def test_people_are_told_where_and_how_much(lockgate: Lockgate, tmp_path: Path) -> None:  # noqa: F811 - a fixture
    """In words."""
    status, output, _ = lockgate("export", "--format", "jsonl", "--out", str(tmp_path / "a"), "--kind", "all")
    assert (status, "241 records, out of 241 in the ledger" in output) == (0, True)
    assert "the first 241 are signed by the checkpoint in it" in output


def test_a_missing_extra_is_named(lockgate: Lockgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 - a fixture
    """Only by who asks for what needs it; nothing is left lying about."""
    monkeypatch.setattr("adapters.parquet_file.pa", None)
    status, _, error = lockgate("export", "--format", "parquet", "--out", str(tmp_path / "a"))
    assert (status, "pip install 'lockgate[parquet]'" in error, list(tmp_path.glob("*a"))) == (2, True, [])
    assert lockgate("export", "--format", "csv", "--out", str(tmp_path / "a"))[0] == 0
