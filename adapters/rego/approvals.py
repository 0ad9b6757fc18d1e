"""Who may approve what was learnt, and whether as many have, asked of Rego."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.rego.beside import BesideRego, Which
from router.ports import Approving

OWN = ("lockgate", "learning", "own")
FAILURES = {"undefined": "proposal_policy_undefined", "error": "proposal_policy_error"}
WHICH = Which("The policy of proposals", FAILURES, "data.lockgate.learning.result", OWN, "proposals")
MOST = 1000


class ApprovalRego(BesideRego):
    def __init__(self, policies: Mapping[str, str], own: Mapping[str, str], data: Mapping[str, Any]) -> None:
        super().__init__(WHICH, policies, own, data)

    def judge(self, question: Mapping[str, Any]) -> Approving:
        """Raises PolicyError `proposal_policy_undefined`, `proposal_policy_error`."""
        answer = self.ask(question)
        effect, reasons = self.effect(answer)
        approvals, each_of, complete = (answer.get(name) for name in ("approvals", "each_of", "complete"))
        if type(approvals) is not int or not 0 < approvals <= MOST or type(complete) is not bool:
            raise self.malformed()
        if not isinstance(each_of, list) or not all(isinstance(each, str) for each in each_of):
            raise self.malformed()
        return Approving(effect == "allow", reasons, approvals, tuple(each_of), complete)
