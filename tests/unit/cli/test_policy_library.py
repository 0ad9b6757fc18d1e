"""`lockgate policy library` and `adopt`, and what the other commands make of packages that a workspace adopts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from router.bundle.archive import pack, unpack
from router.cli.main import run
from router.errors import BundleError
from router.library import packages, place
from router.library_reference import described
from router.workspace import parse, read
from tests.unit.policy.test_library import REQUEST

Out = pytest.CaptureFixture[str]
HOURS = (place() / "library" / "working_hours" / "example.yaml").read_text().split("config:\n")[1]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert run(["init", str(tmp_path / "bank")]) == 0
    monkeypatch.chdir(tmp_path / "bank")
    with (tmp_path / "bank" / "policies" / "data.yaml").open("a") as data:
        data.write(HOURS)
    return tmp_path / "bank"


def said(capsys: Out) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


@pytest.fixture
def adopted(workspace: Path, capsys: Out) -> Path:
    assert run(["policy", "adopt", "working_hours"]) == 0
    capsys.readouterr()
    return workspace


def test_the_library_is_listed(capsys: Out) -> None:
    """All of it, and as data."""
    assert run(["policy", "library"]) == 0
    shown = said(capsys)
    assert [name for name in packages() if name not in shown] == []
    assert run(["policy", "library", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == list(packages())


def test_a_package_says_why_and_how_to_have_it_otherwise(capsys: Out) -> None:
    """With the codes of its rules and data to begin with."""
    assert run(["policy", "library", "working_hours"]) == 0
    shown = said(capsys)
    assert "working_hours.closed (deny or review" in shown
    assert "Why: What is asked for at night" in shown.replace("\n", " ")
    assert "zone: Europe/Stockholm" in shown


@pytest.mark.parametrize("name", packages())
def test_every_rule_of_a_package_says_why_with_an_example_and_what_to_change(name: str) -> None:
    """Nothing of it is empty, and its example data has its settings."""
    package = described(name)
    assert package.rules
    assert all(rule.description and {"why", "example", "override"} <= rule.custom.keys() for rule in package.rules)
    assert f"    {package.settings}:" in package.example


def test_init_does_not_copy_the_library(workspace: Path) -> None:
    """It is adopted by name."""
    assert not (workspace / "policies" / "library").exists()


def test_adopting_changes_one_line_of_the_configuration(workspace: Path, capsys: Out) -> None:
    """Comments and everything else stay as they are; a second one joins the first, and the same again changes nothing."""
    file = workspace / "lockgate.yaml"
    before = file.read_text()
    assert run(["policy", "adopt", "working_hours"]) == 0
    assert "zone: Europe/Stockholm" in said(capsys)
    assert file.read_text().replace("  library: [working_hours]\n", "").split() in (before.split(), [*before.split(), "policy:"])
    assert run(["policy", "adopt", "rbac"]) == 0
    assert "  library: [working_hours, rbac]\n" in file.read_text()
    once = file.read_text()
    assert run(["policy", "adopt", "rbac", "--json"]) == 0
    assert file.read_text() == once
    found = parse(read(workspace, {}), {})
    assert (found.config.policy.library, "library/adopted.rego" in found.policies) == (("working_hours", "rbac"), True)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("version: 1\n", "version: 1\n\npolicy:\n  library: [rbac]\n"),
        ("policy:  # ours\n  path: p\n", "policy:  # ours\n  library: [rbac]\n  path: p\n"),
        ("policy:\n  library: [abac]  # ours\n", "policy:\n  library: [abac, rbac]  # ours\n"),
    ],
)
def test_the_line_is_put_where_it_belongs(tmp_path: Path, text: str, written: str) -> None:
    """Whatever of the section is there."""
    file = tmp_path / "lockgate.yaml"
    file.write_text(text)
    assert run(["policy", "adopt", "rbac", "--config", str(file)]) == 0
    assert file.read_text() == written


def test_what_is_written_otherwise_is_left_to_its_author(tmp_path: Path, capsys: Out) -> None:
    """Nothing is guessed."""
    (tmp_path / "lockgate.yaml").write_text("policy: {path: p}\n")
    assert run(["policy", "adopt", "rbac", "--config", str(tmp_path)]) == 2
    assert "add 'rbac' to 'policy.library' by hand" in said(capsys).replace("\n", " ")
    assert (tmp_path / "lockgate.yaml").read_text() == "policy: {path: p}\n"


def test_a_name_that_is_not_there_is_refused(workspace: Path, capsys: Out) -> None:
    """With what was meant; by the configuration, too."""
    assert run(["policy", "adopt", "working_hour"]) == 2
    assert "Did you mean 'working_hours'?" in said(capsys).replace("\n", " ")
    with (workspace / "lockgate.yaml").open("a") as config:
        config.write("\npolicy:\n  library: [working_hour]\n")
    assert run(["check"]) == 1
    assert "The library has no package 'working_hour'. Did you mean 'working_hours'?" in said(capsys).replace("\n", " ")


def test_a_copy_decides_from_then_on(adopted: Path, capsys: Out) -> None:
    """With its tests; it is nowhere twice, and never overwritten."""
    assert run(["policy", "adopt", "working_hours", "--copy"]) == 0
    folder = adopted / "policies" / "lockgate" / "library" / "working_hours"
    assert sorted(file.name for file in folder.iterdir()) == ["working_hours.rego", "working_hours_test.rego"]
    found = parse(read(adopted, {}), {})
    assert "library/working_hours/working_hours.rego" not in found.policies
    assert run(["policy", "test"]) == 0
    assert run(["policy", "adopt", "working_hours", "--copy"]) == 2
    assert "nothing is overwritten" in said(capsys)


def test_authors_commands_see_what_is_adopted(adopted: Path, capsys: Out) -> None:
    """Their tests run and count; what is made needs none."""
    assert run(["policy", "check", "--strict"]) == 0
    assert run(["policy", "test", "--threshold", "100%"]) == 0
    assert run(["policy", "test", "--json", "--run", "working_hours"]) == 0
    assert '"lockgate.library.working_hours_test.test_a_holiday_is_closed"' in said(capsys)


def test_an_input_shows_which_rule_of_a_package_decided(adopted: Path, capsys: Out) -> None:
    """By file and line, as for the workspace's own rules."""
    (adopted / "input.json").write_text(json.dumps(REQUEST))
    assert run(["policy", "eval", "input.json", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    reason = next(each for each in found["reasons"] if each["code"] == "working_hours.closed")
    assert any(rule["file"] == "library/working_hours/working_hours.rego" for rule in reason["rules"])


def test_a_folder_is_seen_with_what_its_workspace_adopts(
    adopted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out
) -> None:
    """Wherever one stands."""
    monkeypatch.chdir(tmp_path)
    assert run(["policy", "test", "bank/policies", "--json"]) == 0
    assert "working_hours_test" in said(capsys)
    shutil.copytree(adopted / "policies", tmp_path / "candidate")
    assert run(["policy", "test", "candidate", "--json"]) == 0
    assert "working_hours_test" not in said(capsys)
    assert run(["policy", "test", "candidate", "--config", "bank", "--json"]) == 0
    assert "working_hours_test" in said(capsys)


def test_who_flips_by_adopting_is_shown(adopted: Path, tmp_path: Path, capsys: Out) -> None:
    """Between a workspace without the package and one with it."""
    shutil.copytree(adopted, tmp_path / "before")
    (tmp_path / "before" / "lockgate.yaml").write_text((adopted / "lockgate.yaml").read_text().replace("[working_hours]", "[]"))
    data = adopted / "policies" / "data.yaml"
    data.write_text(data.read_text().replace("low: {employee", 'low: {clerk: ["*"], employee'))
    shutil.copy(data, tmp_path / "before" / "policies" / "data.yaml")
    (tmp_path / "inputs.jsonl").write_text(json.dumps(REQUEST) + "\n")
    arguments = [str(tmp_path / "before" / "policies"), str(adopted / "policies"), "--inputs", str(tmp_path / "inputs.jsonl"), "--json"]
    assert run(["policy", "diff", *arguments]) == 0
    assert "working_hours.closed" in said(capsys)


def test_a_bundle_has_what_its_workspace_adopts(adopted: Path, capsys: Out) -> None:
    """Under the library's fixed paths, tests among them; another with nothing but what is named."""
    assert run(["policy", "build", "policies", "--out", "b.tar.gz"]) == 0
    config = adopted / "lockgate.yaml"
    config.write_text(config.read_text().replace("library: [working_hours]", "bundle: {from: b.tar.gz, unsigned: true}"))
    found = parse(read(adopted, {}), {})
    assert {"library/adopted.rego", "library/working_hours/working_hours.rego"} <= found.policies.keys()
    assert found.bundle is not None
    assert "library/working_hours/working_hours_test.rego" in found.bundle.tests


def test_a_bundle_whose_own_data_its_packages_cannot_read_is_refused(adopted: Path) -> None:
    """As a folder would be: whoever built it may not have used our command."""
    assert run(["policy", "build", "policies", "--out", "b.tar.gz"]) == 0
    files = unpack((adopted / "b.tar.gz").read_bytes(), "b")
    data = json.loads(files["data.json"])
    data["lockgate"]["config"]["working_hours"]["days"] = "Monday"
    kept = {name: content for name, content in files.items() if name != ".manifest"}
    manifest = {"revision": "r1", "roots": ["lockgate"], "rego_version": 1}
    changed = {**kept, "data.json": json.dumps(data).encode(), ".manifest": json.dumps(manifest).encode()}
    (adopted / "b.tar.gz").write_bytes(pack(changed))
    config = adopted / "lockgate.yaml"
    config.write_text(config.read_text().replace("library: [working_hours]", "bundle: {from: b.tar.gz, unsigned: true}"))
    with pytest.raises(BundleError, match=r"working_hours\.days") as refused:
        parse(read(config, {}), {})
    assert refused.value.code == "bundle_policy_refused"


def test_a_library_beside_a_bundle_is_refused(adopted: Path, capsys: Out) -> None:
    """A bundle decides as it was signed."""
    with (adopted / "lockgate.yaml").open("a") as config:
        config.write("  bundle: {from: b.tar.gz, unsigned: true}\n")
    assert run(["check"]) == 1
    assert "has a 'library' beside a 'bundle'" in said(capsys).replace("\n", " ")
