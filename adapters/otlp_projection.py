"""The ledger's records as log records for an OpenTelemetry collector, over OTLP/HTTP. Each arrives at least once: after a crash between
the collector's answer and the mark a batch is sent again. `lockgate.record.index` with the instance's origin tells repeats apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from adapters.marker_file import MarkerFile
from router.errors import AuditError

TIMEOUT_S = 10.0
SCOPE = InstrumentationScope("lockgate.audit")
UNTOLD = ("record", "time", "leaf")  # they have places of their own
ATTRIBUTES: Mapping[str, str] = {"decision_id": "lockgate.decision.id"}


class OtlpLogs:
    """Implements the projection that `router.audit.copies.projecting` describes, without a way to read it back."""

    batch = 500

    def __init__(self, url: str, mark: Path) -> None:
        self._url = url.rstrip("/")
        self._marker = MarkerFile(mark)
        self._exporter = OTLPLogExporter(f"{self._url}/v1/logs", timeout=TIMEOUT_S)

    def complete(self) -> tuple[str, int, bytes]:
        return self._marker.read()

    def extend(self, origin: str, rows: Sequence[Mapping[str, Any]], digest: str) -> None:
        resource = Resource.create({"service.name": "lockgate", "service.version": version("lockgate"), "service.instance.id": origin})
        if self._exporter.export([_log(row, resource) for row in rows]) is not LogRecordExportResult.SUCCESS:
            raise AuditError(f"The collector at {self._url} does not take records.", "projection_unavailable")
        try:
            self._marker.write(origin, rows[-1]["record"] + 1, bytes.fromhex(rows[-1]["leaf_hash"]))
        except OSError as error:
            raise AuditError(f"A projection's mark cannot be written: {error.strerror}.", "projection_unavailable") from error

    def reset(self) -> None:
        self._marker.remove()

    def kept(self) -> None:
        return None

    def contents(self, start: int, end: int) -> Iterable[tuple[int, bytes]]:
        return ()


def _log(row: Mapping[str, Any], resource: Resource) -> ReadableLogRecord:
    kept = {name: value for name, value in row.items() if name not in UNTOLD and value is not None}
    told = {ATTRIBUTES.get(name, f"lockgate.record.{name}"): value for name, value in kept.items()}
    record = LogRecord(
        timestamp=_nanoseconds(row["time"]) if row.get("time") else None,
        context=Context(),
        severity_text="INFO",
        severity_number=SeverityNumber.INFO,
        body=row["leaf"],
        attributes={**told, "lockgate.record.index": row["record"]},
        event_name=f"lockgate.{row['kind']}",
    )
    return ReadableLogRecord(record, resource, SCOPE)


def _nanoseconds(time: str) -> int:
    return int(datetime.fromisoformat(f"{time[:19]}+00:00").timestamp()) * 1_000_000_000 + int(time[20:29])
