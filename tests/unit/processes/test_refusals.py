"""Counts of what was refused, on their way into the ledger."""

from __future__ import annotations

import json
from typing import Any, cast

from router.errors import AuditError
from router.ports import Clock, Entry
from router.processes.evidence import Evidence

SECOND = 10**9


class Ledger:
    def __init__(self) -> None:
        self.failing = False
        self.taken: list[dict[str, Any]] = []

    async def append(self, entry: Entry) -> int:
        if self.failing:
            raise AuditError("The disk is full.", "audit_disk_full")
        self.taken.append(json.loads(entry.leaf)["details"])
        return 0


class Time:
    now = 100

    def now_ns(self) -> int:
        return self.now * SECOND


async def test_what_could_not_be_recorded_says_since_when() -> None:
    """When the ledger is there again the record is of that time; without more nobody could tell how long it was away."""
    ledger, time = Ledger(), Time()
    evidence = Evidence(cast("Any", ledger), cast("Any", None), cast("Any", None), cast("Clock", time))

    async def refused(code: str, at: int) -> None:
        time.now = at
        evidence.refusals.add(code, 1)
        await evidence.record_refusals()

    await refused("rate_limited", 105)
    await evidence.record_refusals()
    ledger.failing = True
    await refused("audit_disk_full", 110)
    await refused("audit_disk_full", 115)
    ledger.failing = False
    await refused("audit_disk_full", 3600)
    await refused("rate_limited", 3605)
    since = "1970-01-01T00:01:45.000000000Z"
    assert ledger.taken == [{"rate_limited": 1}, {"audit_disk_full": 3, "since": since}, {"rate_limited": 1}]
