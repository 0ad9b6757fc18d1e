"""What a confined process can no longer do, tried in real ones."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from adapters.rego.sandbox import unavailable

pytestmark = pytest.mark.skipif(unavailable() is not None, reason="this machine cannot confine processes")
CONFINED = """
import os, signal, socket, sys, ctypes
from adapters.rego.sandbox import confine
confine(128 << 20, 1)
try:
    {tried}
except OSError as error:
    os.write(1, type(error).__name__.encode())
    os._exit(0)
os.write(1, b"done")
os._exit(0)
"""


def ended(tried: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-I", "-c", CONFINED.format(tried=tried)], capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize(
    "tried",
    [
        "open('/etc/hostname')",
        "os.listdir('/')",
        "os.dup(1)",
        "socket.socket()",
        "socket.socketpair()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.pipe()",
        "os.unlink('/tmp/nothing')",
        "os.setpriority(os.PRIO_PROCESS, 0, 1)",
    ],
)
def test_a_confined_process_cannot(tried):
    """Neither files nor network, no process and no signal."""
    assert ended(tried).stdout in (b"PermissionError", b"OSError")


def test_a_confined_process_can_compute_and_answer():
    """Which is all that it is for."""
    assert ended("sum(range(100000)); bytearray(1 << 20)").stdout == b"done"


def test_memory_has_an_end():
    """At the limit, whatever else the machine has."""
    assert b"MemoryError" in ended("bytearray(200 << 20)").stderr


def test_cpu_has_an_end():
    """Should nobody be there any more who would end it."""
    assert ended("all(True for _ in iter(int, 1))").returncode in (-signal.SIGXCPU, -signal.SIGKILL)


def test_the_limits_cannot_be_taken_back():
    """By nothing that is still allowed."""
    assert ended("import resource; resource.setrlimit(resource.RLIMIT_CPU, (9, 9))").stdout != b"done"


def test_calls_of_another_numbering_do_not_go_round_the_list():
    """The same calls have other numbers for programs of another kind."""
    told = ended("ctypes.set_errno(0); ctypes.CDLL(None, use_errno=True).syscall(0x40000000 + 39) == -1 and os.write(1, b'refused ')")
    assert told.stdout == b"refused done"
