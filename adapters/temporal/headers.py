"""What travels beside the arguments: the decision's id and the trace, where Temporal's own OpenTelemetry interceptor looks for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Interceptor,
    OutboundInterceptor,
    StartWorkflowUpdateInput,
    StartWorkflowUpdateWithStartInput,
    WorkflowUpdateHandle,
)
from temporalio.converter import DataConverter

from adapters.messaging.document import CARRIED
from adapters.messaging.message import Message

DECISION, TRACER = "lockgate-decision-id", "_tracer-data"
CURRENT: ContextVar[Mapping[str, Payload]] = ContextVar("temporal headers", default={})  # noqa: B039  # never changed


def headers(message: Message) -> dict[str, Payload]:
    """JSON, and plain also where payloads are encrypted: a worker's interceptors read them before any codec."""
    trace = {name: message.fields[name] for name in CARRIED if name in message.fields}
    found: dict[str, Any] = {DECISION: message.decision_id, **trace}
    if trace:
        found[TRACER] = trace
    return {name: DataConverter.default.payload_converter.to_payloads([value])[0] for name, value in found.items()}


class Headed(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002  # Temporal's name
        return _Heading(next)


class _Heading(OutboundInterceptor):
    """Updates are sent by the library, which takes headers from interceptors only."""

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:  # noqa: A002  # as above
        input.headers = {**input.headers, **CURRENT.get()}
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self,
        input: StartWorkflowUpdateWithStartInput,  # noqa: A002  # as above
    ) -> WorkflowUpdateHandle[Any]:
        for half in (input.start_workflow_input, input.update_workflow_input):
            half.headers = {**half.headers, **CURRENT.get()}
        return await super().start_update_with_start_workflow(input)
