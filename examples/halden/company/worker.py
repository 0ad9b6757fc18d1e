"""Halden's Temporal worker: `python -m examples.halden.company.worker ADDRESS`. It says `working` once it takes tasks.

A step that fails for now is tried again by Temporal; one that a service refuses ends its workflow as failed, which Lockgate finds out.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from examples.halden.company import flows
    from examples.halden.company.steps import STEPS, HttpServices, Services, Task
    from examples.halden.services.common import RefusedError

QUEUE = "halden"
AT_ONCE = 8
RETRIES = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(minutes=1))
Answer = dict[str, Any]


async def step(function: Callable[..., Answer], task: Task, *given: str) -> Answer:
    """An activity of that step's name."""
    arguments = [task, list(given)]
    answer: Answer = await workflow.execute_activity(
        function.__name__, args=arguments, start_to_close_timeout=timedelta(seconds=30), retry_policy=RETRIES
    )
    return answer


@workflow.defn
class Dispute:
    @workflow.run
    async def run(self, task: Task) -> Answer:
        return await flows.dispute(task, step)


@workflow.defn
class LostDevice:
    @workflow.run
    async def run(self, task: Task) -> Answer:
        return await flows.lost_device(task, step)


@workflow.defn
class FailedPayment:
    @workflow.run
    async def run(self, task: Task) -> Answer:
        return await flows.failed_payment(task, step)


def activity_of(function: Callable[..., Answer], services: Services) -> Callable[..., Answer]:
    @activity.defn(name=function.__name__)
    def run(task: Task, given: list[str]) -> Answer:
        try:
            return function(services, task, *given)
        except RefusedError as error:
            raise ApplicationError(error.message, type="Refused", non_retryable=True) from None

    return run


async def main(address: str) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    services, client = HttpServices(), await Client.connect(address)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        async with Worker(
            client,
            task_queue=QUEUE,
            workflows=[Dispute, LostDevice, FailedPayment],
            activities=[activity_of(each, services) for each in STEPS],
            activity_executor=threads,
            max_concurrent_activities=AT_ONCE,
        ):
            print("working", flush=True)
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
