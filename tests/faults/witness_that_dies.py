"""A witness that is killed between remembering a checkpoint and answering: by itself, with `kill -9`, once the state is on stable storage.

Run as `python -m tests.faults.witness_that_dies CONFIG`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

from adapters.witness_state_file import WitnessStateFile
from router.audit.witnesses.desk import Seen
from router.processes.witness import WitnessProcess, read_witness


class Dying(WitnessStateFile):
    def replace(self, origin: str, last: Seen | None, seen: Seen) -> None:
        super().replace(origin, last, seen)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(WitnessProcess(read_witness(Path(sys.argv[1])), partial(print, flush=True), remember=Dying).run())
