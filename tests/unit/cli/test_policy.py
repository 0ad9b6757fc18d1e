"""`lockgate policy` as its user sees it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from router.cli.main import run

ROOT = Path(__file__).parents[3]
Out = pytest.CaptureFixture[str]
BAD = """package lockgate.rules.bad

import data.lockgate.lib.violation

deny contains "x" if input.subject.rols == 1
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "policies", tmp_path / "policies"))


def said(capsys: Out) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


@pytest.fixture
def bad(policies: Path) -> Path:
    (policies / "lockgate" / "bad.rego").write_text(BAD)
    return policies


def test_the_shipped_policies_are_sound(policies: Path, capsys: Out) -> None:
    """With warnings counted, by every check."""
    assert run(["policy", "check", str(policies), "--strict"]) == 0
    assert "15 files of policies in order, 0 warnings" in said(capsys)
    assert run(["policy", "test", str(policies), "--threshold", "100%"]) == 0
    assert "0 failed" in said(capsys)


def test_the_policies_of_a_workspace_are_found(capsys: Out) -> None:
    """Folder and data as its configuration says, and nothing else of it is looked at."""
    assert run(["policy", "check", "--config", str(ROOT / "examples" / "halden"), "--strict"]) == 0
    assert run(["policy", "test", "--config", str(ROOT / "examples" / "halden" / "lockgate.yaml")]) == 0


def test_faults_are_said_by_file_and_line(bad: Path, capsys: Out) -> None:
    """And counted; warnings are told apart."""
    assert run(["policy", "check", str(bad)]) == 1
    shown = said(capsys)
    assert "bad.rego:5: The input never has 'input.subject.rols'. Did you mean 'roles'?" in shown
    assert "bad.rego:3: warning: Nothing uses the import 'violation'." in shown
    assert "1 fault, 2 warnings" in shown


def test_faults_are_there_for_machines(bad: Path, capsys: Out) -> None:
    """In their parts."""
    assert run(["policy", "check", str(bad), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [(Path(each["file"]).name, each["line"]) for each in answer["faults"]] == [("bad.rego", 5)]
    assert len(answer["warnings"]) == 2


def test_a_warning_fails_only_strictly(policies: Path, capsys: Out) -> None:
    """A rule without a test is one."""
    (policies / "lockgate" / "new.rego").write_text("package lockgate.new\n\nx := 1\n")
    assert run(["policy", "check", str(policies)]) == 0
    assert "There is no test beside it" in said(capsys)
    assert run(["policy", "check", str(policies), "--strict"]) == 1


def test_a_library_needs_no_entry_points(policies: Path, capsys: Out) -> None:
    """Where that is said."""
    assert run(["policy", "check", str(policies / "lockgate" / "lib")]) == 1
    assert run(["policy", "check", str(policies / "lockgate" / "lib"), "--rules-only"]) == 0


def test_data_in_the_wrong_place_is_named_by_its_file(policies: Path, capsys: Out) -> None:
    """Which is no name of the engine's."""
    (policies / "data.yaml").write_text("other: 1\n")
    assert run(["policy", "check", str(policies)]) == 1
    assert f"{policies}/data.yaml:1: Policy data must lie below" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "nowhere"], "nowhere:1: The folder does not exist."),
        (["test", "--config", "nowhere"], "nowhere:1: The file does not exist; name the folder of the policies"),
        (["test", "--threshold", "lots"], "'lots' is no percentage."),
        (["test", "--threshold", "120%"], "'120%' is not between 0% and 100%."),
    ],
)
def test_a_mistake_gets_one_sentence(arguments: list[str], sentence: str, capsys: Out) -> None:
    """And the exit status 2."""
    assert run(["policy", *arguments]) == 2
    assert sentence in said(capsys)


def test_a_failing_test_is_shown_and_fails(policies: Path, capsys: Out) -> None:
    """With the line that was not true."""
    (policies / "lockgate" / "a_test.rego").write_text("package lockgate.a_test\n\ntest_it if {\n\tx := 1\n\tx == 2\n}\n")
    assert run(["policy", "test", str(policies)]) == 1
    assert "a_test.rego:5: Not true: x == 2" in said(capsys)
    assert run(["policy", "test", str(policies), "--run", "access.rbac"]) == 0


def test_no_test_at_all_fails(tmp_path: Path, capsys: Out) -> None:
    """Nothing was tested."""
    (tmp_path / "a.rego").write_text("package lockgate.a\n\nx := 1\n")
    assert run(["policy", "test", str(tmp_path)]) == 1
    assert "There is no test." in said(capsys)


def test_too_little_coverage_fails(bad: Path, capsys: Out) -> None:
    """The lines that nothing evaluates are said, in the answer for machines too."""
    assert run(["policy", "test", str(bad), "--threshold", "100%"]) == 1
    assert "bad.rego: lines 5 are evaluated by no test (0% covered)" in said(capsys)
    assert run(["policy", "test", str(bad), "--threshold", "90%", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert 0.9 < answer["coverage"] < 1
    assert [each["missed"] for each in answer["files"] if each["file"].endswith("bad.rego")] == [[5]]
