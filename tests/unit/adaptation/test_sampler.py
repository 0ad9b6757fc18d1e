"""Samples taken from a ledger, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from router.adaptation.labelling import KIND
from router.adaptation.seeding import KnownAnswers
from router.audit.questions.query import Found
from router.config.learning import SamplingConfig
from router.errors import StateError
from router.ports import Lesson
from router.wiring.sampling import Sampler
from tests.unit.adaptation.parts import Learning

ALL = SamplingConfig(random=1.0, a_day=2)


def decided(number: int, day: int = 1, tenant: str | None = None, text: bool = True) -> Found:
    classified = {"status": "classified", "intent": "pay", "confidence": "0.900000", "margin": "0.500000", "tier": "encoder"}
    leaf: dict[str, Any] = {
        "id": f"decision {number}",
        "time": f"2026-11-{day:02}T10:00:00.000000000Z",
        "subject": {"tenant": tenant},
        "classification": classified,
        "commitments": {"text": "…"} if text else {},
        "catalog_digest": "c" * 64,
    }
    return Found(number, leaf, {"key_id": "k"}, "sealed")


class Ledger:
    def __init__(self) -> None:
        self.found: list[Found] = []

    async def size(self) -> int:
        return len(self.found)

    async def decisions_after(self, record: int, limit: int) -> Sequence[Found]:
        return [each for each in self.found if each.index > record][:limit]

    def add(self, **told: Any) -> None:
        self.found.append(decided(len(self.found), **told))


class Sampling:
    def __init__(self, learning: Learning) -> None:
        self.learning, self.ledger, self.settings = learning, Ledger(), ALL
        known = KnownAnswers(learning.keeping, learning.trail, learning.keys, learning.clock, lambda: learning.intents)
        self.sampler = Sampler(learning.keeping, self.ledger, learning.keys, learning.clock, lambda: self.settings, known)

    async def tasks(self) -> list[Lesson]:
        return [each for _, each in await self.learning.store.page(KIND, [], 0, 100)]


@pytest.fixture
async def sampling(learning: Learning) -> Sampling:
    made = Sampling(learning)
    made.ledger.add()
    await made.sampler.round()
    return made


async def test_what_was_decided_before_is_not_sampled(sampling: Sampling) -> None:
    """Only what comes after it was switched on, and each once."""
    assert await sampling.tasks() == []
    sampling.ledger.add()
    await sampling.sampler.round()
    await sampling.sampler.round()
    (task,) = await sampling.tasks()
    assert (task.about, task.terms["strategies"], task.terms["probability"]) == ("decision 1", ["random"], "1.000000")
    assert await sampling.sampler.counts() == {"sampled": 1}


async def test_the_cap_is_each_tenants_and_each_days(sampling: Sampling) -> None:
    """What is over it is counted; what has no text takes no place of it."""
    for _ in range(3):
        sampling.ledger.add(text=False)
    for tenant in (None, None, None, "halden", "halden", "halden"):
        sampling.ledger.add(tenant=tenant)
    sampling.ledger.add(day=2)
    await sampling.sampler.round()
    assert await sampling.sampler.counts() == {"capped": 2, "no_text": 3, "sampled": 5}
    assert [each.terms["tenant"] for each in await sampling.tasks()] == [None, None, "halden", "halden", None]


async def test_a_round_that_was_cut_off_is_done_again_to_the_same_end(sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks were put and the place was not: nothing is taken twice, and the cap counts as it did."""
    for _ in range(4):
        sampling.ledger.add()
    store, put = sampling.learning.store, sampling.learning.store.put

    async def cut_off(lesson: Lesson, *more: Any) -> bool:
        if lesson.kind != KIND:
            raise StateError("gone", "learning_store_unavailable")
        return await put(lesson, *more)

    monkeypatch.setattr(store, "put", cut_off)
    with pytest.raises(StateError):
        await sampling.sampler.round()
    before = await sampling.tasks()
    assert len(before) == 2
    monkeypatch.undo()
    await sampling.sampler.round()
    assert await sampling.tasks() == before
    assert await sampling.sampler.counts() == {"capped": 2, "sampled": 2}
