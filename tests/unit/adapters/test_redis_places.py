"""What a cluster's nodes say of where its slots are, where they do not agree."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from adapters.redis_state import places
from adapters.redis_state.link import Access
from adapters.redis_state.places import SLOTS, Cluster
from router.errors import StateError
from router.settings import Address

ONE, TWO = Address("one", 6379), Address("two", 6379)
Said = dict[Address, list[tuple[int, int, Address]]]
PATIENCE_S = 30.0


class Node:
    """A keeper of a connection that stands."""

    problem = None

    async def tried(self) -> None: ...

    async def close(self) -> None: ...

    async def ask(self, *command: Any, until: float) -> str:
        return "answer"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """What each node answers; one that is not in it is away."""
    answers: Said = {}

    async def slots_at(node: Address, _: Access) -> list[tuple[int, int, Address]]:
        if node not in answers:
            raise StateError(f"Redis at {node} cannot be reached.", "shared_state_unavailable")
        return answers[node]

    def at(self: Cluster, address: Address) -> Node:
        return cast(Node, self._keepers.setdefault(address, cast(Any, Node())))

    monkeypatch.setattr(places, "_slots_at", slots_at)
    monkeypatch.setattr(Cluster, "_at", at)
    return answers


async def answered(cluster: Cluster) -> None:
    """A question is, sooner or later."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                assert await cluster.ask(b"k", "GET", until=0.0) == "answer"
                return
            except StateError:
                await asyncio.sleep(0.01)


async def test_a_node_that_knows_of_no_slots_is_not_believed(said: Said) -> None:
    """It was started anew without what it knew; the others go on."""
    said.update({ONE: [], TWO: [(0, SLOTS - 1, TWO)]})
    cluster = Cluster([ONE, TWO], Access(), 0.01, lambda _: None)
    await cluster.open()
    try:
        assert cluster.problem is None
        await answered(cluster)
    finally:
        await cluster.close()


async def test_who_knows_of_more_slots_is_believed(said: Said) -> None:
    """Where none knows of all; and a question about the rest looks again, for they may have come."""
    said.update({ONE: [(0, 9, ONE)], TWO: [(0, 99, TWO)]})
    cluster = Cluster([ONE, TWO], Access(), 0.01, lambda _: None)
    await cluster.open()
    try:
        assert (cluster._slots[99], cluster._slots[100]) == (TWO, None)
        said[TWO] = [(0, SLOTS - 1, TWO)]
        await answered(cluster)
    finally:
        await cluster.close()


async def test_where_no_node_knows_of_slots_there_is_no_cluster_yet(said: Said) -> None:
    """It is said, and looked for again until there is one."""
    said[ONE] = []
    heard: list[StateError | None] = []
    cluster = Cluster([ONE, TWO], Access(), 0.01, heard.append)
    await cluster.open()
    try:
        assert cluster.problem is not None
        assert "one:6379 knows of no slots" in str(heard[0])
        said[ONE] = [(0, SLOTS - 1, ONE)]
        await answered(cluster)
    finally:
        await cluster.close()
