"""What a process can still do that reads or evaluates policies which nobody trusts: compute, and speak over what it was given. Linux only,
and no root is needed.

Steps:  1 it ends with its parent   2 what it was not given is closed   3 limits on memory, CPU, files, processes   4 no new privileges
        5 system calls, an allow-list
Nothing of it can be taken back by the process itself.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Mapping, Sequence

MACHINES: Mapping[str, tuple[int, Sequence[int]]] = {
    # The architecture as audit(7) has it, and the numbers of these calls: read write mmap mprotect munmap brk rt_sigaction rt_sigprocmask
    # rt_sigreturn mremap madvise exit sigaltstack futex sched_yield restart_syscall clock_gettime gettimeofday exit_group getrandom
    "x86_64": (0xC000003E, (0, 1, 9, 10, 11, 12, 13, 14, 15, 25, 28, 60, 131, 202, 24, 219, 228, 96, 231, 318)),
    "aarch64": (0xC00000B7, (63, 64, 222, 226, 215, 214, 134, 135, 139, 216, 233, 93, 132, 98, 124, 128, 113, 169, 94, 278)),
}
GIVEN = 3  # standard input, output and error
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of classic BPF
NUMBER, ARCHITECTURE = 0, 4  # where they stand in seccomp_data
ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050001, 0x80000000  # refused is EPERM
X32 = 0x40000000  # the other numbering that an x86-64 kernel may understand


def unavailable() -> str | None:
    """Why this machine cannot confine a process; None where it can."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return f"it needs Linux on x86-64 or ARM64, and this is {platform.system()} on {platform.machine()}"
    return None


def confine(memory: int, cpu_s: int) -> None:
    """For good. `memory` is of addresses, in bytes; after `cpu_s` seconds of CPU the kernel ends the process. What is still to be imported
    or opened is so before. Raises OSError where the system does not let us."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    _called(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))  # 1
    os.closerange(
        GIVEN, _most_descriptors()
    )  # 2: not every event loop does it for a process that it starts, and 5 allows reading and writing
    for limit, wanted in (  # 3
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),  # it would hold what people sent
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, most = resource.getrlimit(limit)
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(limit, (value, value))
    _called(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))  # 4
    program = filter_program(platform.machine())
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(code)))
    _called(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0))  # 5


def _most_descriptors() -> int:
    """Above every one that is open: the limit may have been higher when it was opened."""
    return max(map(int, os.listdir("/proc/self/fd"))) + 1


def filter_program(machine: str) -> bytes:
    """seccomp(2): calls in another architecture's numbering end the process, what is not on the list is EPERM."""
    architecture, calls = MACHINES[machine]
    steps = [
        _step(LOAD, ARCHITECTURE),
        _step(JUMP_EQUAL, architecture, 1, 0),
        _step(RETURN, KILLED),
        _step(LOAD, NUMBER),
        _step(JUMP_AT_LEAST, X32, len(calls), 0),
        *(_step(JUMP_EQUAL, call, len(calls) - place, 0) for place, call in enumerate(calls)),
        _step(RETURN, REFUSED),
        _step(RETURN, ALLOWED),
    ]
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _called(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
