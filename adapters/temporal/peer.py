"""One Temporal frontend as a peer. A request that comes again, under its own id, is answered with what the first one set in motion."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import orjson
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import TemporalError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.messaging.destination import Receipt, failure
from adapters.messaging.message import Message
from adapters.temporal import asking
from adapters.temporal.asking import Asked, asked
from adapters.temporal.config import Config
from adapters.temporal.connection import ROOT, connected
from adapters.temporal.failures import started_before, translated
from adapters.temporal.headers import CURRENT
from router.errors import DestinationError

T = TypeVar("T")
REUSE = {
    "reject": WorkflowIDReusePolicy.REJECT_DUPLICATE,
    "allow_failed": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    "allow": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
}


class TemporalPeer:
    repeatable = True  # the frontend acts once on a request id, and a workflow once on an update id

    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        self._client: Client | None = None
        self._actions: dict[str, Callable[[Client, Asked], Awaitable[Receipt]]] = {
            "start": self._start,
            "signal": self._signal,
            "signal_with_start": self._signal_with_start,
            "update": self._update,
            "update_with_start": self._update_with_start,
        }
        self.place = f"temporal://{settings.address}/{settings.namespace}"

    async def open(self) -> None:
        self._client = await connected(self._settings, self._name)

    async def close(self) -> None:
        self._client = None  # the library ends the connection with its last user

    async def ping(self) -> None:
        client = self._connected()
        request = DescribeNamespaceRequest(namespace=self._settings.namespace)
        with self._translating():
            await self._allowed(client, lambda: client.workflow_service.describe_namespace(request, timeout=timedelta(seconds=5)))

    async def deliver(self, message: Message) -> Receipt:
        client, wanted = self._connected(), asked(self._settings, message)
        token = CURRENT.set(wanted.headers)
        try:
            with self._translating():
                return await self._allowed(client, lambda: self._actions[self._settings.action](client, wanted))
        finally:
            CURRENT.reset(token)

    async def _start(self, client: Client, wanted: Asked) -> Receipt:
        request = await asking.start(client, self._settings, wanted)
        existing = False
        try:
            run_id = (await client.workflow_service.start_workflow_execution(request)).run_id
        except RPCError as error:
            run_id, existing = self._before(error, wanted)
        if self._settings.wait is not None:
            return await self._result(client, wanted, run_id, existing=existing)
        return self._receipt(wanted, run_id, existing=existing)

    def _before(self, error: RPCError, wanted: Asked) -> tuple[str, bool]:
        """The run under this workflow id, and whether another request started it."""
        before = started_before(error)
        if before is None:
            raise error
        starter, run_id = before
        if starter == wanted.key:
            return run_id, False
        if self._settings.conflict == "use_existing":
            return run_id, True
        raise failure("upstream_refused", f"{self._name} already has a workflow of that id, which another request started")

    async def _result(self, client: Client, wanted: Asked, run_id: str, *, existing: bool) -> Receipt:
        try:
            async with asyncio.timeout(self._settings.wait):
                value = await client.get_workflow_handle(wanted.workflow_id, run_id=run_id).result()
        except TimeoutError:
            return self._receipt(wanted, run_id, existing=existing)
        except WorkflowFailureError as error:
            raise self._failed(error) from error
        return self._receipt(wanted, run_id, existing=existing, result=value, status=200)

    async def _signal(self, client: Client, wanted: Asked) -> Receipt:
        await client.workflow_service.signal_workflow_execution(await asking.signal(client, self._settings, wanted))
        return self._receipt(wanted, None)

    async def _signal_with_start(self, client: Client, wanted: Asked) -> Receipt:
        request = await asking.signal_with_start(client, self._settings, wanted)
        answer = await client.workflow_service.signal_with_start_workflow_execution(request)
        return self._receipt(wanted, answer.run_id)

    async def _update(self, client: Client, wanted: Asked) -> Receipt:
        handle = await client.get_workflow_handle(wanted.workflow_id).start_update(
            self._settings.update or "", args=wanted.args, id=wanted.key, wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )
        return await self._updated(wanted, handle)

    async def _update_with_start(self, client: Client, wanted: Asked) -> Receipt:
        settings = self._settings
        first = WithStartWorkflowOperation[Any, Any](
            settings.workflow or "",
            args=wanted.start_args,
            id=wanted.workflow_id,
            task_queue=settings.task_queue or "",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=REUSE[settings.reuse],
            execution_timeout=None if settings.execution_timeout is None else timedelta(seconds=settings.execution_timeout),
            run_timeout=None if settings.run_timeout is None else timedelta(seconds=settings.run_timeout),
            memo=wanted.memo,
            search_attributes=wanted.attributes,
        )
        handle = await client.start_update_with_start_workflow(
            settings.update or "",
            args=wanted.args,
            id=wanted.key,
            start_workflow_operation=first,
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
        return await self._updated(wanted, handle)

    async def _updated(self, wanted: Asked, handle: WorkflowUpdateHandle[Any]) -> Receipt:
        run_id = handle.workflow_run_id
        if self._settings.wait is None:
            return self._receipt(wanted, run_id, update_id=wanted.key)
        try:
            async with asyncio.timeout(self._settings.wait):
                value = await handle.result()
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            return self._receipt(wanted, run_id, update_id=wanted.key)
        return self._receipt(wanted, run_id, update_id=wanted.key, result=value, status=200)

    def _receipt(self, wanted: Asked, run_id: str | None, status: int = 202, **more: Any) -> Receipt:
        ids = {"workflow_id": wanted.workflow_id, "run_id": run_id}
        told = {**ids, "namespace": self._settings.namespace, **{name: value for name, value in more.items() if value is not False}}
        work = orjson.dumps(ids).decode() if run_id else ""
        return Receipt(self.place, orjson.dumps(told, default=_plain), status=status, work=work)

    async def _allowed(self, client: Client, ask: Callable[[], Awaitable[T]]) -> T:
        """A key that was exchanged since is read anew, once."""
        try:
            return await ask()
        except RPCError as error:
            key = self._settings.api_key
            if key is None or error.status not in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
                raise
            now = await asyncio.to_thread(key.reveal, ROOT)
            if now == client.api_key:
                raise
            client.api_key = now
            return await ask()

    def _failed(self, error: TemporalError) -> DestinationError:
        cause = error.cause if isinstance(error, WorkflowFailureError | WorkflowUpdateFailedError) else error
        return failure("work_failed", f"{self._name} did what was asked, and it failed: {type(cause).__name__}", sent=True)

    @contextmanager
    def _translating(self) -> Any:
        try:
            yield
        except WorkflowUpdateFailedError as error:
            raise self._failed(error) from error
        except WorkflowAlreadyStartedError as error:  # the workflow of an update-with-start has ended, and may not start again
            raise failure("upstream_refused", f"{self._name} had a workflow of that id, which has ended") from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise failure("upstream_timeout", f"{self._name} has nobody who takes the update", sent=True) from error
        except (TemporalError, RuntimeError) as error:
            raise translated(error, self._name) from error

    def _connected(self) -> Client:
        if self._client is None:
            raise failure("destination_closed", f"{self._name} is not open")
        return self._client


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
