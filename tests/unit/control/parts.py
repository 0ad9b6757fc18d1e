"""The services behind the control API: a real key store, and small stand-ins in memory for what other packages bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.control.services import AuditFilters, Check, Json, Opening, Page
from router.decision import Subject
from router.errors import AuditError, ConfigError, RefusedError, ReviewError
from router.review.attempting import Asked
from router.review.attempts import Kind

DIGEST = "a" * 64
TIMES = {"created": "", "expires": "", "approvals": 0, "quorum": 1}
DECISION = "0198c0de-0000-7000-8000-000000000001"


@dataclass
class Trail:
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def query(
        self, filters: AuditFilters, cursor: str | None, limit: int, reader: str, newest_first: bool = True, opening: Opening = "none"
    ) -> Page:
        self.asked.append((filters, cursor, limit, reader, newest_first, opening))
        if cursor == "broken":
            raise RefusedError("The cursor cannot be read.", "request_invalid", 422)
        return Page([{"id": DECISION}], "next-page", 7)

    async def newer(self, filters: AuditFilters, after: int, limit: int, reader: str) -> Page | None:
        return None

    async def statistics(self, filters: AuditFilters, by: Sequence[str], bucket: str | None, reader: str) -> Json:
        self.asked.append((filters, by, bucket, reader))
        return {"records": 1, "complete_to": 7, "groups": []}

    async def distribution(self, filters: AuditFilters, by: str, bins: int, reader: str) -> Json:
        self.asked.append((filters, by, bins, reader))
        return {"records": 0, "complete_to": 7, "groups": []}

    async def saved(self) -> Sequence[Json]:
        return [{"name": "risky"}]

    async def ask(
        self, name: str, given: Mapping[str, str], cursor: str | None, limit: int, reader: str, opening: Opening = "none"
    ) -> Json:
        self.asked.append((name, given, cursor, limit, reader, opening))
        return {"records": [], "next": None, "complete_to": 7}

    async def show(self, identifier: str, reader: str, opening: Opening = "none") -> Json | None:
        if identifier == "lost":
            raise AuditError("The ledger holds no decision lost.", "decision_unknown")
        if identifier == "down":
            raise AuditError("The ledger does not answer.")
        return {"id": identifier, "records": [], "opening": opening} if identifier == DECISION else None

    async def bundle(self, decision_id: str, outside: str | None, reader: str) -> Json | None:
        if decision_id == "new":
            raise AuditError("Record 7 is newer than the latest checkpoint.", "checkpoint_pending")
        return {"decision": decision_id, "outside": outside, "reader": reader} if decision_id == DECISION else None

    async def checkpoint(self) -> Json:
        return {"origin": "halden/ledger", "size": 7}


@dataclass
class Desk:
    """One held request of alice's, decided once."""

    state: str = "pending"
    asked: list[tuple[str, str, Asked]] = field(default_factory=list)

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        return Page([{"id": "r1", "state": self.state}] if state in (None, self.state) else [])

    async def get(self, review_id: str) -> Json | None:
        standing = {"state": self.state, "created": "2026-01-01T00:00:00Z", "expires": "2026-01-02T00:00:00Z", "approvals": 0, "quorum": 1}
        return {"id": "r1", "content_digest": DIGEST, "version": 1, **standing} if review_id == "r1" else None

    async def question(self, review_id: str, asker: Subject) -> Json:
        return {"question": "what for?", "respond_by": None, "version": 1}

    async def approve(self, review_id: str, reviewer: Subject, comment: str, content_digest: str, version: int | None = None) -> Json:
        if reviewer.id == "alice":
            raise ReviewError("Nobody may approve their own request.", "self_approval")
        if content_digest != DIGEST:
            raise ReviewError("The content is not what was reviewed.", "content_changed")
        return self._decide(review_id, "approved")

    async def reject(self, review_id: str, reviewer: Subject, comment: str, version: int | None = None) -> Json:
        return self._decide(review_id, "rejected")

    def _decide(self, review_id: str, state: str) -> dict[str, Any]:
        if review_id != "r1":
            raise ReviewError("There is no such held request.", "review_not_found")
        if self.state != "pending":
            raise ReviewError(f"It is {self.state} already.", "already_decided")
        self.state = state
        return {"id": review_id, "state": state, "version": 2}

    async def values(self, review_id: str, reviewer: Subject) -> Json:
        value = {"pointer": "/amount", "kind": "number", "value": 5}
        return {"id": review_id, "version": 1, "content_digest": DIGEST, "values": [value], "more": False}

    async def modified(self, review_id: str, reviewer: Subject, asked: Asked) -> Json:
        self.asked.append((review_id, reviewer.id, asked))
        changes = [{"pointer": "/amount", "before": 5, "after": asked.changes["/amount"]}]
        place = {"route": "plain", "destination": "service", "reviewers": ["manager"], "quorum": 1}
        becomes = {"content_digest": "b" * 64, "changes": changes, "otherwise": False, "state": "approved", "risk": "high", **place}
        return {**await self.values(review_id, reviewer), "becomes": becomes}

    async def attempt(self, review_id: str, reviewer: Subject, asked: Asked) -> Json:
        self.asked.append((review_id, reviewer.id, asked))
        return {**self._decide(review_id, "rejected" if asked.kind is Kind.REJECT else "pending"), **TIMES}


@dataclass
class Process:
    checks: Sequence[Check] = (Check("policy", True), Check("audit", True))
    faults: tuple[str, ...] = ()
    broken: bool = False

    def warnings(self) -> Sequence[str]:
        return ()

    async def ready(self) -> Sequence[Check]:
        return self.checks

    async def metrics(self) -> str:
        if self.broken:
            raise RuntimeError("secret detail of the inside")
        return "lockgate_requests_total 1\n"

    def describe(self) -> Json:
        return {"config_digest": DIGEST}

    async def pending(self) -> Json:
        return {"changes": [], "refused": []}

    async def reload(self) -> Json:
        if self.faults:
            raise ConfigError(*self.faults)
        return self.describe()
