"""Load over raw sockets: a bounded number of requests, closed loop (each connection waits for its answer) or open loop (they come when
they come). The client's own cost does not matter, since only the server's CPU is counted."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

import uvloop

from tests.bench.processes import BenchError

Request = bytes
Make = Callable[[int], Request]
"""The wire form of the n-th request."""
FINE = (200, 202, 422)
"""A text that was never seen may also be held or too unclear to be routed; it has then cost all that a clear one costs but the dispatch."""


def get(path: str, headers: str = "") -> Request:
    return f"GET {path} HTTP/1.1\r\nhost: bench.example\r\nuser-agent: bench\r\naccept: */*\r\n{headers}\r\n".encode()


def post(path: str, body: bytes, headers: str = "", content_type: str = "application/json") -> Request:
    head = f"POST {path} HTTP/1.1\r\nhost: bench.example\r\nuser-agent: bench\r\naccept: */*\r\ncontent-type: {content_type}\r\n"
    return f"{head}content-length: {len(body)}\r\n{headers}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One request at a time. `ask` resolves with the status."""

    def __init__(self) -> None:
        self._in = b""
        self.answer = b""
        self._waiting: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self, request: Request) -> asyncio.Future[int]:
        if self._transport is None:
            raise BenchError("a connection was closed by the server")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._in += data
        end = self._in.find(b"\r\n\r\n")
        if end < 0 or not _complete(self._in, end):
            return
        status, self.answer, self._in = int(self._in[9:12]), self._in, b""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(BenchError("a connection was closed by the server before its answer"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _complete(data: bytes, end: int) -> bool:
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return len(data) >= end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
    return data.endswith(b"0\r\n\r\n")  # chunked


async def _connect(port: int, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made = await asyncio.gather(*(loop.create_connection(Connection, "127.0.0.1", port) for _ in range(count)))
    return [connection for _, connection in made]


def closed(port: int, make: Make, count: int, concurrency: int, first: int = 0) -> float:
    """Requests a second. Raises BenchError when an answer has another status than those of `FINE`."""
    return uvloop.run(_closed(port, make, count, concurrency, first))


async def _closed(port: int, make: Make, count: int, concurrency: int, first: int) -> float:
    connections = await _connect(port, concurrency)
    numbers = iter(range(first, first + count))

    async def work(connection: Connection) -> None:
        for number in numbers:
            status = await connection.ask(make(number))
            _must_be_fine(status, number, connection)

    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(work(connection) for connection in connections))
    spent = loop.time() - began
    for connection in connections:
        connection.close()
    return count / spent


def opened(port: int, make: Make, rate: float, count: int, seed: int, first: int = 0) -> list[float]:
    """Seconds from when each request was due to its answer, so that a server that falls behind cannot hide it."""
    return uvloop.run(_opened(port, make, rate, count, seed, first))


async def _opened(port: int, make: Make, rate: float, count: int, seed: int, first: int) -> list[float]:
    idle = deque(await _connect(port, 32))
    loop = asyncio.get_running_loop()
    due, began = arrivals(rate, count, seed), loop.time() + 0.05
    latencies = [0.0] * count

    async def one(number: int) -> None:
        connection = idle.popleft() if idle else (await _connect(port, 1))[0]
        status = await connection.ask(make(first + number))
        latencies[number] = loop.time() - began - due[number]
        idle.append(connection)
        _must_be_fine(status, first + number, connection)

    tasks = []
    for number in range(count):
        wait = began + due[number] - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.ensure_future(one(number)))
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return latencies


def _must_be_fine(status: int, number: int, connection: Connection) -> None:
    if status not in FINE:
        said = connection.answer.partition(b"\r\n\r\n")[2].decode(errors="replace")
        raise BenchError(f"request {number} was answered {status}, not 200: {said[:500]}")


def arrivals(rate: float, count: int, seed: int) -> Sequence[float]:
    """A Poisson stream, the same for every server that is compared."""
    dice, at, times = random.Random(seed), 0.0, []
    for _ in range(count):
        at += dice.expovariate(rate)
        times.append(at)
    return times
