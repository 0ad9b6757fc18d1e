"""Temporal's errors in our words, at one place."""

from __future__ import annotations

from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError, RPCStatusCode

from adapters.messaging.destination import failure
from router.errors import DestinationError

CODES = {
    RPCStatusCode.UNAVAILABLE: "upstream_unavailable",
    RPCStatusCode.DEADLINE_EXCEEDED: "upstream_timeout",
    RPCStatusCode.CANCELLED: "upstream_reset",
    RPCStatusCode.UNKNOWN: "upstream_reset",
    RPCStatusCode.ABORTED: "upstream_unavailable",
    RPCStatusCode.INTERNAL: "upstream_unavailable",
    RPCStatusCode.RESOURCE_EXHAUSTED: "upstream_throttled",
    RPCStatusCode.UNAUTHENTICATED: "upstream_denied",
    RPCStatusCode.PERMISSION_DENIED: "upstream_denied",
}
TOLD = frozenset({"upstream_throttled", "upstream_denied", "upstream_refused"})  # the frontend said no before it did anything


def translated(error: TemporalError | RuntimeError, name: str) -> DestinationError:
    """What the frontend wrote may repeat what it was sent, so only its code is told."""
    if isinstance(error, RPCError):
        if "size exceeds" in error.message or "larger than max" in error.message:
            return failure("body_too_large", f"{name} takes no arguments of that size")
        code = CODES.get(error.status, "upstream_refused")
        return failure(code, f"{name} answered {error.status.name}", sent=code not in TOLD)
    return failure("connect_failed", f"{name} cannot be reached")


def started_before(error: RPCError) -> tuple[str, str] | None:
    """(request id that started it, run id), where the id is another start's; None for any other error."""
    if error.status != RPCStatusCode.ALREADY_EXISTS:
        return None
    details = WorkflowExecutionAlreadyStartedFailure()
    for each in error.grpc_status.details:
        if each.Unpack(details):
            return details.start_request_id, details.run_id
    return None
