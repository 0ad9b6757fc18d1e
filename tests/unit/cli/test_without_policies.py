"""Who keeps the evidence, or has to get in, does not depend on the policies of the workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.cli.main import run

BUNDLE = "policy: {bundle: {from: %s, unsigned: true}}"
BROKEN = {
    "not downloaded": BUNDLE % '"https://bundles.example/b.tar.gz"',
    "gone": BUNDLE % "b.tar.gz",
    "key gone": "policy: {bundle: {from: b.tar.gz, keys: {release: {file: none.pub}}}}",
    "data broken": "policy: {data: broken.yaml}",
    "override unreadable": "",
}


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["init", str(tmp_path / "w")]) == 0
    keys = tmp_path / "w" / "state" / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    (keys / "sealing.key").write_text("ab" * 32)
    (tmp_path / "w" / "broken.yaml").write_text("lockgate: [\n")
    capsys.readouterr()
    return tmp_path / "w"


def broken(workspace: Path, why: str) -> str:
    file = workspace / "lockgate.yaml"
    file.write_text(f"{file.read_text()}\n{BROKEN[why]}\n")
    if not BROKEN[why]:
        (workspace / "state" / "policies").mkdir()
        (workspace / "state" / "policies" / "in_force.json").write_text("{")
    assert run(["check", str(workspace)]) != 0
    return str(file)


@pytest.mark.parametrize("why", BROKEN)
@pytest.mark.parametrize(
    "command", [("migrate",), ("recover",), ("verify",), ("query",), ("rotate-key", "--old-key-lost"), ("reconcile",)], ids=" ".join
)
def test_the_ledger_is_kept_without_policies(
    workspace: Path, why: str, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first bundle came, and while no policy can be used: tables are made, records are read, a lost ledger is recovered."""
    config = broken(workspace, why)
    capsys.readouterr()
    assert run(["audit", *command, "--config", config]) == 2
    assert "There is no ledger" in capsys.readouterr().err


@pytest.mark.parametrize("why", BROKEN)
def test_who_has_to_get_in_gets_in_without_policies(workspace: Path, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaking the glass is for when policies are broken."""
    file = workspace / "lockgate.yaml"
    file.write_text(file.read_text().replace("listen: 127.0.0.1:8081", "listen: 127.0.0.1:8081\n  sign_in: {break_glass: true}"))
    config = broken(workspace, why)
    capsys.readouterr()
    for command in (("link",), ("break-glass", "--case", "INC-1")):
        assert run(["console", *command, "--config", config]) == 0
        assert "/console/sign-in/" in capsys.readouterr().out
