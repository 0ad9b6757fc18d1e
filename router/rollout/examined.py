"""A candidate that was looked at: it can be used here, and its tests pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Examined:
    """`archive` is its bytes. The digests are as `state.Rollout` has them."""

    archive: bytes
    policy: str
    config: str
    revision: str
    sequence: int | None
    over: str
    over_policy: str
