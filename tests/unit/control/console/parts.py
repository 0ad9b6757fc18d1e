"""What pages are made of, in the shapes that the services give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from router.control.services import Json
from router.decision import Subject
from router.errors import RefusedError

DIGEST = "d" * 64
HOSTILE = "<script>alert(1)</script>"


@dataclass
class Rolling:
    """One rollout; `moves` are the orders that came."""

    state: str = "running"
    moves: list[tuple[Any, ...]] = field(default_factory=list)

    async def list(self, limit: int) -> Sequence[Json]:
        return [self._summary()]

    async def show(self, rollout_id: str) -> Json:
        if rollout_id != "r1":
            raise RefusedError("There is no such rollout.", "rollout_unknown", 404)
        seen = {"compared": 10, "flips": 1, "slow_ms": 0.2, "slow_ms_in_force": 0.1}
        flipped = [{"intent": HOSTILE, "what": "allow → deny", "reason": "rbac.no_grant", "requests": 1}]
        step = {"event": "rollout_proposed", "at": "2026-11-28T20:00:00.000000000Z", "by": "ada", "comment": HOSTILE, "recorded": True}
        return {
            **self._summary(), "digest": DIGEST, "over_policy_digest": DIGEST, "author": {"key_id": "k", "name": "ada"}, "approver": None,
            "plan": [{"stage": "shadow", "tenants": [], "for": "30m"}, {"stage": "60 %", "tenants": [], "for": None}], "promote": True,
            "least": 1, "guards": {"flips": 0.02, "looser": None, "errors": 0.001}, "seen": {**seen, "flipped": flipped}, "history": [step],
        }  # fmt: skip

    async def approve(self, rollout_id: str, by: Subject, digest: str, comment: str) -> Json:
        if digest != DIGEST:
            raise RefusedError("The rollout is another than the one that was looked at.", "rollout_changed", 409)
        return self._moved("approve", by.id, comment)

    async def advance(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return self._moved("advance", by.id, comment)

    async def roll_back(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return self._moved("roll_back", by.id, comment)

    async def reject(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return self._moved("reject", by.id, comment)

    async def withdraw(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return self._moved("withdraw", by.id, comment)

    async def versions(self) -> Json:
        return {"versions": [], "override": None}

    async def go_back(self, to: str, by: Subject, comment: str) -> Json:
        return self._moved("go_back", by.id, to)

    def _moved(self, *move: str) -> Json:
        self.moves.append(move)
        return self._summary()

    def _summary(self) -> dict[str, Any]:
        return {
            "id": "r1", "state": self.state, "step": 1, "steps": 2, "stage": "shadow", "revision": "v2", "policy_digest": DIGEST,
            "created": "2026-11-28T20:00:00.000000000Z", "reason": None,
        }  # fmt: skip
