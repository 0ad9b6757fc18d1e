"""The listener on zttp: how it begins, and how it goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from h2.config import H2Configuration
from h2.connection import H2Connection

from examples.halden.demo.company import free_ports
from router.doors.envoy.access_log import AccessLog
from router.doors.envoy.health import HEALTH
from router.errors import ConfigError
from router.settings import Address
from tests.needs import needs

needs("zttp", "pip install 'lockgate[envoy-zttp]'")

from router.doors.envoy.zttp import ZttpServer

NOBODY = cast(Any, None)
GRACE_S = 3600.0  # no test lasts as long


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[ZttpServer, Address]]:
    made, address = ZttpServer(NOBODY, NOBODY, AccessLog(NOBODY, None), 1000, print), Address("127.0.0.1", free_ports(1)[0])
    await made.start(address, None, GRACE_S)
    await made.say(serving=True)
    yield made, address


async def test_a_worker_to_which_nobody_is_connected_does_not_wait() -> None:
    """For what nobody could tell it any more, however long its grace."""
    async with listening() as (server, _):
        await asyncio.wait_for(server.drain(0.0, lambda: False), 30)


async def test_who_is_connected_is_waited_for_and_told() -> None:
    """Who watches its health is told so as well; nobody new is taken."""
    over = asyncio.Event()
    async with listening() as (server, address), grpc.aio.insecure_channel(str(address)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        draining = asyncio.create_task(server.drain(0.0, over.is_set))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address.host, address.port)
        assert not draining.done()
        over.set()
        await asyncio.wait_for(draining, 30)
        assert await watch.code() == grpc.StatusCode.UNAVAILABLE
        assert await watch.details() == "this worker is gone"


async def test_a_call_that_is_on_its_way_when_a_worker_goes_is_answered() -> None:
    """Though nothing was under way, and everything seemed to be over."""
    async with listening() as (server, address):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        client = H2Connection(H2Configuration(header_encoding="utf-8"))
        client.initiate_connection()
        writer.write(client.data_to_send())
        assert await reader.read(9)  # of the server's settings
        draining = asyncio.create_task(server.drain(0.0, lambda: True))
        await asyncio.sleep(0.02)
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "door"), (":path", f"/{HEALTH}/Check")]
        client.send_headers(1, [*head, ("content-type", "application/grpc"), ("te", "trailers")])
        client.send_data(1, b"\0\0\0\0\0", end_stream=True)  # before it has read that it is to leave
        writer.write(client.data_to_send())
        heard = await asyncio.wait_for(reader.read(), 30)
        await asyncio.wait_for(draining, 30)
        writer.close()
    assert b"\0\0\0\0\2\x08\2" in heard  # NOT_SERVING


async def test_an_address_that_cannot_be_had_is_said() -> None:
    """In one sentence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = Address("127.0.0.1", taken.getsockname()[1])
        made = ZttpServer(NOBODY, NOBODY, AccessLog(NOBODY, None), 1000, print)
        with pytest.raises(ConfigError, match=f"cannot listen on {where} for Envoy"):
            await made.start(where, None, GRACE_S)
