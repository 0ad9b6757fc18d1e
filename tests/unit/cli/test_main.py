from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.cli.main import COMMANDS, run
from tests import forked
from tests.e2e.processes import ROOT, inherited
from tests.unit.cli import raising


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sentence", "surprise", "interrupt", "elsewhere", "told"):
        monkeypatch.setitem(COMMANDS, name, (f"{raising.__name__}:{name}", ""))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The table is what help shows."""
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and summary in shown for name, (_, summary) in COMMANDS.items())


def test_help_imports_no_command() -> None:
    """Asking what there is costs no model, no server, no database."""
    code = "import sys; from router.cli.main import run; run(['--help']); print(sum(name in sys.modules for name in %r))"
    modules = [target.partition(":")[0] for target, _ in COMMANDS.values()]
    done = subprocess.run([sys.executable, "-c", code % (modules,)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0"


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 2, with a sentence."""
    assert run(["bogus"]) == 2
    assert "No such command 'bogus'" in capsys.readouterr().err


@pytest.mark.usefixtures("failing")
def test_an_error_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """What has a sentence of its own is said as it is."""
    assert run(["sentence"]) == 2
    assert capsys.readouterr().err == "lockgate: The ledger is full.\n"


@pytest.mark.usefixtures("failing")
def test_a_surprise_is_no_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is named in one line, which says how to see more."""
    monkeypatch.delenv("LOCKGATE_DEBUG", raising=False)
    assert run(["surprise"]) == 70
    error = capsys.readouterr().err
    assert error == "lockgate: something unexpected happened (KeyError: 'intent'); LOCKGATE_DEBUG=1 shows where.\n"


@pytest.mark.usefixtures("failing")
def test_who_debugs_sees_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOCKGATE_DEBUG=1 lets errors through."""
    monkeypatch.setenv("LOCKGATE_DEBUG", "1")
    with pytest.raises(KeyError, match="intent"):
        run(["surprise"])


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(("command", "said"), [("elsewhere", "no\\u202e\n"), ("told", "It is \\u009b8m.\n")])
def test_a_terminal_obeys_no_error(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its sentence may be of another side, or of a file that somebody else made."""
    assert run([command]) in (1, 2)
    assert capsys.readouterr().err.endswith(said)


@pytest.mark.usefixtures("failing")
def test_ctrl_c_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted command says nothing and exits with 130."""
    assert run(["interrupt"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_every_fault_of_a_configuration_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    """A missing workspace is a fault with its file."""
    assert run(["check", "--config", f"{tmp_path}/lockgate.yaml"]) == 1
    assert "lockgate.yaml:1: The file does not exist; `lockgate init` makes a workspace" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("check", "--json"), ("audit", "verify"), ("keys", "list", "--unknown")])
def test_what_tests_fork_says_what_python_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    """Most tests run commands in processes that have imported already: with folder and environment they end and say as a fresh one."""
    (tmp_path / "lockgate.yaml").write_text("version: ${HERE}\nstate: ${NOWHERE}\n")
    monkeypatch.setenv("NOWHERE", "left out")
    environment = {**inherited({"HERE": "7", "COLUMNS": "60"})}
    del environment["NOWHERE"]
    command = [sys.executable, "-m", "lockgate", *arguments]
    fresh = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60)
    found = forked.lockgate(arguments, tmp_path, environment, 60)
    assert (found.returncode, found.stdout, found.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)
    assert fresh.returncode in (1, 2)
    assert fresh.stdout + fresh.stderr


def test_what_is_forked_has_imported_this_tree(tmp_path: Path) -> None:
    """All that is named, before the program begins."""
    with forked.forked(_tell_modules, tmp_path / "told") as process:
        process.join(30)
        assert process.exitcode == 0
    told = json.loads((tmp_path / "told").read_text())
    assert told.keys() >= set(forked.IMPORTED)
    assert {Path(told[name]).is_relative_to(ROOT) for name in forked.IMPORTED} == {True}


def _tell_modules(file: Path) -> None:
    told = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    file.write_text(json.dumps({name: str(place) for name, place in told.items()}))


def test_a_reader_that_leaves_hears_no_complaint() -> None:
    """Nobody reads any more, as after `| head -1`: the command ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        command = [sys.executable, "-m", "lockgate", "schema", "config"]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.stderr == b""
