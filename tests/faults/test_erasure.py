"""An erasure whose every write fails, and fails after it was done: never is a key said to be erased that exists, and what was ordered is
finished at the next start."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from router.audit.journal import Journal
from router.audit.keys.comparing import Compared
from router.errors import AuditError, LockgateError
from router.ports import Entry
from tests.unit.audit.governed import OFFICER, Clock, Counted, Noted, Place, running
from tests.unit.audit.ledgers import verified
from tests.unit.audit.samples import SUBJECT

T = TypeVar("T")
STEPS = ("ordered", "barred", "destroyed", "forgotten", "dropped", "removed", "told", "signed")


class Breaking:
    """Passes every step on, but for the one of this name: that fails before it is done, or after."""

    def __init__(self, step: str, done: bool) -> None:
        self.step = step
        self.done = done
        self.broken = 0

    def before(self, step: str) -> None:
        if step == self.step and not self.done:
            self._fail()

    def after(self, step: str) -> None:
        if step == self.step and self.done:
            self._fail()

    def _fail(self) -> None:
        self.broken += 1
        raise AuditError("injected", "audit_io_failed")


class BreakingLedger:
    def __init__(self, place: Place, breaking: Breaking) -> None:
        self._ledger = place.ledger
        self._breaking = breaking

    async def append(self, entry: Entry) -> int:
        step = "told" if b'"subject_erased"' in entry.leaf else "found" if b'"erased_keys_found"' in entry.leaf else "ordered"
        self._breaking.before(step)
        index = await self._ledger.append(entry)
        self._breaking.after(step)
        return index

    async def call(self, work: Callable[[Journal], T]) -> T:
        return await self._ledger.call(work)

    async def sign(self, size: int) -> None:
        self._breaking.before("signed")
        await self._ledger.sign(size)
        self._breaking.after("signed")

    async def bar(self, key_id: str) -> None:
        self._breaking.before("barred")
        await self._ledger.bar(key_id)
        self._breaking.after("barred")

    async def drop_sealed(self, key_id: str) -> None:
        self._breaking.before("removed")
        await self._ledger.drop_sealed(key_id)
        self._breaking.after("removed")

    async def ping(self) -> None:
        await self._ledger.ping()


class BreakingKeys:
    def __init__(self, place: Place, breaking: Breaking) -> None:
        self._keys = place.keys
        self._breaking = breaking
        self.find, self.key, self.key_for = place.keys.find, place.keys.key, place.keys.key_for
        self.compared = place.keys.compared

    async def present(self, key_ids: Sequence[str]) -> list[str]:
        return await self._keys.present(key_ids)

    async def destroy(self, *key_ids: str) -> None:
        self._breaking.before("destroyed")
        await self._keys.destroy(*key_ids)
        self._breaking.after("destroyed")

    async def mark(self, compared: Compared) -> None:
        self._breaking.before("marked")
        await self._keys.mark(compared)
        self._breaking.after("marked")


class BreakingAround(Noted):
    def __init__(self, breaking: Breaking) -> None:
        super().__init__()
        self._breaking = breaking

    async def forget_key(self, key_id: str) -> None:
        self._breaking.before("forgotten")
        await super().forget_key(key_id)
        self._breaking.after("forgotten")

    async def drop_held(self, key_id: str) -> None:
        self._breaking.before("dropped")
        await super().drop_held(key_id)
        self._breaking.after("dropped")


async def holds_together(place: Place, key_id: str) -> None:
    """What may be read at any moment, after any crash."""
    if place.leaves("subject_erased"):
        assert await place.keys.key(key_id) is None
    if await place.keys.key(key_id) is None:
        assert len(place.leaves("erasure_ordered")) == 1


@pytest.mark.parametrize("done", [False, True], ids=["failed", "failed-but-done"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_broken_step_is_finished_at_the_next_start(tmp_path: Path, step: str, done: bool) -> None:
    """Sixteen ways to fail, one end: not ordered and readable, or ordered, gone and said so once."""
    clock, ids, breaking = Clock(), Counted(), Breaking(step, done)
    async with running(tmp_path, clock, ids) as place:
        await place.decide(1, 2)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        broken = place.erasing_over(BreakingLedger(place, breaking), BreakingKeys(place, breaking), BreakingAround(breaking))
        with pytest.raises(LockgateError):
            await broken.erase(SUBJECT.id, "gdpr_art_17", OFFICER)
        assert breaking.broken == 1
        await holds_together(place, key_id)
    async with running(tmp_path, clock, ids) as place:
        await holds_together(place, key_id)
        await place.erasing.finish()
        ordered = step != "ordered" or done
        assert (await place.keys.key(key_id) is None) is ordered
        assert len(place.leaves("subject_erased")) == ordered
        if ordered:
            (told,) = place.leaves("subject_erased")
            assert set(told["commitments"]) == {"ordered_by", "authority", "case"}
        assert await place.erasing.finish() == []
    assert verified(tmp_path).ok


@pytest.mark.parametrize("done", [False, True], ids=["failed", "failed-but-done"])
@pytest.mark.parametrize("step", STEPS[2:6])
async def test_asking_again_finishes_it_without_a_restart(tmp_path: Path, step: str, done: bool) -> None:
    """What was half done is finished. Where the key is gone nobody can tell whose it was, so the answer names the record that says so."""
    breaking = Breaking(step, done)
    async with running(tmp_path) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        broken = place.erasing_over(BreakingLedger(place, breaking), BreakingKeys(place, breaking), BreakingAround(breaking))
        with pytest.raises(AuditError):
            await broken.erase(SUBJECT.id, "gdpr_art_17", OFFICER)
        if (step, done) == ("destroyed", False):
            assert (await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)).leaf["event"] == "subject_erased"
        else:
            with pytest.raises(AuditError) as again:
                await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)
            assert again.value.code == "subject_unknown"
            assert ("finished just now" in str(again.value)) is not (step == "told" and done)
        assert await place.keys.key(key_id) is None
        assert len(place.leaves("erasure_ordered")) == len(place.leaves("subject_erased")) == 1


@pytest.mark.parametrize("done", [False, True], ids=["failed", "failed-but-done"])
@pytest.mark.parametrize("step", ["found", "barred", "destroyed", "forgotten", "dropped", "signed", "marked"])
async def test_keys_that_came_back_are_destroyed_whatever_breaks(tmp_path: Path, step: str, done: bool) -> None:
    """A start that ends anywhere is gone over again: no key is destroyed without a record before it that names it, and in the end there is
    none; a third start finds nothing to do."""
    clock, ids, breaking = Clock(), Counted(), Breaking(step, done)
    async with running(tmp_path, clock, ids) as place:
        await place.decide(1)
        key_id, _ = await place.keys.key_for(SUBJECT.id)
        await place.keys.close()
        shutil.copy(tmp_path / "keys.sqlite", tmp_path / "backup")
        await place.keys.open()
        await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)
    shutil.copy(tmp_path / "backup", tmp_path / "keys.sqlite")
    async with running(tmp_path, clock, ids) as place:
        broken = place.erasing_over(BreakingLedger(place, breaking), BreakingKeys(place, breaking), BreakingAround(breaking))
        with pytest.raises(LockgateError):
            await broken.finish()
        assert breaking.broken == 1
        named = [found["details"]["key_ids"] for found in place.leaves("erased_keys_found")]
        assert (await place.keys.key(key_id) is not None) or named == [[key_id]]
    async with running(tmp_path, clock, ids) as place:
        await place.erasing.finish()
        assert await place.keys.key(key_id) is None
        assert {found["details"]["key_ids"][0] for found in place.leaves("erased_keys_found")} == {key_id}
        assert len(place.leaves("erasure_repeated")) <= 1
        assert (await place.keys.compared()) == place.facts.compared()
        told = len(place.leaves("erased_keys_found", "erasure_repeated"))
        assert await place.erasing.finish() == []
        assert len(place.leaves("erased_keys_found", "erasure_repeated")) == told
    assert verified(tmp_path).ok
