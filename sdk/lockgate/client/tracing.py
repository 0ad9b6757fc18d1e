"""The trace that is under way, so that Lockgate's decision is part of it (W3C Trace Context)."""

from __future__ import annotations

import sys
from contextvars import ContextVar

current: ContextVar[str | None] = ContextVar("lockgate_traceparent", default=None)
"""The `traceparent` of the request that is served; the middleware sets it."""


def traceparent() -> str | None:
    """OpenTelemetry's current span where that library is in use here, else what the request that is served came with."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    return current.get()
