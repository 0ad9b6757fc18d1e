from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate_verify.cli import main
from tests.unit.verifier.vectors import FOLDER, raw_bundle, vectors

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the command over a vector's files, with more options."""

    def run(name: str, *options: str) -> tuple[int, str]:
        vector, arguments = vectors()[name], [str(tmp_path / "bundle")]
        (tmp_path / "bundle").write_bytes(raw_bundle(vector))
        for part in ("policy", "checkpoint"):
            if vector[part] is not None:
                (tmp_path / part).write_text(vector[part], encoding="utf-8", newline="")
                arguments += [f"--{part}", str(tmp_path / part)]
        for key in vector["keys"]:
            arguments += ["--key", key]
        status = main([*arguments, *options])
        captured = capsys.readouterr()
        assert captured.err == ""
        return status, captured.out

    return run


@pytest.mark.parametrize("name", ["everything", "not-utf-8", "quorum_missing", "policy-empty", "outside-thief"])
def test_it_says_one_sentence_and_ends_with_the_status(call: Call, name: str) -> None:
    """And nothing else."""
    name = next(each for each, vector in vectors().items() if name in (each, vector["id"]))
    assert call(name) == (vectors()[name]["status"], vectors()[name]["sentence"] + "\n")


def test_json_tells_every_step_and_what_holds(call: Call) -> None:
    """For machines, in ASCII."""
    status, output = call("everything", "--json")
    said = json.loads(output)
    assert output.isascii()
    assert (status, said["ok"], said["id"]) == (0, True, "holds")
    assert {step["number"]: step["state"] for step in said["steps"]} == {**dict.fromkeys(range(1, 11), "holds"), 9: "nothing to check"}
    assert [record["index"] for record in said["records"]] == [1, 2, 3]
    assert {"record": 1, "field": "text", "value": "Überweisung 4711 stornieren"} in said["opened"]
    assert [one["witness"] for one in said["witnessed"]] == ["w1", "w2"]


def test_json_of_a_failure_names_the_step(call: Call) -> None:
    """What came after it was not reached."""
    status, output = call("opened-other-value", "--json")
    said = json.loads(output)
    assert (status, said["ok"]) == (18, False)
    assert [step["state"] for step in said["steps"]] == [*["holds"] * 7, "fails", *["not reached"] * 2]


@pytest.mark.parametrize("path", ["missing", "/", "a\0b", "\udcff"])
def test_a_file_that_cannot_be_read_is_one_sentence(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, whatever its name."""
    assert main([path, "--key", vectors()["one-record"]["keys"][0]]) == 2
    assert capsys.readouterr().out.endswith("cannot be read.\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_answer_that_cannot_be_written_is_no_success(tmp_path: Path) -> None:
    """A status of its own, and no traceback."""
    vector = vectors()["one-record"]
    (tmp_path / "bundle").write_bytes(raw_bundle(vector))
    command = [sys.executable, "-m", "lockgate_verify", str(tmp_path / "bundle"), "--key", vector["keys"][0]]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(FOLDER.parent)}, check=False)
    assert (ended.returncode, ended.stderr) == (3, "")


def test_help_lists_the_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    """Each step has its own."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "11 format" in " ".join(capsys.readouterr().out.split())
