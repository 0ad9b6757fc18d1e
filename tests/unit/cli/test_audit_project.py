from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.cli.main import run
from router.processes.projecting import locked
from tests.golden.config.conftest import GOOD
from tests.needs import needs
from tests.unit.audit.ledgers import entries, written

needs("duckdb", "pip install 'lockgate[duckdb]'")

import duckdb

SETTINGS = "version: 1\naudit: {projections: {quack: {adapter: duckdb, file: copy.duckdb}, files: {adapter: parquet, directory: copies}}}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name, text in GOOD.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            text.replace("adapter: tiny, url: 'http://127.0.0.1:9000'", "adapter: http, upstreams: [{url: 'http://127.0.0.1:9000'}]")
        )
    (tmp_path / "lockgate.yaml").write_text(SETTINGS)
    written(tmp_path / "state", entries(30))
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], workspace: Path, *arguments: str) -> tuple[int, str, str]:
    status = run(["audit", *arguments, "--config", str(workspace)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def count(workspace: Path) -> int:
    with duckdb.connect(str(workspace / "copy.duckdb"), read_only=True) as file:
        return file.execute("SELECT count(*) FROM records").fetchall()[0][0]


def test_a_projection_is_brought_up_and_made_again(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name in the configuration."""
    for name in ("quack", "files"):
        for options in ((), (), ("--rebuild",)):
            status, output, _ = call(capsys, workspace, "project", name, *options)
            assert (status, output) == (0, f"{name} is complete up to record 30\n")
    assert count(workspace) == 30


def test_reconciliation_finds_what_was_changed(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that mends it, which does."""
    call(capsys, workspace, "project", "quack")
    with duckdb.connect(str(workspace / "copy.duckdb")) as file:
        file.execute("DELETE FROM records WHERE record = 12")
    status, output, _ = call(capsys, workspace, "reconcile", "--json")
    one, _ = map(json.loads, output.splitlines())
    assert (status, one["kind"], one["record"], one["query"]) == (1, "projection_differs", 12, "lockgate audit project quack --rebuild")
    assert run([*one["query"].split()[1:], "--config", str(workspace)]) == 0
    capsys.readouterr()
    assert call(capsys, workspace, "reconcile")[0] == 0


def test_what_cannot_be_read_is_a_finding(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody knows what it holds."""
    (workspace / "copy.duckdb").write_bytes(b"no database" * 1000)
    status, output, _ = call(capsys, workspace, "reconcile")
    assert (status, "projection_unreadable" in output) == (1, True)


def test_another_name_is_one_sentence(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what may have been meant."""
    status, _, error = call(capsys, workspace, "project", "quak")
    assert (status, "has no projection 'quak'" in error, "quack" in error) == (2, True, True)


def test_two_do_not_write_at_once(workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits, and then says so."""
    monkeypatch.setattr("router.cli.audit.project.PATIENCE_S", 0.1)
    with locked(workspace / "state" / "projections" / "quack.lock"):
        status, _, error = call(capsys, workspace, "project", "quack")
    assert (status, "Another process writes" in error) == (2, True)
    assert call(capsys, workspace, "project", "quack")[0] == 0
