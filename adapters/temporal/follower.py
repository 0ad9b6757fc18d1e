"""How a workflow ended that a request set in motion."""

from __future__ import annotations

from datetime import timedelta

import orjson
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError, RPCStatusCode

from adapters.messaging.destination import failure
from adapters.temporal.config import Config
from adapters.temporal.connection import connected
from adapters.temporal.failures import translated
from router.ports import Ended

ENDS = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
}
ASK = timedelta(seconds=10)


class TemporalFollower:
    """Implements `router.ports.Follower`."""

    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        self._client: Client | None = None

    async def open(self) -> None:
        self._client = await connected(self._settings, self._name)

    async def close(self) -> None:
        self._client = None

    async def ended(self, work: str) -> Ended | None:
        """A workflow that went on as a new one is followed: under its id the run is asked for that runs now."""
        ids = orjson.loads(work)
        found = await self._described(ids["workflow_id"], ids["run_id"])
        if found == WorkflowExecutionStatus.CONTINUED_AS_NEW:
            found = await self._described(ids["workflow_id"], "")
        state = ENDS.get(found) if found is not None else "unknown"
        return None if state is None else Ended(state, state == "completed")

    async def _described(self, workflow_id: str, run_id: str) -> WorkflowExecutionStatus | None:
        """None where the frontend does not know it (any more)."""
        if self._client is None:
            raise failure("destination_closed", f"{self._name} is not open")
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        request = DescribeWorkflowExecutionRequest(namespace=self._settings.namespace, execution=execution)
        try:
            answer = await self._client.workflow_service.describe_workflow_execution(request, timeout=ASK)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise translated(error, self._name) from error
        except (TemporalError, RuntimeError) as error:
            raise translated(error, self._name) from error
        return WorkflowExecutionStatus(answer.workflow_execution_info.status)
