"""Requests with an idempotency key, and their answers, for several nodes. Answers are sealed (AES-256-GCM): they are the callers'."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.redis_state.each import each
from adapters.redis_state.failures import UNUSABLE
from adapters.redis_state.state import RedisState, Script
from router.errors import StateError
from router.ports import Turn

NONCE = 12
FIRST = Turn.FIRST.value.encode()
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
    """Implements `ports.Repeats`. `key` is the nodes' common secret, `former` the one before it while they exchange it: a request is then
    claimed under both of its names, and one that was claimed under either is no first. All claim in one order, so that of any two only one
    has both."""

    def __init__(self, state: RedisState, key: bytes, former: bytes | None = None) -> None:
        self._state = state
        self._ciphers = [_cipher(secret) for secret in ([key] if former is None else [former, key])]

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        """See `ports.Repeats`."""
        self._state.check()
        until, claimed = self._state.until(), list[str]()
        for name, cipher in self._named(key):
            turn, answer = await self._state.run(BEGIN, [name], [fingerprint, token, seconds * 1000], until)
            if turn != FIRST:
                with suppress(StateError):  # what cannot be given back stays claimed
                    await self._release(claimed, token)
                return Turn(turn.decode()), _opened(cipher, name, answer) if answer else b""
            claimed.append(name)
        return Turn.FIRST, b""

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        """See `ports.Repeats`."""
        turn = Turn.UNANSWERED if answer is None else Turn.ANSWERED
        sealed = [(name, b"" if answer is None else _sealed(cipher, name, answer)) for name, cipher in self._named(key)]

        async def ending(name: str, kept: bytes) -> None:
            until = self._state.until() + len(kept) / ON_ITS_WAY
            await self._state.run(END, [name], [token, turn.value, kept, seconds * 1000], until)

        await each(partial(ending, *one) for one in sealed)

    async def release(self, key: str, token: str) -> None:
        """See `ports.Repeats`."""
        await self._release(self._state.names.each("repeat", key), token)

    async def _release(self, names: Sequence[str], token: str) -> None:
        await each(partial(self._state.run, RELEASE, [name], [token], self._state.until()) for name in names)

    def _named(self, key: str) -> Iterator[tuple[str, AESGCM]]:
        return zip(self._state.names.each("repeat", key), self._ciphers, strict=True)


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(blake2b(key, digest_size=32, person=b"repeats").digest())


def _sealed(cipher: AESGCM, name: str, answer: bytes) -> bytes:
    nonce = os.urandom(NONCE)
    return nonce + cipher.encrypt(nonce, answer, name.encode())


def _opened(cipher: AESGCM, name: str, sealed: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], name.encode())
    except InvalidTag:
        raise StateError("An answer on Redis was not sealed with this node's 'shared_state.key'.", UNUSABLE) from None
