"""A gRPC server of a test's own, on a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc
import grpc.aio

from examples.halden.demo.company import free_ports


@contextmanager
def served(services: Mapping[str, Mapping[str, grpc.RpcMethodHandler]]) -> Iterator[int]:
    """`services`: handlers by method, by the service's name. The port."""
    (port,) = free_ports(1)
    loop, stop, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def run() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(tuple(grpc.method_handlers_generic_handler(name, made) for name, made in services.items()))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        started.set()
        await stop.wait()
        await server.stop(0.2)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert started.wait(10)
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
