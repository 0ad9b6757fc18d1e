"""Requests with an idempotency key, and their answers, for several nodes. Answers are sealed (AES-256-GCM): they are the callers'."""

from __future__ import annotations

import os
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.redis_state.failures import UNUSABLE
from adapters.redis_state.state import RedisState, Script
from router.errors import StateError
from router.ports import Turn

NONCE = 12
ON_ITS_WAY = 10_000_000
"""Bytes of an answer that a second more is given for: on a slow network a long one takes longer than a question may, and one that is given
up leaves its key claimed."""

# KEYS: the request's. ARGV: fingerprint, token, milliseconds.
BEGIN = Script.of("""\
local kept = redis.call('HMGET', KEYS[1], 'fingerprint', 'turn', 'answer')
if not kept[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'token', ARGV[2], 'turn', 'under_way')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'first', ''}
end
if kept[1] ~= ARGV[1] then return {'other', ''} end
return {kept[2], kept[3] or ''}
""")

# ARGV: token, turn, answer, milliseconds.
END = Script.of("""\
local kept = redis.call('HMGET', KEYS[1], 'token', 'turn')
if kept[1] ~= ARGV[1] or kept[2] ~= 'under_way' then return 0 end
redis.call('HSET', KEYS[1], 'turn', ARGV[2], 'answer', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")

# ARGV: token.
RELEASE = Script.of("""\
local kept = redis.call('HMGET', KEYS[1], 'token', 'turn')
if kept[1] == ARGV[1] and kept[2] == 'under_way' then return redis.call('DEL', KEYS[1]) end
return 0
""")


class RedisRepeats:
    """Implements `ports.Repeats`. `key` is the nodes' common secret."""

    def __init__(self, state: RedisState, key: bytes) -> None:
        self._state = state
        self._cipher = AESGCM(blake2b(key, digest_size=32, person=b"repeats").digest())

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        """See `ports.Repeats`."""
        self._state.check()
        name = self._state.names.of("repeat", key)
        turn, answer = await self._state.run(BEGIN, [name], [fingerprint, token, seconds * 1000], self._state.until())
        return Turn(turn.decode()), self._opened(name, answer) if answer else b""

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        """See `ports.Repeats`."""
        name = self._state.names.of("repeat", key)
        turn, sealed = (Turn.UNANSWERED, b"") if answer is None else (Turn.ANSWERED, self._sealed(name, answer))
        until = self._state.until() + len(sealed) / ON_ITS_WAY
        await self._state.run(END, [name], [token, turn.value, sealed, seconds * 1000], until)

    async def release(self, key: str, token: str) -> None:
        """See `ports.Repeats`."""
        await self._state.run(RELEASE, [self._state.names.of("repeat", key)], [token], self._state.until())

    def _sealed(self, name: str, answer: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, answer, name.encode())

    def _opened(self, name: str, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], name.encode())
        except InvalidTag:
            raise StateError("An answer on Redis was not sealed with this node's 'shared_state.key'.", UNUSABLE) from None
