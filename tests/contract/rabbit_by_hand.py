"""RabbitMQ as its users have it, by the client library alone: queues are made, read and filled behind our back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiormq import Connection
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from tests.rabbitmq_server import PASSWORD, USER, RabbitServer

PATIENCE_S = 30.0


@asynccontextmanager
async def channel(server: RabbitServer) -> AsyncIterator[AbstractChannel]:
    connection = Connection(f"amqp://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{server.port}/")
    await connection.connect()
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def make_queue(server: RabbitServer, name: str, kind: str = "classic", **arguments: Any) -> None:
    more = {key.replace("_", "-"): value for key, value in arguments.items()}
    async with channel(server) as made:
        await made.queue_declare(name, durable=True, arguments={"x-queue-type": kind, **more})


async def put(server: RabbitServer, queue: str, content: bytes, headers: Mapping[str, Any] | None = None, **properties: Any) -> None:
    async with channel(server) as made:
        told = Basic.Properties(delivery_mode=2, headers=dict(headers or {}), **properties)
        await made.basic_publish(content, routing_key=queue, mandatory=True, properties=told)


async def read_all(server: RabbitServer, queue: str) -> list[DeliveredMessage]:
    """What lies there, which is gone then; waits a moment for the first."""
    found = list[DeliveredMessage]()
    until = asyncio.get_running_loop().time() + PATIENCE_S
    async with channel(server) as made:
        while True:
            got = await made.basic_get(queue, no_ack=True)
            if isinstance(got.delivery, Basic.GetOk):
                found.append(got)
            elif found or asyncio.get_running_loop().time() > until:
                return found
            else:
                await asyncio.sleep(0.05)
