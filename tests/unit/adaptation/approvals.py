"""The policy of proposals as it ships, with settings and a workspace's own rules as a test wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.rego.approvals import ApprovalRego
from router.acting import actors
from router.adaptation.approving import Approvals
from router.library import place
from tests.unit.adaptation.parts import Learning

FOLDER = place() / "learning"
SHIPPED = {f"learning/{file.name}": file.read_text() for file in sorted(FOLDER.glob("*.rego")) if not file.name.endswith("_test.rego")}
TESTS = {f"learning/{file.name}": file.read_text() for file in sorted(FOLDER.glob("*_test.rego"))}
Settings = Mapping[str, Mapping[str, Any]]


def data_of(approvers: Sequence[str] = (), approval: Settings | None = None) -> dict[str, Any]:
    return {"lockgate": {"config": {"learning": {"approvers": list(approvers), "approval": dict(approval or {})}}}}


def policy(approvers: Sequence[str] = (), approval: Settings | None = None, own: str = "") -> ApprovalRego:
    added = {"mine/own.rego": f"package lockgate.learning.own\n\n{own}"} if own else {}
    return ApprovalRego(SHIPPED, added, data_of(approvers, approval))


class Office:
    """Who may approve, by a policy that may change."""

    def __init__(self, learning: Learning) -> None:
        self.policy = policy()
        self.approvals = Approvals(learning.keys, learning.clock, lambda: self.policy, actors)
