"""The policy of proposals: a table of who may approve what, the same in OPA; what a workspace may add to it, and what it cannot lift."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adapters.rego.testing import PASSED, run_tests
from router.adaptation.state import Type
from router.cli.main import run
from router.config.learning import LearningConfig
from router.errors import ConfigError, PolicyError
from router.wiring.control_policy import approval_policy
from router.workspace import parse, read
from tests.conformance.rego_truth import opa
from tests.contract.small_workspace import small_workspace
from tests.unit.adaptation.approvals import SHIPPED, TESTS, data_of, policy

NIGHT = 'deny contains {"code": "office.night", "message": "not at night"} if input.attempt.time.ns > 0'
NINE = 'each_of contains sprintf("r%d", [n]) if some n in numbers.range(1, 9)'
IN_OWN = "Rules for proposals are in the package 'lockgate.learning.own'."
TWO = {"threshold": {"approvals": 2, "roles": [], "each_of": []}}
ROLES = {"threshold": {"approvals": 1, "roles": ["model_risk"], "each_of": []}}
EACH = {"threshold": {"approvals": 1, "roles": [], "each_of": ["risk", "owner"]}}
THREE = {"threshold": {"approvals": 1, "roles": [], "each_of": ["risk", "owner", "data"]}}


def person(key: str, *roles: str, acting: tuple[str, ...] = (), by: str = "api_key") -> dict[str, Any]:
    told: dict[str, Any] = {"id": f"name of {key}", "type": "user", "groups": [], "tenant": None, "authenticated_by": by}
    return {**told, "key": key, "roles": list(roles), "acting": list(acting)}


def given(key: str, *roles: str, acting: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"key": key, "roles": list(roles), "acting": list(acting)}


@dataclass(frozen=True)
class Case:
    """`expected`: `complete`, `more` (approved, and another one must), or the code of the refusal."""

    name: str
    expected: str
    who: dict[str, Any] = field(default_factory=lambda: person("ben"))
    before: tuple[dict[str, Any], ...] = ()
    author: dict[str, Any] = field(default_factory=lambda: {"key": "ada", "acting": [], "authenticated_by": "api_key"})
    approvers: tuple[str, ...] = ()
    approval: dict[str, Any] = field(default_factory=dict)
    own: str = ""
    kind: str = "approve"
    type: str = "threshold"

    def question(self) -> dict[str, Any]:
        proposal = {"id": "p1", "type": self.type, "state": "evaluated", "intents": ["pay"], "texts": 0, "decisions": 0, "faults": 0}
        attempt = {"kind": self.kind, "override": False, "time": {"ns": 1}}
        told = {"version": 1, "attempt": attempt, "approver": self.who, "author": self.author}
        return {**told, "approvals": list(self.before), "proposal": proposal}


AUTHOR_AGENT = {"key": "ada", "acting": ["robot"], "authenticated_by": "delegated"}
TABLE = [
    Case("somebody else", "complete"),
    Case("the author", "proposal_own", person("ada")),
    Case("in the author's name", "proposal_own", person("ben", acting=("ada",))),
    Case("the agent by which the author made it", "proposal_own", person("robot"), author=AUTHOR_AGENT),
    Case("by that agent", "proposal_own", person("ben", acting=("robot",)), author=AUTHOR_AGENT),
    Case("somebody else by another agent", "complete", person("ben", acting=("other",)), author=AUTHOR_AGENT),
    Case("by break-glass", "proposal_break_glass", person("glass", "admin", by="break_glass")),
    Case("what break-glass made", "proposal_break_glass", author={"key": "glass", "acting": [], "authenticated_by": "break_glass"}),
    Case("nobody", "proposal_nobody", person("")),
    Case("what nobody made", "proposal_nobody", author={"key": "", "acting": [], "authenticated_by": ""}),
    Case("twice", "proposal_approved_before", before=(given("ben"),), approval=TWO),
    Case("twice in another name", "proposal_approved_before", person("cleo", acting=("ben",)), (given("ben"),), approval=TWO),
    Case("twice by an agent", "proposal_approved_before", person("cleo"), (given("ben", acting=("cleo",)),), approval=TWO),
    Case("without the role of before", "proposal_role_missing", person("ben", "clerk"), approvers=("model_risk",)),
    Case("with the role of before", "complete", person("ben", "model_risk"), approvers=("model_risk", "chief")),
    Case("without the role of its type", "proposal_role_missing", person("ben", "chief"), approvers=("chief",), approval=ROLES),
    Case(
        "with the role of its type and not of before",
        "proposal_role_missing",
        person("ben", "model_risk"),
        approvers=("chief",),
        approval=ROLES,
    ),
    Case("with both", "complete", person("ben", "model_risk", "chief"), approvers=("chief",), approval=ROLES),
    Case("another type takes no such role", "complete", approval=ROLES, type="route"),
    Case("a type that came later has the floor", "complete", type="horoscope"),
    Case("and its author", "proposal_own", person("ada"), type="horoscope"),
    Case("the first of two", "more", approval=TWO),
    Case("the second of two", "complete", before=(given("cleo"),), approval=TWO),
    Case("none of the roles of which each must", "proposal_role_missing", person("ben", "clerk"), approval=EACH),
    Case("one with both roles is one person", "more", person("ben", "risk", "owner"), approval=EACH),
    Case("the same role twice", "more", person("ben", "risk"), (given("cleo", "risk"),), approval=EACH),
    Case("each role by another person", "complete", person("ben", "risk"), (given("cleo", "risk", "owner"),), approval=EACH),
    Case("three people for two roles", "complete", person("ben", "owner"), (given("cleo", "risk"), given("dan", "risk")), approval=EACH),
    Case("two people for three roles", "more", person("ben", "risk", "data"), (given("cleo", "owner", "data"),), approval=THREE),
    Case(
        "three people of whom two have but one role",
        "more",
        person("ben", "risk"),
        (given("cleo", "risk"), given("dan", "owner", "data")),
        approval=THREE,
    ),
    Case(
        "three people who can stand for three roles",
        "complete",
        person("ben", "risk"),
        (given("cleo", "risk", "owner"), given("dan", "owner", "data")),
        approval=THREE,
    ),
    Case("rolled out with enough", "complete", before=(given("cleo"),), kind="roll_out"),
    Case("rolled out with too few", "proposal_approvals_missing", before=(given("cleo"),), kind="roll_out", approval=TWO),
    Case("rolled out with none", "proposal_approvals_missing", kind="roll_out"),
    Case(
        "rolled out by its author, once two have approved",
        "complete",
        person("ada"),
        (given("b"), given("c")),
        kind="roll_out",
        approval=TWO,
    ),
    Case("a workspace refuses", "office.night", own=NIGHT),
    Case("a workspace asks for more", "more", own='approvals contains 3 if input.proposal.type == "threshold"'),
    Case("a workspace asks for less, and gets what is asked for", "more", own="approvals contains 0 if true", approval=TWO),
    Case("a workspace names a role more", "proposal_role_missing", own='each_of contains "owner" if true'),
    Case("and who has it", "complete", person("ben", "owner"), own='each_of contains "owner" if true'),
    Case("a workspace cannot lift four eyes", "proposal_own", person("ada"), own="approvals contains 1 if true"),
    Case("more roles than can be gone through", "more", person("ben", "r1"), own=NINE),
]


@pytest.mark.parametrize("case", TABLE, ids=[each.name for each in TABLE])
def test_who_may_approve(case: Case) -> None:
    """And what is still missing; OPA says the same, word for word."""
    judging = policy(case.approvers, case.approval, case.own)
    said = judging.judge(case.question())
    if said.allowed:
        assert ("complete" if said.complete else "more") == case.expected
    else:
        assert said.reasons[0][0] == case.expected
    own = {"own.rego": f"package lockgate.learning.own\n\n{case.own}"} if case.own else {}
    with opa({**SHIPPED, **own}, data_of(case.approvers, case.approval)) as truth:
        assert truth.eval_document("lockgate.learning.result", case.question()) == judging.ask(case.question())


def test_its_own_tests_pass() -> None:
    """Each of them, and there are some."""
    results = run_tests(SHIPPED, TESTS, data_of()).outcomes
    assert [(each.name, each.reason) for each in results if each.outcome != PASSED] == []
    assert len(results) == 7


@pytest.mark.parametrize("kind", ["bless", "", None])
def test_an_attempt_that_nobody_thought_of_has_no_answer(kind: str | None) -> None:
    """And no answer is a refusal."""
    with pytest.raises(PolicyError) as told:
        policy().judge({**Case("", "").question(), "attempt": {"kind": kind, "override": False, "time": {"ns": 1}}})
    assert told.value.code == "proposal_policy_undefined"


@pytest.mark.parametrize(
    "own",
    [
        'approvals contains "many" if true',
        "approvals contains 1.5 if true",
        "approvals contains 5000 if true",
        "each_of contains 7 if true",
        'deny contains "no" if true',
        'deny contains {"code": "<b>", "message": "m"} if true',
        "deny contains json.unmarshal(input.attempt.kind) if true",
    ],
)
def test_an_answer_that_is_none_lets_nobody_approve(own: str) -> None:
    """Not an administrator either."""
    with pytest.raises(PolicyError) as told:
        policy(own=own).judge(Case("", "").question())
    assert told.value.code == "proposal_policy_error"


def workspace(folder: Path, learning: str, **files: str) -> Path:
    small_workspace(folder, "{min_confidence: 0.7}")
    config = folder / "lockgate.yaml"
    config.write_text(f"{config.read_text()}learning: {learning}\n")
    for name, text in files.items():
        (folder / "own").mkdir(exist_ok=True)
        (folder / "own" / f"{name}.rego").write_text(text)
    return config


@pytest.mark.parametrize(
    ("learning", "own", "sentence"),
    [
        ("{policy: own}", {}, "'learning.policy': the folder 'own' has no policy in it."),
        ("{policy: own}", {"a": "package lockgate.learning\n"}, f"own/a.rego:1: {IN_OWN}"),
        ("{policy: own}", {"a": "package lockgate.learning.own\n\ndeny contains x if\n"}, "own/a.rego:"),
        ("{policy: own}", {"a": "package lockgate.learning.own\n\ndeny contains http.send({}) if true\n"}, "http.send"),
        ("{approval: {horoscope: {approvals: 2}}}", {}, "horoscope"),
        ("{approval: {route: {approvals: 0}}}", {}, "approval.route.approvals"),
        ("{approval: {route: {each_of: [a, b, c, d, e, f, g, h, i]}}}", {}, "approval.route.each_of"),
    ],
)
def test_check_says_what_is_wrong(
    tmp_path: Path, learning: str, own: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence, with the file and line or the setting; nothing starts with it."""
    config = workspace(tmp_path, learning, **own)
    assert run(["check", "--config", str(config)]) == 1
    told = capsys.readouterr()
    assert sentence in "".join((told.out + told.err).split("\n")).replace("  ", " ") or sentence in told.out + told.err


def test_the_setting_of_before_is_data_to_it(tmp_path: Path) -> None:
    """A workspace that names `learning.approvers` needs no policy of its own, and is held to it."""
    judging = approval_policy(parse(read(workspace(tmp_path, "{approvers: [model_risk]}"), {}), {}))
    assert judging.judge(Case("", "").question()).reasons[0][0] == "proposal_role_missing"
    assert judging.judge(Case("", "", person("ben", "model_risk")).question()).complete


def test_every_type_of_proposal_can_be_named() -> None:
    """What the configuration takes are the types that there are."""
    for each in Type:
        LearningConfig.model_validate({"approval": {each.value: {"approvals": 2}}})
    with pytest.raises(ValueError, match="approval"):
        LearningConfig.model_validate({"approval": {"horoscope": {}}})


def test_rules_that_are_none_are_told_at_once(tmp_path: Path) -> None:
    """With every fault of the workspace's own."""
    made = parse(read(workspace(tmp_path, "{policy: own}", a="package lockgate.learning\n", b="package other\n"), {}), {})
    with pytest.raises(ConfigError) as told:
        approval_policy(made)
    assert [each for each in told.value.faults if IN_OWN in each] == [f"own/{name}.rego:1: {IN_OWN}" for name in "ab"]
