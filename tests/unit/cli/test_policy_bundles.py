"""`lockgate policy build`, `inspect` and `verify-bundle`, as somebody types them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router.cli.main import run
from tests.needs import needs
from tests.unit.bundle.making import PRIVATE, PUBLIC, TEXTS, pair

Run = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in {**{f"policies/{name}": text for name, text in TEXTS.items()}, "k.pem": PRIVATE, "k.pub": PUBLIC}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "policies/data.yaml").write_text("lockgate: {config: {floor: 0.5}}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def needs_opa() -> None:
    needs("opa_bindings", "it is in requirements/conformance.lock, for Linux on x86-64")


def built(*arguments: str) -> int:
    return run(["policy", "build", "--out", "b.tar.gz", *arguments])


def verified(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    capsys.readouterr()
    status = run(["policy", "verify-bundle", "b.tar.gz", "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def test_what_is_built_and_signed_is_verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its number, its name and what was found by its tests."""
    needs_opa()
    assert built("--sign", "k.pem", "--sequence", "7", "--revision", "r7") == 0
    assert "Signed by 'default' with ES256; its 1 tests passed" in capsys.readouterr().out
    status, said = verified(capsys, "--key", "k.pub", "--attested")
    assert (status, said["ok"], said["revision"], said["sequence"], said["signer"], said["tests"]) == (0, True, "r7", 7, "default", 1)


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    """Unsigned, and with a number that is given: who builds it again can compare."""
    assert built("--sequence", "7") == 0
    first = (folder / "b.tar.gz").read_bytes()
    assert built("--sequence", "7") == 0
    assert (folder / "b.tar.gz").read_bytes() == first


def test_a_test_that_fails_stops_signing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named with its place, and nothing is written."""
    test = folder / "policies/lockgate/decision_test.rego"
    test.write_text(test.read_text() + '\ntest_allow if decision.result.effect == "allow"\n')
    assert built("--sign", "k.pem") == 1
    said = capsys.readouterr()
    assert "lockgate/decision_test.rego:7: lockgate.decision_test.test_allow: Not true: test_allow if" in said.out
    assert "1 of the tests failed" in said.err
    assert not (folder / "b.tar.gz").exists()


def test_without_tests_there_is_no_attestation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing passed where nothing was tried."""
    (folder / "policies/lockgate/decision_test.rego").unlink()
    assert built("--sign", "k.pem") == 0
    assert "nothing says that they passed" in capsys.readouterr().out
    status, said = verified(capsys, "--key", "k.pub", "--attested")
    assert (status, said["code"]) == (1, "bundle_untested")


def test_what_passes_because_nobody_could_look_is_not_signed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Though it loads, and though its tests pass; unsigned it can be built, to be looked at."""
    allow = '{"effect": "allow", "reasons": [{"code": "a.b"}]}'
    careless = f"package lockgate.decision\n\nresult := {allow} if {{\n\tnot input.signals.findings.injection\n}}\n"
    (folder / "policies/lockgate/decision.rego").write_text(careless)
    (folder / "policies/lockgate/decision_test.rego").write_text(
        "package lockgate.decision_test\n\nimport data.lockgate.decision\n\n"
        'test_allow if decision.result.effect == "allow" with input as {"signals": {"findings": {}}}\n'
    )
    assert built("--sign", "k.pem") == 2
    assert "decision.rego:4: A request that a finding of the kind 'injection' would stop passes (a.b)" in capsys.readouterr().err
    assert not (folder / "b.tar.gz").exists()
    assert built() == 0
    assert run(["policy", "check", "policies"]) == 1


def test_what_the_engine_refuses_is_not_built(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By file and line, as it would be refused at load."""
    (folder / "policies/lockgate/more.rego").write_text('package lockgate.more\n\nx := http.send({"url": "a"})\n')
    assert built() == 2
    assert "lockgate/more.rego:3: The builtin 'http.send' may not be used" in capsys.readouterr().err


def test_refusals_have_a_code_and_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unsigned, signed by somebody else, damaged."""
    assert built() == 0
    assert verified(capsys, "--key", "k.pub")[1]["code"] == "bundle_unsigned"
    (folder / "other.pem").write_bytes(pair()[0])
    assert built("--sign", "other.pem") == 0
    assert verified(capsys, "--key", "k.pub")[1]["code"] == "bundle_signature_wrong"
    (folder / "b.tar.gz").write_bytes(b"x")
    status, said = verified(capsys, "--key", "k.pub")
    assert (status, said["code"]) == (1, "bundle_unreadable")


def test_inspect_shows_and_says_that_it_verified_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also of a bundle that was unpacked into a folder."""
    needs_opa()
    assert built("--sign", "k.pem", "--key-id", "release", "--sequence", "7") == 0
    capsys.readouterr()
    assert run(["policy", "inspect", "b.tar.gz"]) == 0
    said = capsys.readouterr().out
    assert "key 'release', ES256; not verified" in said
    assert "1 passed in the engine 'opa', which is OPA 1.20.2 (library), at" in said
    assert "lockgate.decision\n" in said
    assert run(["policy", "inspect", "policies", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packages"] == ["lockgate.admission", "lockgate.decision"]


def test_without_opa_the_bundle_says_so(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And is taken only where that is said to be enough."""
    monkeypatch.setitem(sys.modules, "opa_bindings", None)  # as where it is not installed
    monkeypatch.setenv("PATH", str(folder))
    assert built("--sign", "k.pem") == 0
    assert "They ran in the embedded engine only" in capsys.readouterr().out
    status, said = verified(capsys, "--key", "k.pub", "--attested")
    assert (status, said["code"]) == (1, "bundle_untested")
    status, said = verified(capsys, "--key", "k.pub", "--attested", "--embedded-tests")
    assert (status, said["attestation"]["engine"], said["attestation"]["passed"]) == (0, "embedded", 1)
    assert run(["policy", "verify-bundle", "b.tar.gz", "--embedded-tests"]) == 2
    assert "--embedded-tests needs --attested" in capsys.readouterr().err


def test_an_attestation_is_asked_for_with_a_key_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that nobody signed says nothing."""
    assert built() == 0
    assert run(["policy", "verify-bundle", "b.tar.gz", "--attested"]) == 2
    assert "--attested needs --key" in capsys.readouterr().err
