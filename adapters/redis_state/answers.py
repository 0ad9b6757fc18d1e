"""Classifiers' answers that nodes share. Who writes to Redis can take one away, and can invent none: each is sealed (AES-256-GCM) under the
nodes' common key, for the text and the models that it is about."""

from __future__ import annotations

import asyncio
import logging
import os
from hashlib import blake2b
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.redis_state.state import RedisState
from router.errors import StateError
from router.ports import AnswerObserver, Clock

NONCE, TIME = 12, 8
MOST_BYTES = 16_384
SKEW_MS = 300_000
log = logging.getLogger("lockgate.state")


class RedisAnswers:
    """Implements `ports.SharedAnswers`. `wait` and `keep` are seconds; `key` is the nodes' common secret."""

    def __init__(self, state: RedisState, key: bytes, wait: float, keep: float, clock: Clock, observer: AnswerObserver) -> None:
        self._state = state
        self._cipher = AESGCM(blake2b(key, digest_size=32, person=b"answers").digest())
        self._wait = wait
        self._keep_ms = round(keep * 1000)
        self._clock = clock
        self._observer = observer
        self._said = False
        self._under_way: set[asyncio.Task[Any]] = set()

    async def get(self, tier: str, key: bytes) -> bytes | None:
        """See `ports.SharedAnswers`."""
        name = self._name(tier, key)
        if self._state.problem is not None:
            self._observer.answer_shared(tier, "unavailable")
            return None
        # Bounded here, and not by the question's own time: that we would not wait is no sign that the server hangs.
        asking = self._beside("GET", name)
        await asyncio.wait({asking}, timeout=self._wait)
        if not asking.done():
            self._observer.answer_shared(tier, "late")
            return None
        result, answer = self._opened(name, asking.result())
        self._observer.answer_shared(tier, result)
        return answer

    def put(self, tier: str, key: bytes, answer: bytes) -> None:
        """See `ports.SharedAnswers`."""
        if len(answer) > MOST_BYTES // 2 or self._state.problem is not None:
            return
        name, nonce = self._name(tier, key), os.urandom(NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, self._now_ms().to_bytes(TIME) + answer, name.encode())
        self._beside("SET", name, sealed, "PX", self._keep_ms)
        self._observer.answer_shared(tier, "told")

    def _beside(self, *command: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(self._ask(*command))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _ask(self, verb: str, name: str, *rest: Any) -> Any:
        """The error where there is one, since whoever asked may not wait for it any more."""
        try:
            return await self._state.ask(name, verb, name, *rest, until=self._state.until())
        except StateError as error:
            return error

    def _opened(self, name: str, found: Any) -> tuple[str, bytes | None]:
        if found is None:
            return "missed", None
        if isinstance(found, StateError):
            return "unavailable", None
        try:
            if not isinstance(found, bytes) or len(found) > MOST_BYTES:
                raise ValueError("none of ours")
            opened = self._cipher.decrypt(found[:NONCE], found[NONCE:], name.encode())
        except (InvalidTag, ValueError):
            return self._forged()
        age = self._now_ms() - int.from_bytes(opened[:TIME])
        if not -SKEW_MS <= age <= self._keep_ms:  # put there again by somebody who had kept it
            return "expired", None
        return "found", opened[TIME:]

    def _forged(self) -> tuple[str, None]:
        if not self._said:
            self._said = True
            log.error("An answer on Redis was not sealed with this node's 'shared_state.key'; such answers are ignored, and counted.")
        return "forged", None

    def _name(self, tier: str, key: bytes) -> str:
        return self._state.names.of("answer", f"{tier} {key.hex()}")

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000
