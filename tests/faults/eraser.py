"""A process that decides about people, erases some and prunes, until it is killed.

Run as `python -m tests.faults.eraser FOLDER`; prints the key id of each erased subject, only after its erasure was answered.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from router.audit.governance import pruning as module
from router.audit.governance.pruning import Pruning
from router.audit.governance.retention import DAY_NS, Retention, RetentionClass
from router.audit.records.record import system_entry
from tests.unit.audit.governed import OFFICER, Clock, Place, running
from tests.unit.audit.samples import DECISION

KEPT = Retention((RetentionClass("rest", 184 * DAY_NS),))
FORTNIGHTS = 20


async def main(folder: Path) -> None:
    async with running(folder, Clock(DECISION.decided_ns + FORTNIGHTS * 14 * DAY_NS)) as place:
        if not place.ledger.size:
            await place.decide(*range(60), subject="zoe")
            for fortnight in range(1, FORTNIGHTS):
                await place.ledger.append(system_entry("refused", DECISION.decided_ns + fortnight * 14 * DAY_NS))
        await place.erasing.finish()
        await asyncio.gather(erase(place), prune(place))


async def erase(place: Place) -> None:
    number = 1000
    while True:
        number += 1
        subject = f"subject-{number % 7}"
        await place.decide(number, subject=subject)
        receipt = await place.erasing.erase(subject, "gdpr_art_17", OFFICER)
        sys.stdout.write(f"{receipt.leaf['details']['key_id']}\n")
        sys.stdout.flush()


async def prune(place: Place) -> None:
    module.BATCH = 7
    pruning = Pruning(place.orders, KEPT)
    while True:
        await pruning.prune(OFFICER, 10)
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
