"""Workers' processes, which load while nobody knows yet what they are to do: loading is most of what a start takes, and the configuration,
which says how many there are and at which doors, is read meanwhile.

A process is started with one socket. Over it comes its `Duty`: a 4-byte big-endian length, then as much msgpack, with the doors' listening
sockets beside the length; then both sides speak as `router.ipc` has it. A process whose socket ends before that ends, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

import msgpack

MOST_DOORS: Final = 8
_LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Duty:
    """What a worker is to do. `doors`: the HTTP ones that are open, in the order of their sockets. `envoy`: where it serves Envoy, as
    `host:port`, empty for nowhere; `node`: what its node is called among others, empty where there are none."""

    index: int
    workers: int
    doors: tuple[str, ...] = ()
    envoy: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Launched:
    """A process and our end of its socket."""

    process: asyncio.subprocess.Process
    sock: socket.socket

    def gets(self, duty: Duty, descriptors: Sequence[int]) -> bool:
        """Whether it could be told."""
        written = msgpack.packb(astuple(duty))
        try:
            socket.send_fds(self.sock, [_LENGTH.pack(len(written))], descriptors)
            self.sock.sendall(written)
        except OSError:  # it has ended
            return False
        return True


class Loading:
    """Processes that have begun and have no duty yet."""

    def __init__(self) -> None:
        self._idle: list[Launched] = []

    async def begin(self, count: int = 1) -> None:
        """Raises OSError."""
        for _ in range(count):
            self._idle.append(await _launch())

    async def take(self, duty: Duty, descriptors: Sequence[int]) -> Launched:
        """One that has begun before, or begins now. Raises OSError."""
        while self._idle:
            launched = self._idle.pop()
            if launched.process.returncode is None and launched.gets(duty, descriptors):
                return launched
            await _end(launched)
        launched = await _launch()
        launched.gets(duty, descriptors)  # where it ends before it hears, who keeps it alive hears of that
        return launched

    async def end(self) -> None:
        """Those that nobody took."""
        idle, self._idle = self._idle, []
        for launched in idle:
            await _end(launched)


def told(sock: socket.socket) -> tuple[Duty, dict[str, int]] | None:
    """In the process: what it is to do and its doors' descriptors, once somebody says so; None where nobody does any more.
    Neither these nor `sock` go on to processes that this one starts: what is passed is inheritable until somebody says otherwise."""
    sock.set_inheritable(False)
    head, descriptors, _, _ = socket.recv_fds(sock, _LENGTH.size, MOST_DOORS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head + _exactly(sock, _LENGTH.size - len(head)))
    index, workers, doors, envoy, node = msgpack.unpackb(_exactly(sock, length))
    return Duty(index, workers, tuple(doors), envoy, node), dict(zip(doors, descriptors, strict=True))


def _exactly(sock: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = sock.recv(count - len(found))
        if not part:
            raise EOFError("the process that started this one ended in the middle of what it said")
        found += part
    return bytes(found)


async def _launch() -> Launched:
    ours, theirs = socket.socketpair()
    with theirs, contextlib.ExitStack() as undone:
        undone.callback(ours.close)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing is imported from the folder that we happen to be started in
            "-m",
            "router.processes.worker",
            str(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            env=_environment(),
        )
        undone.pop_all()
    return Launched(process, ours)


async def _end(launched: Launched) -> None:
    launched.sock.close()
    with contextlib.suppress(ProcessLookupError):
        launched.process.kill()
    await launched.process.wait()


def _environment() -> dict[str, str]:
    """One thread for numeric libraries: a worker is one core's worth of work."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
