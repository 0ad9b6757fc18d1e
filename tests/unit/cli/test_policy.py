"""`lockgate policy` as its user sees it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from router.cli.main import run
from router.library import BESIDE
from router.policy.folder import find
from router.policy.inputs import generated

ROOT = Path(__file__).parents[3]
Out = pytest.CaptureFixture[str]
BAD = """package lockgate.rules.bad

import data.lockgate.lib.violation

deny contains "x" if input.subject.rols == 1
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """As a workspace has them, without the library."""
    return Path(shutil.copytree(ROOT / "policies", tmp_path / "policies", ignore=shutil.ignore_patterns(*BESIDE)))


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
    assert "21 files of policies in order, 0 warnings" in said(capsys)
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
    assert "1 fault, 3 warnings" in shown


def test_faults_are_there_for_machines(bad: Path, capsys: Out) -> None:
    """In their parts."""
    assert run(["policy", "check", str(bad), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [(Path(each["file"]).name, each["line"]) for each in answer["faults"]] == [("bad.rego", 5)]
    assert len(answer["warnings"]) == 3


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


def asked(**changes: object) -> dict[str, object]:
    folder = find(ROOT / "policies", Path())
    document = next(each for each in generated(folder) if each["entry"] == "decision")
    return {**document, "subject": {**document["subject"], "roles": ["employee"]}, **changes}


def test_eval_shows_the_rules_that_decided(tmp_path: Path, policies: Path, capsys: Out) -> None:
    """By file and line, down to what they rest on, and what did not hold."""
    file = tmp_path / "input.json"
    file.write_text(json.dumps(asked(risk={"level": "high", "score": 0.5, "contributions": {}})))
    assert run(["policy", "eval", str(file), str(policies), "--trace"]) == 0
    shown = said(capsys)
    assert shown.startswith(f"review  ({policies}/lockgate/decision.rego:14)")
    assert f"{policies}/lockgate/rules/risk/review/review.rego:23 lockgate.rules.risk.review.review\n" in shown
    assert "lockgate.rules.risk.review.trusted did not hold" in shown
    assert "must require_review" in shown
    assert "trace:" in shown


def test_eval_gives_the_tree_to_machines(tmp_path: Path, policies: Path, capsys: Out) -> None:
    """The same, in its parts; an input may be wrapped as a recorded one is."""
    file = tmp_path / "input.json"
    file.write_text(json.dumps({"input": asked()}))
    assert run(["policy", "eval", str(file), str(policies), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["effect"] == "allow"
    (reason,) = answer["reasons"]
    assert reason["code"] == "rbac.granted"
    assert [(each["rule"], each["held"]) for each in reason["rules"]] == [("lockgate.rules.access.rbac.allow", True)]
    assert reason["rules"][0]["because"][0]["rule"] == "lockgate.rules.access.rbac.granting"
    assert "trace" not in answer


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "input.json:1: The file is not JSON."),
        ("[]", "must be a JSON object"),
        ("{}", "The input's 'entry' must be admission or decision or review."),
    ],
)
def test_an_input_that_is_none_gets_one_sentence(text: str, sentence: str, tmp_path: Path, policies: Path, capsys: Out) -> None:
    """And the exit status 2."""
    (tmp_path / "input.json").write_text(text)
    assert run(["policy", "eval", str(tmp_path / "input.json"), str(policies)]) == 2
    assert sentence in said(capsys)


def test_a_new_rule_passes_every_check_as_it_is(policies: Path, capsys: Out) -> None:
    """But that nothing asks it, which is warned of until something does; and is never written over another."""
    assert run(["policy", "new", "rule", "payments/limits", str(policies)]) == 0
    assert "add data.lockgate.rules.payments.limits.deny to the denials" in said(capsys)
    assert run(["policy", "check", str(policies)]) == 0
    assert "Nothing asks 'data.lockgate.rules.payments.limits.deny', so it decides nothing" in said(capsys)
    decision = policies / "lockgate" / "decision.rego"
    named = "data.lockgate.rules.payments.limits.deny,\n\t\tdata.lockgate.rules.access.rbac.deny,"
    decision.write_text(decision.read_text().replace("data.lockgate.rules.access.rbac.deny,", named))
    assert run(["policy", "check", str(policies), "--strict"]) == 0
    assert run(["policy", "test", str(policies), "--threshold", "100%"]) == 0
    said(capsys)
    (policies / "lockgate" / "rules" / "payments" / "limits" / "limits.rego").write_text("mine")
    assert run(["policy", "new", "rule", "payments/limits", str(policies)]) == 2
    assert "The file is already there, and nothing is overwritten." in said(capsys)
    assert (policies / "lockgate" / "rules" / "payments" / "limits" / "limits.rego").read_text() == "mine"


def test_what_a_new_rule_would_be_is_shown_and_not_written(policies: Path, capsys: Out) -> None:
    """Its very texts, with what its metadata says."""
    before = sorted(policies.rglob("*"))
    assert run(["policy", "new", "rule", "payments/limits", str(policies), "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert run(["policy", "new", "rule", "payments/limits", str(policies), "--dry-run"]) == 0
    assert shown["files"][0]["text"] in capsys.readouterr().out
    assert sorted(policies.rglob("*")) == before
    assert run(["policy", "new", "rule", "payments/limits", str(policies), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**shown, "written": True}
    assert shown["written"] is False
    assert [each["path"] for each in shown["files"]] == [shown["rule"], shown["test"]]
    assert [Path(each["path"]).read_text() for each in shown["files"]] == [each["text"] for each in shown["files"]]
    assert shown["metadata"] == {"title": "Limits", "package": "lockgate.rules.payments.limits", "code": "limits.unknown_caller"}


@pytest.mark.parametrize("name", ["../up", "Upper", "a/default", "a//b", "", "a/b/c/d/e", "a-b"])
def test_a_name_that_is_no_package_is_refused(name: str, policies: Path, capsys: Out) -> None:
    """Before anything is written."""
    assert run(["policy", "new", "rule", name, str(policies)]) == 2
    assert "is no name of a rule" in said(capsys)


def test_diff_says_what_was_changed_and_who_flips(policies: Path, tmp_path: Path, capsys: Out) -> None:
    """By intent, role, tenant and rule; of recorded inputs, and of some that are made, which it says."""
    inputs = tmp_path / "inputs.jsonl"
    inputs.write_text(
        "".join(json.dumps(asked(risk={"level": level, "score": 0, "contributions": {}})) + "\n" for level in ("low", "high"))
    )
    other = Path(shutil.copytree(policies, tmp_path / "other"))
    review = other / "lockgate" / "rules" / "risk" / "review" / "review.rego"
    review.write_text(review.read_text().replace('input.risk.level == "high"', 'input.risk.level == "low"'))
    (other / "data.yaml").write_text((other / "data.yaml").read_text().replace("anonymous: false", "anonymous: true"))
    assert run(["policy", "diff", str(policies), str(other), "--inputs", str(inputs), "--exit-code", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [(each["rule"], each["what"]) for each in answer["changes"]] == [("lockgate.rules.risk.review.review", "changed")]
    assert answer["data"] == ["lockgate.config.access.anonymous"]
    assert (answer["inputs"], answer["flips"]) == (2, 2)
    assert answer["by"]["role"] == {"employee": {"allow → review": 1, "review → allow": 1}}
    assert answer["by"]["rule"]["+risk.high"] == {"allow → review": 1}
    assert answer["rules"]["+risk.high"] == [f"{review}:23 lockgate.rules.risk.review.review"]
    assert run(["policy", "diff", str(policies), str(other)]) == 0
    shown = said(capsys)
    assert "made from the fixtures (what can change, not how often)" in shown
    assert "by tenant:" in shown


def test_nothing_differs_from_itself(policies: Path, capsys: Out) -> None:
    """In no way."""
    assert run(["policy", "diff", str(policies), str(policies), "--exit-code"]) == 0
    shown = said(capsys)
    assert "No rule and no data differs." in shown
    assert "0 of " in shown


def test_bench_measures_both_entry_points(policies: Path, capsys: Out) -> None:
    """Evaluated each time, and remembered."""
    assert run(["policy", "bench", str(policies), "--rounds", "100", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(each["entry"], each["remembered"]) for each in answer] == [
        ("admission", False),
        ("admission", True),
        ("decision", False),
        ("decision", True),
    ]
    assert all(0 < each["p50_us"] <= each["p99_us"] for each in answer)


def test_what_stays_allowed_is_a_fault_where_it_is_asked_for(policies: Path, capsys: Out) -> None:
    """With the place that reads it."""
    shape = policies / "lockgate" / "rules" / "request" / "shape" / "shape.rego"
    shape.write_text(shape.read_text().replace("not input.request.body.truncated == false", "input.request.body.truncated == 1"))
    assert run(["policy", "check", str(policies)]) == 0
    said(capsys)
    assert run(["policy", "check", str(policies), "--robust"]) == 1
    assert "shape.rego:" in (shown := said(capsys))
    assert "stays allowed (access.identified) at admission with input.request.body.truncated true, and no rule says that it may." in shown
