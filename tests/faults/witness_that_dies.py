"""A witness that is killed between remembering a checkpoint and answering, or after what it wrote last was synced.

Run as `python -m tests.faults.witness_that_dies CONFIG`: `kill -9` of itself once the state is on stable storage.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import router.processes.witness as process
from adapters.witness_state_file import WitnessStateFile
from router.audit.witness_desk import Seen


class Dying(WitnessStateFile):
    def replace(self, origin: str, last: Seen | None, seen: Seen) -> None:
        super().replace(origin, last, seen)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    process.WitnessStateFile = Dying
    asyncio.run(process.WitnessProcess(process.read_witness(Path(sys.argv[1])), print).run())
