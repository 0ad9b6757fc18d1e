"""Who may do what in the control API, asked of Rego."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.rego.beside import BesideRego, Which

OWN = ("lockgate", "control", "own")
FAILURES = {"undefined": "control_policy_undefined", "error": "control_policy_error"}
WHICH = Which("The policy of the control API", FAILURES, "data.lockgate.control.result", OWN, "the control API")


class ControlRego(BesideRego):
    def __init__(self, policies: Mapping[str, str], own: Mapping[str, str], data: Mapping[str, Any]) -> None:
        super().__init__(WHICH, policies, own, data)

    def judge(self, question: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The effect, `allow` or `deny`, and reasons as (code, sentence). Raises PolicyError `control_policy_undefined`,
        `control_policy_error`."""
        return self.effect(self.ask(question))
