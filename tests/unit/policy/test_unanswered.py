"""Policies under which requests wait for a decision that nobody may make are told of."""

from __future__ import annotations

from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, read_folder
from router.policy.unanswered import unanswered
from tests.unit.policy.halden import ROOT

SHIPPED = read_folder(ROOT / "policies" / "lockgate", ROOT / "policies" / "data.yaml", "lockgate")
ADMISSION = {"lockgate/admission.rego": 'package lockgate.admission\n\nresult := {"effect": "allow", "reasons": []}\n'}
HOLDING = 'package lockgate.decision\n\nresult := {"effect": "review", "reasons": [{"code": "x", "message": "y"}]}\n'


def told(policies: dict[str, str]) -> list[str]:
    folder = PolicyFolder(SHIPPED.path, ADMISSION | policies, {}, SHIPPED.data, SHIPPED.data_file)
    return [str(each) for each in unanswered(Policies(folder).modules, folder.policies)]


def test_the_shipped_policies_say_who_may_decide() -> None:
    """Without the one file that says so they are told of, once: as a workspace's from an older release are."""
    assert told(dict(SHIPPED.policies)) == []
    without = {file: text for file, text in SHIPPED.policies.items() if "package lockgate.review\n" not in text}
    assert len(without) < len(SHIPPED.policies)
    assert len(told(without)) == 1


def test_who_holds_and_does_not_say_who_may_decide_is_told() -> None:
    """By file and line, with what to do."""
    assert told({"lockgate/decision.rego": HOLDING}) == [
        "lockgate/decision.rego:1: Requests may be held, and no policy has the package 'lockgate.review': nobody may approve or reject one."
        " `lockgate init` writes one to begin with: policies/lockgate/review.rego, and policies/lockgate/rules/reviewing, which it asks."
    ]


def test_who_holds_nothing_needs_nobody_to_decide() -> None:
    """There would be nothing to decide about."""
    assert told({"lockgate/decision.rego": HOLDING.replace("review", "deny")}) == []
