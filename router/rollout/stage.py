"""For whom the candidate decides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.config.rollouts import RolloutStep
from router.decision import ANONYMOUS, Request

SCALE = 1 << 64


@dataclass(frozen=True, slots=True)
class Stage:
    """A share of the callers in 0..1, or all of some tenants; nobody where it is neither."""

    share: float = 0.0
    tenants: frozenset[str] = frozenset()

    def takes(self, rollout: str, request: Request) -> bool:
        """By who asks, so that nobody is judged now by one and now by the other; anonymous requests one by one. The larger share has
        everybody of the smaller."""
        if self.tenants:
            return request.subject.tenant in self.tenants
        if self.share <= 0.0:
            return False
        who = request.subject.id if request.subject.id != ANONYMOUS.id else request.id
        return place(rollout, who) < self.share

    def to_json(self) -> dict[str, Any]:
        return {"share": self.share, "tenants": sorted(self.tenants)}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Stage:
        return Stage(float(document["share"]), frozenset(document["tenants"]))

    def __str__(self) -> str:
        if self.tenants:
            return f"{len(self.tenants)} tenant{'s' if len(self.tenants) != 1 else ''}"
        return f"{self.share * 100:g} %" if self.share > 0.0 else "shadow"


NOBODY = Stage()


def place(rollout: str, who: str) -> float:
    """Where a caller stands in a rollout, uniform in 0..1 and in each rollout elsewhere: not always the same are the first."""
    told = f"{rollout}\0{who}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big") / SCALE


def stage_of(step: RolloutStep) -> Stage:
    return Stage(step.share or 0.0, frozenset(step.tenants or ()))
