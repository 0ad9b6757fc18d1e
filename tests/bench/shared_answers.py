"""What a look for another node's classification costs against running the encoder. `python -m tests.bench.shared_answers`; prints figures.

Redis is on loopback: a network's round trip comes on top of the time that is waited, not of the CPU.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from adapters.redis_state.answers import RedisAnswers
from adapters.redis_state.state import RedisState
from adapters.shared_tier import packed, unpacked
from embeddings.minilm import load_minilm
from router.config.shared_state import RedisSettings
from router.decision import Candidate, Classification, Status
from router.system import SystemClock
from tests import redis_server

TEXTS = {"8 words": "please send the money back to my account", "100 words": " ".join(["please send the money back to my"] * 14)}
TIMES, ROUNDS = 200, 5


class Unheard:
    def state_asked(self, result: str) -> None: ...

    def state_health(self, healthy: bool) -> None: ...

    def answer_shared(self, tier: str, result: str) -> None: ...


async def measured(what: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Microseconds that one waits, and of CPU of this process."""
    waited, used = time.perf_counter(), time.process_time()
    for _ in range(TIMES):
        await what()
    return (time.perf_counter() - waited) / TIMES * 1e6, (time.process_time() - used) / TIMES * 1e6


async def main() -> None:
    encoder = load_minilm(threads=1)
    candidates = tuple(Candidate(f"intent.{number}", 1.0 / 3, 0.1234567890123) for number in range(10))
    answer = Classification(Status.CLASSIFIED, "intent.0", 0.9, 0.5, 0.9, candidates=candidates, tier="encoder", model_digest="0" * 64)
    with redis_server.running() as server:
        state = RedisState(RedisSettings(server=server.address), Path(), Unheard())
        await state.open()
        answers = RedisAnswers(state, b"secret", 0.025, 3600.0, SystemClock(), Unheard())
        answers.put("encoder", b"k" * 32, packed(answer))
        await asyncio.sleep(0.1)

        async def found() -> None:
            kept = await answers.get("encoder", b"k" * 32)
            assert kept is not None
            unpacked(kept)

        async def missed() -> None:
            assert await answers.get("encoder", secrets.token_bytes(32)) is None
            answers.put("encoder", secrets.token_bytes(32), packed(answer))

        def runs(text: str) -> Callable[[], Awaitable[object]]:
            async def run() -> None:
                encoder.encode([text])

            return run

        asked = {"found": found, "missed, and told": missed, **{f"encoder, {name}": runs(text) for name, text in TEXTS.items()}}
        rounds = [{name: await measured(what) for name, what in asked.items()} for _ in range(ROUNDS)]
        for name in asked:
            waited, used = (statistics.median(each[name][place] for each in rounds) for place in (0, 1))
            print(f"{name:22} waited {waited:7.0f} us, CPU {used:7.0f} us")
        await state.close()


if __name__ == "__main__":
    asyncio.run(main())
