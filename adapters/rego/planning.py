"""Policies checked in a process of its own, which is given the texts and gives back their plan or what is wrong with them: it takes seconds
for thousands of rules, and a text can be written to take for ever, or all memory. Whoever serves requests does not wait for it.

Started as `python -I -m adapters.rego.planning MEMORY CPU_SECONDS`, it reads JSON and writes JSON. Where the machine can, it confines
itself before it reads; what it says is checked, since it may be the texts' author who says it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

import orjson

from adapters.rego.answers import data_text
from adapters.rego.helpers import ENVIRONMENT
from adapters.rego.plan import Plan
from adapters.rego.sandbox import confine, unavailable
from router.errors import ConfigError

MEMORY = 1 << 30
MOST_S = 30
MOST_BYTES = 64 << 20
NICENESS = 10  # who serves requests comes first
MOST_FAULTS, FAULT_CHARS = 1000, 1000


def planned(policies: Mapping[str, str], data: Mapping[str, Any]) -> Plan:
    """Waits for it, at most half a minute. Raises ConfigError with every fault, or with one sentence where checking does not end well."""
    data_text(data)
    with tempfile.TemporaryFile() as texts:
        texts.write(orjson.dumps(dict(policies)))
        texts.seek(0)
        told = _told(texts)
    return _read(told, policies)


def _told(texts: IO[bytes]) -> bytes:
    command = [sys.executable, "-I", "-m", "adapters.rego.planning", str(MEMORY), str(MOST_S)]
    with subprocess.Popen(  # noqa: S603  # our own interpreter, and nothing of the texts among its arguments
        command, stdin=texts, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, start_new_session=True
    ) as child:
        timer = threading.Timer(MOST_S, child.kill)
        timer.start()
        told = child.stdout.read(MOST_BYTES) if child.stdout is not None else b""
        late = not timer.is_alive()
        timer.cancel()
        if len(told) == MOST_BYTES:
            child.kill()
    if late or child.returncode == -signal.SIGXCPU:
        raise ConfigError(f"The policies are not used: checking them took more than {MOST_S} seconds.")
    if child.returncode != 0:
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit status {child.returncode}"
        raise ConfigError(
            f"The policies are not used: the process that checks them broke off ({how}), as it does when they take all its memory."
        )
    return told


def _read(told: bytes, policies: Mapping[str, str]) -> Plan:
    try:
        found = orjson.loads(told)
        faults = found["faults"]
        if not faults:
            return Plan.from_json(found["plan"], policies.keys())
        sentences = [str(each)[:FAULT_CHARS] for each in faults[:MOST_FAULTS]]
    except (ValueError, LookupError, TypeError):
        raise ConfigError("The policies are not used: the process that checks them gave no plan.") from None
    raise ConfigError(*sentences)


def main() -> None:
    from adapters.rego.embedded import checked_plan  # the interpreter is loaded in this process only

    os.nice(NICENESS)
    if unavailable() is None:
        with suppress(OSError):  # without seccomp the limits hold all the same; who insists on more finds out when its processes start
            confine(int(sys.argv[1]), int(sys.argv[2]))
    told: dict[str, Any]
    try:
        told = {"faults": [], "plan": checked_plan(json.load(sys.stdin.buffer), {}).to_json()}
    except ConfigError as error:
        told = {"faults": error.faults}
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
