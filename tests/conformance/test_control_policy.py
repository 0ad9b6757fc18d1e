"""The control API's policy: the same table in Rego, in OPA and in Python; its own tests; and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.rego.control import ControlRego
from adapters.rego.testing import PASSED, run_tests
from router.cli.main import run
from router.control.judging import Doing, Facts, Judge, TablePolicy
from router.control.permissions import ROLES, SCOPES, Permission
from router.control.role_data import roles_document
from router.errors import ConfigError, IdentityError, PolicyError
from router.library import place
from router.wiring.control_policy import make_judge
from router.workspace import parse, read
from tests.conformance.rego_truth import opa

FOLDER = place() / "control"
SHIPPED = {file.name: file.read_text() for file in sorted(FOLDER.glob("*.rego")) if not file.name.endswith("_test.rego")}
TESTS = {file.name: file.read_text() for file in sorted(FOLDER.glob("*_test.rego"))}
DATA = yaml.safe_load((FOLDER / "data.yaml").read_text())
ADMIN = Facts("session", ("admin",), frozenset({"control"}))
READ = Doing("GET", "/v1/keys")


def with_own(text: str) -> Judge:
    return Judge(ControlRego(SHIPPED, {"mine/own.rego": f"package lockgate.control.own\n{text}"}, DATA))


def question(roles: tuple[str, ...], scopes: tuple[str, ...], permission: str) -> dict[str, Any]:
    principal = {"kind": "key", "roles": list(roles), "scopes": list(scopes), "tenant": None, "methods": [], "age_s": 0}
    return {"principal": principal, "permission": permission, "method": "GET", "path": "/v1/keys", "tenant": None}


def questions() -> list[dict[str, Any]]:
    """Every role, alone, with others and with none; every scope; every permission, and two that are none."""
    roles = [(), *((role,) for role in ROLES), ("viewer", "reviewer"), ("Admin",), ("root", "auditor")]
    scopes = [(), ("control",), ("gateway", "decide"), ("control", "control:audit.personal")]
    single = product([()], [(scope,) for scope in sorted(SCOPES)], Permission)
    return [question(*each) for each in (*product(roles, scopes, (*Permission, "everything", "")), *single)]


def test_rego_says_what_the_table_says() -> None:
    """For every question that the table can answer: the policy that ships takes nothing away and adds nothing."""
    rego, table = ControlRego(SHIPPED, {}, DATA), TablePolicy()
    asked = questions()
    differing = [each for each in asked if rego.judge(each)[0] != table.judge(each)[0]]
    assert differing == []
    assert len({rego.judge(each)[0] for each in asked}) == 2
    assert len(asked) > 1500


def test_opa_says_the_same() -> None:
    """Word for word, effect and reasons, for every role and permission."""
    rego = ControlRego(SHIPPED, {}, DATA)
    asked = [question((role,), ("control", "control:keys.read"), permission) for role in ROLES for permission in Permission]
    with opa(SHIPPED, DATA) as truth:
        for each in asked:
            effect, reasons = rego.judge(each)
            told = {"effect": effect, "reasons": [{"code": code, "message": message} for code, message in reasons]}
            assert truth.eval_document("lockgate.control.result", each) == told, each


def test_its_own_tests_pass() -> None:
    """Each of them, and there are some."""
    results = run_tests(SHIPPED, TESTS, DATA).outcomes
    assert [(each.name, each.reason) for each in results if each.outcome != PASSED] == []
    assert len(results) == 7


def test_the_table_is_the_generated_one() -> None:
    """`make docs` writes it."""
    assert (FOLDER / "data.yaml").read_text() == roles_document()


@pytest.mark.parametrize(
    ("own", "code"),
    [
        ('deny contains {"code": "x", "message": 7} if input.permission', "control_policy_error"),
        ('deny contains "x" if input.permission', "control_policy_error"),
        ('deny contains {"code": "<b>", "message": "m"} if input.permission', "control_policy_error"),
        ('deny contains {"code": "x", "message": "m"} if json.unmarshal(input.permission)', "control_policy_error"),
    ],
)
def test_a_policy_that_fails_allows_nothing(own: str, code: str) -> None:
    """An administrator neither; `permissions` gives nothing then, and the failure is named."""
    judge = with_own(own)
    with pytest.raises(IdentityError) as caught:
        judge.check(ADMIN, Permission.KEYS_READ, READ)
    assert (caught.value.code, caught.value.status) == (code, 403)
    assert judge.permissions(ADMIN) == frozenset()


def test_what_has_no_answer_is_refused() -> None:
    """`undefined` is not a grant."""
    shipped = {name: policy for name, policy in SHIPPED.items() if name != "control.rego"}
    entry = 'package lockgate.control\n\nresult := {"effect": "allow", "reasons": [{"code": "a", "message": "b"}]} if input.nothing\n'
    judge = Judge(ControlRego({**shipped, "control.rego": entry}, {}, DATA), plain=True)
    with pytest.raises(IdentityError) as caught:
        judge.check(ADMIN, Permission.KEYS_READ, READ)
    assert caught.value.code == "control_policy_undefined"


def test_break_glass_needs_no_policy_that_works() -> None:
    """It goes by the table alone, whatever the policy says or does."""
    judge = with_own('deny contains {"code": "x", "message": 7} if input.permission')
    glass = Facts("break_glass", ("admin",), frozenset({"control"}))
    judge.check(glass, Permission.KEYS_WRITE, READ)
    assert judge.permissions(glass) == ROLES["admin"]
    with pytest.raises(IdentityError):
        judge.check(Facts("break_glass", ("viewer",), frozenset({"control"})), Permission.KEYS_WRITE, READ)


NIGHT = """
deny contains {"code": "old_proof", "message": "sign in again before you make keys"} if {
	input.permission == "keys.write"
	input.principal.kind == "session"
	input.principal.age_s >= 900
}

deny contains {"code": "no_second_factor", "message": "administrators need a second factor"} if {
	"admin" in input.principal.roles
	input.principal.kind == "session"
	not second_factor
}

second_factor if "otp" in input.principal.methods

grant contains {"code": "help_desk", "message": "the help desk ends sessions"} if {
	"help_desk" in input.principal.roles
	input.permission == "sessions.write"
}
"""


def refusal(judge: Judge, facts: Facts, permission: Permission) -> str:
    try:
        judge.check(facts, permission, READ)
    except IdentityError as error:
        return str(error)
    return ""


def test_a_workspace_adds_rules_of_its_own() -> None:
    """By age and kind of proof, for roles that Lockgate does not know; remembered answers are each question's own."""
    judge = with_own(NIGHT)
    young = Facts("session", ("admin",), frozenset({"control"}), methods=("pwd", "otp"))
    old = Facts("session", ("admin",), frozenset({"control"}), methods=("pwd", "otp"), age_s=900)
    weak = Facts("session", ("admin",), frozenset({"control"}), methods=("pwd",))
    desk = Facts("session", ("help_desk",), frozenset({"control"}))
    for _ in range(2):
        assert refusal(judge, young, Permission.KEYS_WRITE) == ""
        assert "sign in again before" in refusal(judge, old, Permission.KEYS_WRITE)
        assert refusal(judge, old, Permission.KEYS_READ) == ""
        assert "need a second factor" in refusal(judge, weak, Permission.KEYS_READ)
        assert judge.permissions(desk) == {Permission.SESSIONS_WRITE}
        assert "lack" in refusal(judge, desk, Permission.KEYS_WRITE)


class Counting:
    digest = "counted"

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, question: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
        self.asked += 1
        if self.asked == 1:
            raise PolicyError("once", "control_policy_error")
        return "allow", (("a", "b"),)


def test_answers_are_remembered_and_failures_are_not() -> None:
    """With the shipped policy by roles, scopes and permission alone; what failed is asked again."""
    counting = Counting()
    judge = Judge(counting, plain=True)
    assert refusal(judge, ADMIN, Permission.KEYS_READ) == "once"
    for age in range(5):
        assert refusal(judge, Facts("session", ("admin",), frozenset({"control"}), age_s=age), Permission.KEYS_READ) == ""
    assert counting.asked == 2


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.rego", "package lockgate.other\n\ndeny := set()\n", "are in the package 'lockgate.control.own'"),
        ("x.rego", "package lockgate.control\n\nby_role := 7\n", "are in the package 'lockgate.control.own'"),
        ("x.rego", "package lockgate.control.own\n\ndeny := {\n", "does not compile"),
        ("x.rego", 'package lockgate.control.own\n\ndeny := {1 | http.send({"url": "x"})}\ngrant := set()\n', "http.send"),
        ("x.rego", "package lockgate.control.own\n\ndeny := 7\n", "x.rego"),
        ("x.txt", "", "has no policy in it"),
    ],
)
def test_own_rules_that_cannot_be_used_are_told_at_once(tmp_path: Path, name: str, text: str, told: str) -> None:
    """By `lockgate check` and at the start, in one sentence with its place."""
    assert run(["init", str(tmp_path / "w")]) == 0
    (tmp_path / "w" / "mine").mkdir()
    (tmp_path / "w" / "mine" / name).write_text(text)
    file = tmp_path / "w" / "lockgate.yaml"
    file.write_text(file.read_text().replace("listen: 127.0.0.1:8081", "policy: mine"))
    with pytest.raises(ConfigError) as caught:
        make_judge(parse(read(tmp_path / "w", {}), {}))
    assert any(told in fault for fault in caught.value.faults), caught.value.faults
