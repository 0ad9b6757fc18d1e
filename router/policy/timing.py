"""How long policies take, by entry point: each answer made anew, and remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.rego.embedded import EmbeddedRego, load
from router.policy.evaluating import DEADLINE_S, ENTRIES, intents_of
from router.policy.folder import PolicyFolder
from router.policy.inputs import Document
from router.stages.policy import judge

BATCH = 64  # different inputs, fewer than are remembered


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds."""

    entry: str
    remembered: bool
    inputs: int
    p50_us: float
    p99_us: float


def measure(folder: PolicyFolder, documents: Sequence[Document], rounds: int) -> list[Timing]:
    """`rounds` evaluations of each kind. Raises ConfigError where the policies are refused."""
    cold = load(folder.policies, folder.data, deadline_s=DEADLINE_S, remember=False)
    warm = load(folder.policies, folder.data, deadline_s=DEADLINE_S)
    found: list[Timing] = []
    for entry in ENTRIES:
        asked = [each for each in documents if each["entry"] == entry]
        spread = asked[:: max(1, len(asked) // BATCH)][:BATCH]
        for engine in (cold, warm) if spread else ():
            times = sorted(asyncio.run(_times(engine, entry, spread, rounds)))
            found.append(Timing(entry, engine is warm, len(spread), times[len(times) // 2] / 1000, times[len(times) * 99 // 100] / 1000))
    return found


async def _times(engine: EmbeddedRego, entry: str, documents: Sequence[Document], rounds: int) -> list[int]:
    for each in documents:  # once before it counts
        await judge(engine, entry, intents_of(each), each)
    times: list[int] = []
    for number in range(rounds):
        document = documents[number % len(documents)]
        started = time.perf_counter_ns()
        await judge(engine, entry, intents_of(document), document)
        times.append(time.perf_counter_ns() - started)
    return times
