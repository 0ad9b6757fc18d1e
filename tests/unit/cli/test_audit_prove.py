from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.subject_keys import KeyFile
from lockgate_verify.cli import main as verify
from router.audit.keys.files import ensure_sealing_key
from router.audit.records.record import decision_entry, outcome_entry
from router.cli.main import run
from tests.unit.audit.ledgers import SIGNER, written
from tests.unit.audit.ledgers import run as tamper
from tests.unit.audit.samples import OUTCOME, SUBJECT, numbered

Lockgate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    keys = KeyFile(tmp_path / "keys.sqlite", ensure_sealing_key(tmp_path / "keys" / "sealing.key"))
    keys.open()
    key_id, key = keys.ensure([SUBJECT.id])[SUBJECT.id]
    keys.close()
    records = []
    for number in range(20):
        decision = numbered(number)
        records.append(decision_entry(decision, b"{}", key_id, key))
        records.append(outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, key_id, key))
    written(tmp_path, records, 5, 20)
    return tmp_path


@pytest.fixture
def lockgate(state: Path, capsys: pytest.CaptureFixture[str]) -> Lockgate:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(["audit", "prove", *arguments, "--state", str(state)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def verified(file: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    status = verify([str(file), "--key", SIGNER.verifier, "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def test_what_it_writes_verifies_elsewhere(lockgate: Lockgate, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Decision and outcome, proven, with the way from a checkpoint kept elsewhere; nothing personal."""
    out = state / "bundle.json"
    older = sorted((state / "checkpoints").iterdir())[0]
    status, output, said = lockgate(numbered(3).id, "--out", str(out), "--checkpoint", str(older))
    assert (status, output) == (0, "")
    assert "2 records of decision" in said
    assert "no personal field opened" in said
    assert f"lockgate-verify {out} --key" in said
    status, report = verified(out, capsys, "--checkpoint", str(older))
    assert (status, report["outside_checkpoint"], report["opened"]) == (0, 20, [])
    assert SUBJECT.id not in out.read_text()


def test_one_field_is_opened_without_the_key(lockgate: Lockgate, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And no other; the file is for its owner's eyes."""
    out = state / "bundle.json"
    out.write_text("something that everybody may read")
    assert lockgate(numbered(3).id, "--out", str(out), "--field", "text")[0] == 0
    assert os.stat(out).st_mode & 0o077 == 0
    _, report = verified(out, capsys)
    assert report["opened"] == [{"record": 6, "field": "text", "value": "cancel 4711 for anna"}]
    assert lockgate(numbered(3).id, "--out", str(out), "--personal")[0] == 0
    assert len(verified(out, capsys)[1]["opened"]) > 10


def test_a_part_that_was_removed_is_said_to_be(lockgate: Lockgate, state: Path) -> None:
    """Instead of a field that is silently missing."""
    tamper(state, "UPDATE records SET sealed = X'' WHERE idx = 6")
    status, _, said = lockgate(numbered(3).id, "--out", str(state / "bundle.json"), "--field", "text")
    assert status == 0
    assert "no personal field opened; personal part removed: record 6." in said


def test_a_tlog_proof_is_written_as_text(lockgate: Lockgate) -> None:
    """To standard output, of one record."""
    status, output, said = lockgate(numbered(3).id, "--out", "-", "--format", "tlog-proof", "--record", "7")
    assert (status, said) == (0, "")
    assert output.startswith("c2sp.org/tlog-proof@v1\nindex 7\n")
    assert output.endswith("\n")


def test_standard_output_holds_the_bundle_and_nothing_else(lockgate: Lockgate) -> None:
    """What is said about it goes to standard error."""
    status, output, _ = lockgate(numbered(3).id, "--out", "-")
    assert (status, json.loads(output)["format"]) == (0, "lockgate.bundle.v1")


def test_a_record_without_a_checkpoint_is_refused_and_says_when(lockgate: Lockgate, state: Path) -> None:
    """Non-zero, no file, and what to wait for."""
    tamper(state, "DELETE FROM checkpoints WHERE size > 20")
    status, _, said = lockgate(numbered(15).id, "--out", str(state / "bundle.json"))
    assert status == 2
    assert said.startswith("lockgate: Record 30 is newer than the latest checkpoint, which is over 20 records. The next one is signed")
    assert "once Lockgate is stopped" in said
    assert not (state / "bundle.json").exists()


def test_the_configuration_says_when_the_next_checkpoint_is_due(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In seconds and records."""
    assert run(["init", str(tmp_path / "workspace")]) == 0
    (tmp_path / "workspace" / "state").mkdir(exist_ok=True)
    (state / "ledger.sqlite").rename(tmp_path / "workspace" / "state" / "ledger.sqlite")
    tamper(tmp_path / "workspace" / "state", "DELETE FROM checkpoints")
    monkeypatch.chdir(tmp_path / "workspace")
    assert run(["audit", "prove", numbered(3).id, "--out", "-"]) == 2
    assert "at the latest 60 s after it was written or after 1000 records" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nobody", "--out", "x"), "The ledger holds no decision nobody."),
        ((numbered(3).id, "--out", "x", "--field", "texts"), "has no personal field texts; there are: "),
        ((numbered(3).id, "--out", "x", "--format", "tlog-proof", "--personal"), "holds neither personal fields"),
        ((numbered(3).id, "--out", "x", "--record", "7"), "--record is for --format tlog-proof"),
        ((numbered(3).id, "--out", "/nowhere/x"), "cannot be written: No such file or directory"),
        ((numbered(3).id, "--out", "x", "--checkpoint", __file__), "A signature line of the checkpoint is malformed."),
        ((numbered(3).id, "--out", "x", "--format", "tlog-proof", "--record", "9"), "Record 9 is none of decision"),
    ],
)
def test_a_mistake_is_one_sentence(lockgate: Lockgate, arguments: tuple[str, ...], sentence: str) -> None:
    """No traceback, and no file."""
    status, _, said = lockgate(*arguments)
    assert status != 0
    assert sentence in said
    assert not Path("x").exists()
