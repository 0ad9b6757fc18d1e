"""What the control API asks of the running process."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol, TypeVar

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from adapters.sqlite_api_keys import SqliteApiKeys
from adapters.sqlite_index import SqliteIndex
from router.audit.canonical import timestamp
from router.audit.checkpoint import latest_witnessed, note_checkpoint
from router.audit.query import Found, Proven, Query, Trail
from router.audit.reader import LedgerReader, Stored
from router.config import Tls
from router.control.services import AuditFilters, Check, ControlServices, Governance, Json, Page, Reviews
from router.errors import AuditError, LockgateError, RefusedError
from router.identity.key_service import KeyService
from router.ports import Clock
from router.telemetry.merging import merge
from router.telemetry.names import METRICS
from router.wiring.evidence_in import EvidenceIntake
from router.wiring.identity import API_KEYS_FILE
from router.wiring.ledger_place import ledger_place
from router.wiring.reconciling import Reconciling
from router.workspace import Workspace

T = TypeVar("T")
INDEX_FILE = "index.sqlite"


class SystemRecords(Protocol):
    async def system(self, event: str, details: Mapping[str, Any]) -> None: ...


class SubjectLookup(Protocol):
    async def find(self, subject: str) -> str | None:
        """The key id of a subject that the ledger knows."""

    async def key_for(self, subject: str) -> tuple[str, bytes]: ...


class AuditQuestions:
    """Implements the control API's audit port over the ledger and this node's index, on one thread; every answer is itself recorded."""

    def __init__(self, workspace: Workspace, subjects: SubjectLookup, records: SystemRecords) -> None:
        self._state = workspace.path(workspace.config.state)
        self._place = ledger_place(workspace)
        audit = workspace.config.audit
        self._witnessed = workspace.path(audit.checkpoint.directory) if audit.witnesses is not None else None
        self._subjects = subjects
        self._records = records
        self._thread = ThreadPoolExecutor(1, "audit-questions")
        self._trail: Trail | None = None
        self._reader: LedgerReader | None = None
        self._index: SqliteIndex | None = None

    async def query(self, filters: AuditFilters, cursor: str | None, limit: int, reader: str) -> Page:
        key_id = await self._subjects.find(filters.subject) if filters.subject is not None else None
        if filters.subject is not None and key_id is None:
            return Page([], None, None)
        query = _query(filters, key_id)
        page = await self._run(lambda trail: trail.page(query, _cursor(cursor), limit, filters.newest_first))
        await self._noted(reader, "records", len(page.rows))
        return Page([_row(found) for found in page.rows], None if page.cursor is None else str(page.cursor), page.complete)

    async def show(self, decision_id: str, reader: str) -> Json | None:
        try:
            story = await self._run(lambda trail: trail.show(decision_id))
        except AuditError as error:
            if error.code == "decision_unknown":
                return None
            raise
        await self._noted(reader, "decision", len(story))
        return {"decision_id": decision_id, "records": [_proven(each) for each in story]}

    async def record(self, event: str, details: Mapping[str, Any]) -> None:
        """What administrators do. Raises AuditError."""
        await self._records.system(event, details)

    async def checkpoint(self) -> Json:
        note, witnessed = await asyncio.get_running_loop().run_in_executor(self._thread, self._latest)
        if note is None:
            raise AuditError("No checkpoint has been signed yet.", "checkpoint_missing")
        found = note_checkpoint(note)
        answer = {"origin": found.origin, "size": found.size, "root": found.root.hex(), "note": note}
        if self._witnessed is None:
            return answer
        return {**answer, "witnessed": None if witnessed is None else {"size": note_checkpoint(witnessed).size, "note": witnessed}}

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _noted(self, reader: str, what: str, rows: int) -> None:
        """The reader stands in the ledger under the id of its key: who it is can be told, and erased, like any subject's."""
        key_id, _ = await self._subjects.key_for(reader)
        await self._records.system("audit_read", {"what": what, "rows": rows, "reader_key": key_id})

    async def _run(self, question: Callable[[Trail], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(self._opened()))

    def _opened(self) -> Trail:
        if self._trail is None:
            self._trail = Trail(self._ledger(), self._opened_index())
        return self._trail

    def _ledger(self) -> LedgerReader:
        if self._reader is None:
            self._reader = self._place.reader(Stored)
        return self._reader

    def _opened_index(self) -> SqliteIndex:
        if self._index is None:
            self._index = SqliteIndex(self._state / INDEX_FILE)
        return self._index

    def _latest(self) -> tuple[str | None, str | None]:
        """The newest checkpoint, and the newest that enough witnesses confirmed."""
        return self._ledger().latest_checkpoint(), latest_witnessed(self._witnessed) if self._witnessed is not None else None

    def _close(self) -> None:
        for each in (self._reader, self._index):
            if each is not None:
                each.close()


def _query(filters: AuditFilters, key_id: str | None) -> Query:
    return Query(
        since=None if filters.since_ns is None else timestamp(filters.since_ns),
        until=None if filters.until_ns is None else timestamp(filters.until_ns),
        key_id=key_id,
        intent=filters.intent,
        route=filters.route,
        effect=filters.effect,
        reason=filters.reason,
        risk=filters.risk,
        tenant=filters.tenant,
        kind=filters.kind,
        result=filters.result,
        min_confidence=filters.min_confidence,
        max_confidence=filters.max_confidence,
        decision_id=filters.decision_id,
        trace_id=filters.trace_id,
    )


def _cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdigit():
        raise RefusedError("The cursor is not one that this API gave.", "request_invalid", 400)
    return int(cursor)


def _row(found: Found) -> Json:
    return {"index": found.index, "sealed": found.sealed, "gone_by": found.gone_by, "leaf": found.leaf}


def _proven(proven: Proven) -> Json:
    return {**_row(proven.found), "checkpoint": proven.checkpoint, "inclusion": [step.hex() for step in proven.proof]}


class Supervised(Protocol):
    @property
    def alive(self) -> int: ...

    async def ask(self, kind: str) -> list[tuple[int, object]]: ...


class Reloading(Protocol):
    workspace: Workspace
    problem: str | None
    taken_up_s: float

    async def reload(self) -> str: ...


class LedgerState(Protocol):
    @property
    def size(self) -> int: ...

    @property
    def waiting(self) -> int: ...

    @property
    def unsigned(self) -> int: ...

    async def ping(self) -> None: ...


class WitnessState(Protocol):
    @property
    def stale(self) -> bool:
        """Whether readiness is to say no."""

    def figures(self) -> Iterator[Metric]: ...


class ProcessStatus:
    """Implements the control API's status port."""

    def __init__(
        self,
        supervised: Supervised,
        reloading: Reloading,
        ledger: LedgerState,
        pending: Callable[[], int],
        witnesses: WitnessState | None = None,
        lags: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._supervised = supervised
        self._reloading = reloading
        self._ledger = ledger
        self._pending = pending
        self._lags = lags
        self._witnesses = witnesses

    async def ready(self) -> Sequence[Check]:
        """Ready means: policy active and model loaded in every worker, and the audit trail writable."""
        wanted = self._reloading.workspace.digests.config
        serving = [digest for _, digest in await self._supervised.ask("ping")]
        workers = Check("workers", bool(serving) and all(digest == wanted for digest in serving), f"{len(serving)} serve")
        try:
            await self._ledger.ping()
        except LockgateError as error:
            return [workers, Check("audit", ok=False, detail=error.code)]
        stale = self._witnesses is not None and self._witnesses.stale
        return [workers, Check("audit", ok=True), *([Check("witnesses", ok=False, detail="witness_stale")] if stale else [])]

    async def metrics(self) -> str:
        """Raises RefusedError where the configuration switches the page off."""
        if not self._reloading.workspace.config.telemetry.prometheus:
            raise RefusedError("telemetry.prometheus is off in the configuration.", "metrics_off", 404)
        pages = {str(index): str(page) for index, page in await self._supervised.ask("metrics")}
        return merge(pages, self.figures())

    def describe(self) -> Json:
        workspace = self._reloading.workspace
        digests = workspace.digests
        return {
            "version": version("lockgate"),
            "config_digest": digests.config,
            "catalog_digest": digests.catalog,
            "policy_digest": digests.policy,
            "intents": len(workspace.catalog.intents),
            "routes": len(workspace.catalog.routes),
            "workers": self._supervised.alive,
            "records": self._ledger.size,
            "last_reload_problem": self._reloading.problem,
        }

    async def reload(self) -> Json:
        await self._reloading.reload()
        return self.describe()

    def figures(self) -> list[Metric]:
        """Of the whole, as they are now."""
        values = {
            "lockgate.audit.records": self._ledger.size,
            "lockgate.audit.waiting": self._ledger.waiting,
            "lockgate.audit.unsigned": self._ledger.unsigned,
            "lockgate.workers": self._supervised.alive,
            "lockgate.reviews.pending": self._pending(),
        }
        age = time.monotonic() - self._reloading.taken_up_s
        witnessed = () if self._witnesses is None else self._witnesses.figures()
        age_gauge = _gauge("lockgate.config.age", age, "seconds")
        return [*(_gauge(name, value) for name, value in values.items()), age_gauge, *witnessed, self._lagging()]

    def _lagging(self) -> Metric:
        name = "lockgate.audit.projection.lag"
        family = GaugeMetricFamily(name.replace(".", "_"), METRICS[name], labels=["projection"])
        for projection, records in self._lags().items():
            family.add_metric([projection], records)
        return family


def _gauge(name: str, value: float, unit: str = "") -> Metric:
    return GaugeMetricFamily(name.replace(".", "_"), METRICS[name], value, unit=unit)


@dataclass(frozen=True, slots=True)
class Control:
    services: ControlServices
    ssl: Callable[..., ssl.SSLContext] | None
    audit: AuditQuestions
    keys: SqliteApiKeys
    evidence: EvidenceIntake
    reconciling: Reconciling

    async def close(self) -> None:
        await self.evidence.close()
        await self.reconciling.close()
        await self.audit.close()
        self.keys.close()


def make_control(
    workspace: Workspace,
    audit: AuditQuestions,
    evidence: EvidenceIntake,
    reconciling: Reconciling,
    reviews: Reviews,
    status: ProcessStatus,
    clock: Clock,
    governance: Governance,
) -> Control:
    control = workspace.config.control
    keys = SqliteApiKeys(workspace.path(workspace.config.state) / API_KEYS_FILE, clock)
    keys.open()
    hosts = frozenset({"127.0.0.1", "localhost", "[::1]"}) if control.listen.loopback else None
    services = ControlServices(
        audit, reviews, KeyService(keys, clock), status, hosts, audit.record, evidence, reconciling, governance=governance
    )
    return Control(services, tls_context(workspace, control.tls), audit, keys, evidence, reconciling)


def tls_context(workspace: Workspace, files: Tls | None) -> Callable[..., ssl.SSLContext] | None:
    if files is None:
        return None

    def context(*_: Any) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(workspace.path(files.certificate), workspace.path(files.key))
        return made

    return context
