"""`lockgate policy build --sign` runs the tests in OPA as well: its own engine, as a library and as a server. The `opa` program is not
here; its report is read as OPA's sources have it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.opa.tests_by_binary import read_report
from router.cli.main import run
from router.errors import PolicyError
from tests.contract.opa_sidecar import Sidecar, sidecar
from tests.unit.bundle.making import PRIVATE, PUBLIC, TEXTS

DIFFERS = "\ntest_decimals if 0.1 + 0.2 != 0.3\n"  # true of IEEE's numbers; OPA calculates in decimals


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in {**{f"policies/{name}": text for name, text in TEXTS.items()}, "k.pem": PRIVATE, "k.pub": PUBLIC}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "policies/data.yaml").write_text("lockgate: {config: {floor: 0.5}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no `opa`
    return tmp_path


@pytest.fixture(params=["tcp", "unix"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sidecar]:
    options = ("--unix", str(tmp_path / "o.sock")) if request.param == "unix" else ("--token", "t0ken")
    with sidecar(*options) as found:
        yield found


def built(*arguments: str) -> int:
    return run(["policy", "build", "--out", "b.tar.gz", "--sign", "k.pem", "--json", *arguments])


def with_token(server: Sidecar, folder: Path) -> list[str]:
    (folder / "token").write_text("t0ken\n")
    return ["--opa", server.url, *(["--opa-token-file", "token"] if server.url.startswith("http") else [])]


def test_the_library_runs_them_and_the_bundle_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With OPA's version and the digest of policies, tests and data, under the signature."""
    assert built() == 0
    said = json.loads(capsys.readouterr().out)["attestation"]
    assert (said["engine"], said["version"], said["by"], said["passed"]) == ("opa", "1.20.2", "library", 1)
    assert run(["policy", "verify-bundle", "b.tar.gz", "--key", "k.pub", "--attested", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attestation"] == said


def test_a_server_runs_them_and_holds_nothing_afterwards(folder: Path, server: Sidecar, capsys: pytest.CaptureFixture[str]) -> None:
    """Over TCP and over a socket, with a token where it asks for one."""
    assert built(*with_token(server, folder)) == 0
    said = json.loads(capsys.readouterr().out)["attestation"]
    assert (said["engine"], said["version"], said["by"], said["passed"]) == ("opa", "1.20.2", "server", 1)
    if server.url.startswith("unix"):
        assert server.policies() == []
        assert server.ask("GET", "/v1/data")["result"] == {}


def test_what_the_engines_differ_about_is_not_signed(folder: Path, server: Sidecar, capsys: pytest.CaptureFixture[str]) -> None:
    """By test, with its place and what OPA says; the server is empty afterwards all the same, for it takes the next."""
    test = folder / "policies/lockgate/decision_test.rego"
    whole = test.read_text()
    test.write_text(whole + DIFFERS)
    for arguments in ([], with_token(server, folder)):
        assert built(*arguments) == 1
        (failed,) = json.loads(capsys.readouterr().out)["failed"]
        assert (failed["file"], failed["line"], failed["test"]) == (
            "lockgate/decision_test.rego",
            7,
            "lockgate.decision_test.test_decimals",
        )
        assert failed["why"] == "It passed in the embedded engine and failed in OPA 1.20.2: it is undefined."
        assert not (folder / "b.tar.gz").exists()
    test.write_text(whole)
    assert built(*with_token(server, folder)) == 0


def test_a_server_that_holds_something_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be one that decides."""
    with sidecar() as server:
        server.fill({"mine.rego": "package mine\n\nx := 1\n"})
        assert built("--opa", server.url) == 2
        assert "holds policies or data already" in capsys.readouterr().err
        assert server.policies() == ["mine.rego"]
    assert not (folder / "b.tar.gz").exists()


def test_what_cannot_run_them_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is built: who names an OPA wants it."""
    for arguments, sentence in (
        (["--opa", "http://127.0.0.1:9"], "did not answer: it cannot be reached."),
        (["--opa", "ftp://a"], "--opa must be an https:// URL"),
        (["--opa-binary", "./k.pem"], "`./k.pem` cannot be run"),
        (["--opa-binary", "opa", "--opa", "http://127.0.0.1:9"], "exclude each other"),
    ):
        assert built(*arguments) == 2
        assert sentence in capsys.readouterr().err
    assert not (folder / "b.tar.gz").exists()
    assert run(["policy", "build", "--out", "b.tar.gz", "--opa", "http://127.0.0.1:9"]) == 2
    assert "need --sign" in capsys.readouterr().err


@pytest.mark.slow  # in CI they run in OPA's library, by `test_policy_tests.py`
def test_the_shipped_tests_pass_in_opa_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them: what ships can be signed."""
    shipped = Path(__file__).parents[2] / "policies"
    with sidecar() as server:
        assert run(["policy", "build", str(shipped), "--out", "b.tar.gz", "--sign", "k.pem", "--json", "--opa", server.url]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["attestation"]["passed"] == found["tests"] > 90


REPORT = [
    {"location": {"file": "a_test.rego", "row": 3, "col": 1}, "package": "data.a_test", "name": "test_good", "duration": 7},
    {"location": None, "package": "data.a_test", "name": "test_bad", "fail": True, "duration": 5, "trace": []},
    {"location": None, "package": "data.a_test", "name": "test_broken", "error": {}, "duration": 6},
    {"location": None, "package": "data.a_test", "name": "todo_test_later", "skip": True, "duration": 4},
    {"location": None, "package": 'data.b["c-d"]', "name": "test_good", "duration": 2, "output": "ZmFrZQo="},
]


def test_the_programs_report_is_read_as_opa_writes_it() -> None:
    """Failures, errors, what is skipped, and packages with names in brackets."""
    outcomes, why = read_report(json.dumps(REPORT).encode(), b"", "opa")
    assert outcomes == {
        "a_test.test_good": "passed",
        "a_test.test_bad": "failed",
        "a_test.test_broken": "failed",
        "a_test.todo_test_later": "skipped",
        "b.c-d.test_good": "passed",
    }
    assert why == {"a_test.test_broken": "it stopped with an error"}


@pytest.mark.parametrize("report", [b"", b"null", b"{}", b"[1]", b'[{"name": "x"}]', b"1 error occurred"])
def test_what_is_no_report_proves_nothing(report: bytes) -> None:
    """The sentence has what the program said instead."""
    with pytest.raises(PolicyError, match=r"gave no report: 1 error occurred: a\.rego:1"):
        read_report(report, b"1 error occurred: a.rego:1\n", "opa")
