"""Log lines of a process on standard error: for people, or as JSON with the trace id of the request that they are about."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar

from router.decision import TraceContext

current_trace: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)
FIELDS = "fields"  # the attribute of a log record that holds its named values: `log.info(…, extra={FIELDS: {…}})`


def fields_of(record: logging.LogRecord) -> Mapping[str, str | int | float]:
    found: Mapping[str, str | int | float] = getattr(record, FIELDS, {})
    return found


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = current_trace.get()
        if trace is not None:
            line["trace_id"] = trace.trace_id
        line |= fields_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        line, trace = super().format(record), current_trace.get()
        return f"{line} trace_id={trace.trace_id}" if trace is not None else line


def configure_logs(form: str, level: int = logging.INFO) -> None:
    """`form` is `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("lockgate").setLevel(level)
    # A response that had to be cut short is logged by us, with its decision; uvicorn's own lines about it say less.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
