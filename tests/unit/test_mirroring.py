"""Copies are bounded in number, bytes and time, and never in a request's way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from adapters.memory_destination import Answer, MemoryDestination
from router import mirroring
from router.mirroring import Mirroring
from router.ports import Outbound

REQUEST = Outbound("POST", "/pay", [(b"Authorization", b"x"), (b"accept", b"y")], b"{}", idempotent=True, idempotency_key="k")


class Chance:
    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


class Shadow:
    """A destination that answers once it is let to."""

    def __init__(self) -> None:
        self.seen: list[Outbound] = []
        self.most = self.inside = 0
        self.let = asyncio.Event()

    async def answer(self, outbound: Outbound) -> Answer:
        self.seen.append(outbound)
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.let.wait()
        self.inside -= 1
        return Answer(200, [], b"thrown away")


async def made(shadow: Shadow, chance: float = 0.0) -> tuple[Mirroring, Counter[str]]:
    counts: Counter[str] = Counter()
    destination = MemoryDestination(shadow.answer)
    await destination.open()
    return Mirroring({"shadow": destination}, Chance(chance), lambda result: counts.update([result])), counts


async def ended(copies: Mirroring) -> None:
    await asyncio.gather(*copies.under_way)


async def test_a_copy_has_no_credentials_and_is_never_tried_again() -> None:
    """Only the upstream that was asked may have them."""
    shadow = Shadow()
    shadow.let.set()
    copies, counts = await made(shadow)
    copies.offer("shadow", 100, REQUEST)
    await ended(copies)
    assert shadow.seen == [Outbound("POST", "/pay", [(b"accept", b"y"), (b"x-lockgate-mirror", b"1")], b"{}")]
    assert counts == {"sent": 1}


@pytest.mark.parametrize(("chance", "sent"), [(0.0, 1), (0.099, 1), (0.1, 0), (0.99, 0)])
async def test_a_share_of_the_requests_is_copied(chance: float, sent: int) -> None:
    """Ten percent here; what is not chosen is not counted as lost."""
    shadow = Shadow()
    shadow.let.set()
    copies, counts = await made(shadow, chance)
    copies.offer("shadow", 10, REQUEST)
    await ended(copies)
    assert (len(shadow.seen), counts.total()) == (sent, sent)


async def test_what_does_not_fit_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by bytes; room comes back when copies have ended."""
    monkeypatch.setattr(mirroring, "MOST_WAITING", 20)
    shadow = Shadow()
    copies, counts = await made(shadow)
    for _ in range(25):
        copies.offer("shadow", 100, REQUEST)
    assert counts == {"dropped": 5}
    await asyncio.sleep(0)
    shadow.let.set()
    await ended(copies)
    assert counts == {"dropped": 5, "sent": 20}
    assert shadow.most <= mirroring.AT_ONCE
    monkeypatch.setattr(mirroring, "MOST_BYTES", 3)
    for _ in range(2):
        copies.offer("shadow", 100, REQUEST)
    await ended(copies)
    assert counts == {"dropped": 6, "sent": 21}


async def test_a_destination_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copies fail by time."""
    monkeypatch.setattr(mirroring, "MOST_SECONDS", 0.01)
    copies, counts = await made(Shadow())
    copies.offer("shadow", 100, REQUEST)
    await ended(copies)
    assert counts == {"failed": 1}


async def test_what_was_not_read_whole_or_has_nowhere_to_go_is_dropped() -> None:
    """Nothing is raised at the request."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    copies, counts = await made(Shadow())
    copies.offer("nowhere", 100, REQUEST)
    copies.offer("shadow", 100, Outbound("POST", "/", [], pieces()))
    assert (counts, copies.under_way) == ({"dropped": 2}, frozenset())


async def test_closing_gives_up_what_is_under_way() -> None:
    """A reload does not wait for copies; they are counted as dropped."""
    shadow = Shadow()
    copies, counts = await made(shadow)
    copies.offer("shadow", 100, REQUEST)
    await asyncio.sleep(0)
    await copies.close()
    assert (copies.under_way, counts) == (frozenset(), {"dropped": 1})
