"""Approving what was learnt over the control API: real proposals and the policy that ships, over HTTP, with keys of several people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from router.adaptation.state import Type
from router.control.app import create_app
from router.control.services import ControlServices
from router.control.services import Learning as LearningPort
from router.wiring.learning import LearningDesk
from tests.unit.adaptation.approvals import policy
from tests.unit.adaptation.parts import Learning
from tests.unit.adaptation.test_proposals import ADA
from tests.unit.control.conftest import Credential
from tests.unit.wiring.test_proposals import Office

APPROVAL = {"threshold": {"approvals": 2, "each_of": ["model_risk", "owner"]}}


@dataclass
class Desk:
    http: httpx2.AsyncClient
    office: Office
    credential: Credential
    proposal: str
    binding: str

    async def post(self, step: str, who: str, *roles: str, **body: Any) -> tuple[int, Any]:
        headers = self.credential("policy_approver", *roles, subject=who)
        answer = await self.http.post(f"/v1/proposals/{self.proposal}/{step}", json=body, headers=headers)
        return answer.status_code, answer.json()

    async def approve(self, who: str, *roles: str) -> tuple[int, str]:
        """The status, and the state or the code."""
        status, said = await self.post("approve", who, *roles, binding=self.binding)
        return status, said["state"] if status == 200 else said["code"]

    async def shown(self) -> Any:
        headers = self.credential("policy_approver", subject="ben")
        return (await self.http.get(f"/v1/proposals/{self.proposal}", headers=headers)).json()


@pytest.fixture
async def desk(tmp_path: Path, services: ControlServices, credential: Credential) -> AsyncIterator[Desk]:
    """With a threshold of ada's that was measured."""
    learning = Learning()
    await learning.open()
    (tmp_path / "rooms").mkdir()
    office = Office(tmp_path / "rooms", learning)
    office.approving.policy = policy(["policy_approver"], APPROVAL)
    drafted = await office.proposals.draft(Type.THRESHOLD, [], {"cancel": {"min_confidence": "0.900000"}}, {}, ADA, "")
    measured = await office.proposals.measured(drafted, office.serving.workspace.digests.catalog, {}, (), ADA)
    port = cast(LearningPort, LearningDesk(learning.feedback, office.desk))
    transport = httpx2.ASGITransport(create_app(replace(services, learning=port)), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as http:
        yield Desk(http, office, credential, drafted.id, measured.terms["evaluation"]["binding"])


async def test_it_takes_two_people_with_their_roles(desk: Desk) -> None:
    """Who made it, who has none of the roles and who has approved it are refused by name; what is missing is told; then it is rolled
    out."""
    assert await desk.approve("ada", "model_risk") == (403, "proposal_own")
    assert await desk.approve("ben") == (403, "proposal_role_missing")
    assert await desk.approve("rita", "model_risk") == (200, "evaluated")
    assert (await desk.shown())["wanted"] == {"approvals": 2, "each_of": ["model_risk", "owner"], "complete": False}
    assert await desk.approve("rita", "model_risk", "owner") == (409, "proposal_approved_before")
    assert (await desk.post("roll-out", "ben"))[1]["code"] == "proposal_state"
    assert await desk.approve("olaf", "owner") == (200, "approved")
    found = await desk.shown()
    assert [each["roles"] for each in found["approvals"]] == [["model_risk", "policy_approver"], ["owner", "policy_approver"]]
    assert found["wanted"]["complete"]
    status, rolled_out = await desk.post("roll-out", "ben")
    assert (status, rolled_out["state"], rolled_out["wanted"]) == (200, "rolled_out", None)


async def test_all_of_it_is_on_record(desk: Desk) -> None:
    """Each approval with how many it is, each refusal with why; nobody's name."""
    for who, *roles in (("ada",), ("rita", "model_risk"), ("olaf", "owner")):
        await desk.approve(who, *roles)
    await desk.post("roll-out", "ben")
    leaves = [leaf for leaf in desk.office.learning.leaves if leaf.get("id") == desk.proposal]
    assert [leaf["event"].removeprefix("proposal_") for leaf in leaves] == [
        *("drafted", "evaluated", "refused", "endorsed", "approved", "rolled_out")
    ]
    told = [leaf["details"] for leaf in leaves]
    assert (told[2]["attempt"], told[2]["reason"]) == ("approve", "proposal_own")
    assert [(each["approvals"], each["wanted"]) for each in told[3:]] == [(1, 2), (2, 2), (2, 2)]
    assert {each["policy"] for each in told[3:]} == {desk.office.approving.policy.digest}
    assert not any(name in str(leaves) for name in ("rita", "olaf", "ben"))


async def test_a_workspace_tightens_it_and_cannot_loosen_it(desk: Desk) -> None:
    """Its own denial is told with code and sentence; asking for less changes nothing."""
    freeze = 'deny contains {"code": "office.freeze", "message": "no changes this week"} if "model_risk" in input.approver.roles'
    desk.office.approving.policy = policy(own=freeze)
    status, said = await desk.post("approve", "rita", "model_risk", binding=desk.binding)
    assert (status, said["code"], said["detail"]) == (
        403,
        "proposal_denied",
        "Policy does not let you approve this (office.freeze): no changes this week.",
    )
    desk.office.approving.policy = policy(own="approvals contains 0 if true")
    assert await desk.approve("ada") == (403, "proposal_own")
    assert await desk.approve("rita") == (200, "approved")
