"""`lockgate console link`, and what `lockgate serve` says of signing in."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from router.cli.main import run
from router.cli.serve import _announce
from router.processes.control import Started

STARTED = Started({}, (), "http://127.0.0.1:8081", 1, 0, "a" * 64, "http://127.0.0.1:8081/console/sign-in/local?token=secret")


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["init", str(tmp_path / "w")]) == 0
    keys = tmp_path / "w" / "state" / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    (keys / "sealing.key").write_text("ab" * 32)
    capsys.readouterr()
    return tmp_path / "w"


def test_a_link_is_printed_for_who_can_read_the_key(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another one each time, and nothing else."""
    said = []
    for _ in range(2):
        assert run(["console", "link", "-c", str(workspace)]) == 0
        said.append(capsys.readouterr().out)
    assert all(re.fullmatch(r"http://127\.0\.0\.1:\d+/console/sign-in/local\?token=[\w-]{75}\n", each) for each in said)
    assert said[0] != said[1]


def test_without_the_key_there_is_no_link(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence; no key is made, for it would be another than the ledger's."""
    (workspace / "state" / "keys" / "sealing.key").unlink()
    assert run(["console", "link", "-c", str(workspace)]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not (workspace / "state" / "keys" / "sealing.key").exists()


def test_where_links_are_off_one_sentence_says_so(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the configuration."""
    file = workspace / "lockgate.yaml"
    file.write_text(file.read_text().replace("listen: 127.0.0.1:8081", "sign_in: {local: false}"))
    assert run(["console", "link", "-c", str(workspace)]) == 2
    assert "nobody sign in by a link" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("told", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_serve_shows_the_link_on_a_terminal_only(told: io.StringIO, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is read by people who are no administrators."""
    monkeypatch.setattr("sys.stderr", told)
    _announce(STARTED)
    assert ("token=secret" in told.getvalue()) is shown
    assert ("lockgate console link" in told.getvalue()) is not shown


@pytest.mark.parametrize(("told", "unwanted", "coloured"), [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)])
def test_colours_are_for_terminals_that_want_them(
    told: io.StringIO, unwanted: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are lines cut to a width that nobody has: where they go is a log."""
    monkeypatch.setenv("NO_COLOR", unwanted)
    monkeypatch.setattr("sys.stderr", told)
    _announce(replace(STARTED, doors={"decide": "http://127.0.0.1:" + "8" * 100}))
    assert ("\x1b[" in told.getvalue()) is coloured
    assert "8" * 100 + "/v1/decide\n" in told.getvalue()
