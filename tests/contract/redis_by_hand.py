"""The very scripts on a real server, by a clock that a test moves: what they ask of the clock and of expiry is answered by the test."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.link import Part
from adapters.redis_state.state import RedisState, Script
from router.config.shared_state import RedisSettings
from router.ports import Draw
from tests.redis_server import RedisServer

EPOCH_US = 1_800_000_000_000_000
PRELUDE = """\
local server = redis
local redis = {call = function(name, ...)
  if name == 'TIME' then
    local at = tonumber(ARGV[#ARGV])
    return {string.format('%.0f', math.floor(at / 1000000)), string.format('%.0f', at % 1000000)}
  end
  if name == 'PEXPIRE' then return 1 end
  if name == 'SET' then local key, value = ...; return server.call('SET', key, value) end
  return server.call(name, ...)
end}
"""


class Unheard:
    """For who looks at no figures."""

    def state_asked(self, result: str) -> None: ...

    def state_health(self, healthy: bool) -> None: ...


class ByHand(RedisState):
    """`now_ns` is the test's clock. Nobody is in a hurry, and all begin anew."""

    def __init__(self, server: RedisServer, now_ns: Callable[[], int]) -> None:
        super().__init__(settings(server, prefix=f"t{secrets.token_hex(8)}"), Path(), Unheard())
        self._now_ns = now_ns

    def until(self) -> float:
        return asyncio.get_running_loop().time() + 10.0

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Part], until: float, *, counted: bool = True) -> Any:
        now = EPOCH_US + self._now_ns() // 1000
        return await super().run(Script.of(PRELUDE + script.text), keys, [*arguments, now], until, counted=counted)


class OneByOne(ByHand):
    """As a cluster is asked."""

    @property
    def together(self) -> bool:
        return False


class RedisLimits:
    """One rule of `RedisAllowances`; implements `ports.Limits`."""

    def __init__(self, state: RedisState, rate: float, burst: float) -> None:
        self._allowances = RedisAllowances(state)
        self._rule = rate, burst

    async def admit(self, key: str, cost: float = 1.0) -> float | None:
        over = await self._allowances.draw([Draw(key, *self._rule, cost)])
        return None if over is None else over[1]


def settings(server: RedisServer, **named: Any) -> RedisSettings:
    return RedisSettings(server=server.address, **named)
