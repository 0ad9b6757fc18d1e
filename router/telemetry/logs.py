"""Log lines of a process on standard error: for people, or as JSON with the trace id of the request that they are about."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar

trace_id: ContextVar[str] = ContextVar("trace_id", default="")


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace_id.get():
            fields["trace_id"] = trace_id.get()
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return f"{line} trace_id={trace_id.get()}" if trace_id.get() else line


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
