"""When a node counts as drained, who hears of it, and what stands in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from router.audit.records.record import open_personal
from router.decision import Subject
from router.errors import AuditError
from router.system import UuidV7
from router.wiring.draining import Draining
from tests.unit.identity.parts import HandClock

OTTO = Subject("otto", "user", ("operator",), (), None, {}, "api_key")
IDLE = {"requests": 0, "streams": 0, "waiting": 0, "events": 0, "deliveries": 0, "connections": 1, "began": 7}


class Workers:
    """One of two may be deaf: it neither answers nor does as it is told."""

    def __init__(self) -> None:
        self.alive = 2
        self.out = [False, False]
        self.busy = [dict(IDLE), dict(IDLE)]
        self.deaf = False
        self.asked = 0

    async def drain(self, out: bool) -> list[tuple[int, object]]:
        self.asked += 1
        self.out[0] = out
        if self.deaf:
            return [(0, {**self.busy[0], "out": out})]
        self.out[1] = out
        return [(index, {**busy, "out": out}) for index, busy in enumerate(self.busy)]


class Node:
    def __init__(self, ledger: MemoryLedger, keys: MemorySubjectKeys) -> None:
        self.ledger, self.keys, self.clock = ledger, keys, HandClock()
        self.workers, self.sending = Workers(), 0
        self.draining = Draining(self.workers, ledger, keys, self.clock, UuidV7(), "n1", lambda: self.sending, lambda: 4, lambda: 5)

    async def state(self, seconds: float = 0.0) -> str:
        self.clock.forward(seconds)
        return str((await self.draining.show())["state"])

    def recorded(self) -> list[Any]:
        return [orjson.loads(each.leaf) for each in self.ledger.entries]


@asynccontextmanager
async def made() -> AsyncIterator[Node]:
    ledger = MemoryLedger()
    await ledger.open()
    yield Node(ledger, MemorySubjectKeys())


async def test_it_is_drained_when_nothing_was_under_way_and_nothing_came_for_two_seconds() -> None:
    async with made() as node:
        await node.draining.drain(OTTO, "k1", "")
        assert await node.state(1.9) == "draining"
        assert await node.state(0.2) == "drained"
        node.workers.busy[1]["began"] = 8  # came and went in between
        assert await node.state(9) == "draining"
        assert await node.state(2.1) == "drained"
        node.workers.busy[0]["streams"] = 1
        assert await node.state(9) == "draining"
        node.workers.busy[0]["streams"] = 0
        node.sending = 1
        assert await node.state(9) == "draining"
        node.sending = 0
        await node.state()
        assert await node.state(2.1) == "drained"
        told = await node.draining.show()
        assert (told["held"], told["deliveries_due"], told["connections"]) == (4, 5, 2)  # durable, or idle


async def test_a_worker_that_says_nothing_keeps_it_from_being_drained_and_hears_it_later() -> None:
    async with made() as node:
        node.workers.deaf = True
        assert (await node.draining.drain(OTTO, "k1", ""))["workers_heard"] == 1
        assert await node.state(9) == "draining"
        node.workers.deaf = False
        keeping = asyncio.create_task(node.draining.keep())
        async with asyncio.timeout(30):
            while not node.workers.out[1]:  # noqa: ASYNC110  # the workers tell nobody
                await asyncio.sleep(0.01)
            node.workers.deaf = True
            await node.draining.resume(OTTO, "k1", "")
            assert node.workers.out == [False, True]
            node.workers.deaf = False
            while node.workers.out[1]:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        keeping.cancel()


async def test_each_change_is_on_record_once_and_who_ordered_it_is_sealed() -> None:
    async with made() as node:
        for reason in ("a new disk", "again"):
            assert (await node.draining.drain(OTTO, "k1", reason))["reason"] == "a new disk"
        await node.draining.resume(OTTO, "k2", "done")
        await node.draining.resume(OTTO, "k2", "done")
        drained, resumed = node.recorded()
        key_id, key = await node.keys.key_for("otto")
        assert [each["event"] for each in (drained, resumed)] == ["node_drained", "node_resumed"]
        assert (drained["details"]["by"], drained["details"]["by_key"], drained["details"]["node"]) == (key_id, "k1", "n1")
        assert "otto" not in str(drained)
        assert open_personal(node.ledger.entries[0], key) == {"actor": "otto", "comment": "a new disk"}
        assert node.draining.check is None


async def test_without_a_record_nothing_is_drained() -> None:
    async with made() as node:
        await node.ledger.close()
        with pytest.raises(AuditError):
            await node.draining.drain(OTTO, "k1", "")
        assert (node.draining.state, node.workers.out) == ("serving", [False, False])


async def test_readiness_names_the_pseudonym_and_nobody() -> None:
    async with made() as node:
        told = await node.draining.drain(OTTO, "k1", "secret plans")
        check, (key_id, _) = node.draining.check, await node.keys.key_for("otto")
        assert check is not None
        assert (check.name, check.ok, check.detail) == ("draining", False, f"since {told['since']}, by {key_id}")
