from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.cli.main import run
from tests.unit.audit.ledgers import SIGNER
from tests.unit.cli.test_audit import Lockgate, lockgate, state  # noqa: F401 - fixtures


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["audit", "check-certificate", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def certificate(lockgate: Lockgate, tmp_path: Path) -> Path:  # noqa: F811 - a fixture
    status, _, error = lockgate("query", "--json", "--intent", "payment.cancel", "--certificate", str(tmp_path / "proof"))
    assert (status, "proves the answer up to its checkpoint" in error) == (0, True)
    return tmp_path / "proof"


def test_an_answer_is_checked_without_its_ledger(
    certificate: Path,
    state: Path,  # noqa: F811 - a fixture
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the file and the public key: the matches on standard output, what was proven beside it."""
    newest = str(max((state / "checkpoints").iterdir()))
    (state / "ledger.sqlite").unlink()
    status, output, error = check(capsys, str(certificate), "--key", SIGNER.verifier, "--checkpoint", newest)
    assert (status, len(output.splitlines())) == (0, 120)
    for text in ("complete", "120 matches among records 0 to 240", "kind decision", "intent payment.cancel", "checkpoint of 241 records"):
        assert text in error
    status, output, _ = check(capsys, str(certificate), "--key", SIGNER.verifier, "--json")
    summary = json.loads(output.splitlines()[-1])
    assert (status, summary["ok"], summary["matches"], summary["not_proven"]) == (0, True, 120, [])


def test_one_that_does_not_hold_ends_with_1(certificate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And gives no match."""
    lines = certificate.read_bytes().splitlines(keepends=True)
    certificate.write_bytes(b"".join(lines[:-1]))
    status, output, error = check(capsys, str(certificate), "--key", SIGNER.verifier)
    assert (status, output, "does not hold" in error) == (1, "", True)
    status, output, _ = check(capsys, str(certificate), "--key", SIGNER.verifier, "--json")
    assert (status, json.loads(output)["code"]) == (1, "certificate_wrong")
    assert check(capsys, str(certificate), "--key", "no key")[0] == 2


def test_an_answer_without_one_is_a_servers_word(lockgate: Lockgate, tmp_path: Path) -> None:  # noqa: F811 - a fixture
    """Which is said; what cannot be proven is one sentence."""
    assert "Complete by this server's word" in lockgate("query")[2]
    assert "Complete by this server's word" not in lockgate("query", "--certificate", str(tmp_path / "proof"))[2]
    status, _, error = lockgate("query", "--certificate", str(tmp_path / "proof"))
    assert (status, "exists already" in error) == (2, True)
    status, _, error = lockgate("query", "--result", "routed", "--certificate", str(tmp_path / "other"))
    assert (status, "result is not said there" in error, (tmp_path / "other").exists()) == (2, True, False)
