"""The `redis-stream` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

from pathlib import Path

from adapters.messaging.destination import MessageDestination, Receipt, receipt
from adapters.messaging.message import Message
from adapters.messaging.scoped import scoped
from adapters.redis_state.state import Script
from adapters.redis_streams.asking import Redis
from adapters.redis_streams.config import StreamConfig as Config
from router.ports import Clock, Random

__all__ = ["Config", "build"]

WITHIN_S = 3600.0
"""Longer than any request: the destination itself has less patience."""

ADD = Script.of("""
local known = redis.call('GET', KEYS[2])
if known then return {known, 0} end
local id
if ARGV[1] == '0' then
  id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
else
  id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3))
end
redis.call('SET', KEYS[2], id, 'PX', ARGV[2], 'NX')
return {id, 1}
""")


class StreamPeer:
    repeatable = True
    """Redis itself is told to remember ids."""

    def __init__(self, settings: Config, root: Path) -> None:
        self._settings = settings
        self._redis = Redis(settings, root)

    async def open(self) -> None:
        await self._redis.open()

    async def close(self) -> None:
        await self._redis.close()

    async def ping(self) -> None:
        await self._redis.ask("", "PING", within_s=self._settings.timeout)

    async def deliver(self, message: Message) -> Receipt:
        stream = message.text(self._settings.stream)
        keep, remember = self._settings.keep or 0, max(1, int(self._settings.remember * 1000))
        message_id = scoped(message)
        fields = {"id": message_id, "content-type": message.content_type, **message.fields}
        fields |= {name: message.text(line) for name, line in self._settings.fields.items()}
        pairs = [part for name, value in fields.items() for part in (name, value)]
        entry, new = await self._redis.run(
            ADD, (stream, known(stream, message_id)), (keep, remember, *pairs, "body", message.content), within_s=WITHIN_S
        )
        return receipt(stream, {"entry": entry.decode(), "known": not new})


def known(stream: str, message_id: str) -> str:
    """The key that remembers an id, where a cluster puts it beside the stream."""
    begin = stream.find("{")
    tagged = begin >= 0 and stream.find("}", begin + 1) > begin + 1
    return f"{stream if tagged else '{' + stream + '}'}:lockgate:{message_id}"


def build(settings: Config, *, name: str, clock: Clock, random: Random, root: Path = Path()) -> MessageDestination:
    return MessageDestination(name, settings, StreamPeer(settings, root), clock, random)
