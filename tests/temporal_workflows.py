"""Workflows of a worker for tests, and the worker: `python -m tests.temporal_workflows ADDRESS`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "payments"


@workflow.defn(name="Echo")
class Echo:
    @workflow.run
    async def run(self, given: Any) -> dict[str, Any]:
        converter = DataConverter.default.payload_converter
        headers = {name: converter.from_payloads([payload])[0] for name, payload in workflow.info().headers.items()}
        return {"given": given, "headers": headers}


@workflow.defn(name="Fails")
class Fails:
    @workflow.run
    async def run(self, given: Any) -> None:
        raise ApplicationError("no such payment", type="NoSuchPayment")


@workflow.defn(name="Sleeps")
class Sleeps:
    @workflow.run
    async def run(self, given: Any) -> str:
        await workflow.sleep(timedelta(hours=1))
        return "woken"


@workflow.defn(name="Continues")
class Continues:
    """Goes on as a new run, once, when it is told."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, given: Any, last: bool = False) -> str:
        await workflow.wait_condition(lambda: self.told)
        if not last:
            workflow.continue_as_new(args=[given, True])
        return "done"

    @workflow.signal
    def go(self) -> None:
        self.told = True


@workflow.defn(name="Collects")
class Collects:
    """Keeps what it is told until it is told to end."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.done = False

    @workflow.run
    async def run(self, *given: Any) -> list[Any]:
        await workflow.wait_condition(lambda: self.done)
        return self.seen

    @workflow.signal
    def add(self, item: Any) -> None:
        self.seen.append(item)

    @workflow.signal
    def end(self) -> None:
        self.done = True

    @workflow.query
    def held(self) -> list[Any]:
        return self.seen

    @workflow.update
    def change(self, item: Any) -> dict[str, Any]:
        if item == {"bad": True}:
            raise ApplicationError("it cannot be changed so")
        self.seen.append(item)
        return {"count": len(self.seen)}

    @change.validator
    def check(self, item: Any) -> None:
        if item == {"refused": True}:
            raise ValueError("no")


@asynccontextmanager
async def working(client: Client) -> Any:
    async with Worker(
        client, task_queue=QUEUE, workflows=[Echo, Fails, Sleeps, Continues, Collects], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        yield


async def main(address: str) -> None:
    async with working(await Client.connect(address)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
