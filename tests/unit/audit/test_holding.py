from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import AuditError
from tests.unit.audit.governed import OFFICER, Place, running
from tests.unit.audit.samples import SUBJECT, numbered

COUNSEL = replace(OFFICER, by="lea@halden.example", authority="Counsel Lea Roth", case="Case 7/26, Berg v. Halden")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with running(tmp_path) as made:
        await made.decide(1, 2)
        yield made


async def code(attempt: object) -> str:
    with pytest.raises(AuditError) as error:
        await attempt  # type: ignore[misc]  # any awaitable
    return error.value.code


@pytest.mark.parametrize(("on", "target"), [("subject", SUBJECT.id), ("decision", numbered(2).id), ("intent", "payment.cancel")])
async def test_what_is_on_hold_is_not_erased(tmp_path: Path, on: str, target: str) -> None:
    """Directly, by one of their decisions, or by an intent of one; also after a restart; until it is released."""
    async with running(tmp_path) as place:
        await place.decide(1, 2)
        hold = await place.holding.add(on, target, COUNSEL)
    async with running(tmp_path) as place:
        with pytest.raises(AuditError, match=f"record {hold.index} put a hold on this {on}") as refused:
            await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)
        assert refused.value.code == "audit_on_hold"
        assert place.leaves("erasure_ordered", "subject_erased") == []
        await place.holding.release(hold.index, COUNSEL)
        assert (await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)).leaf["event"] == "subject_erased"


async def test_a_hold_keeps_nobody_else(place: Place) -> None:
    """Another subject's decision, another intent."""
    await place.decide(3, subject="bo")
    await place.holding.add("decision", numbered(3).id, COUNSEL)
    await place.holding.add("intent", "payment.status", COUNSEL)
    assert (await place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)).leaf["event"] == "subject_erased"


async def test_two_cases_need_two_releases(place: Place) -> None:
    """The end of one case does not end the other's hold."""
    first, second = [await place.holding.add("subject", SUBJECT.id, COUNSEL) for _ in range(2)]
    await place.holding.release(first.index, COUNSEL)
    assert [hold.record for hold in await place.holding.all()] == [second.index]
    assert await code(place.erasing.erase(SUBJECT.id, "gdpr_art_17", OFFICER)) == "audit_on_hold"
    assert await code(place.holding.release(first.index, COUNSEL)) == "audit_hold_unknown"


async def test_the_ledger_names_no_person_of_a_hold(place: Place) -> None:
    """Who is on hold is a key's id, whose case it is is sealed."""
    receipt = await place.holding.add("subject", SUBJECT.id, COUNSEL)
    key_id, _ = await place.keys.key_for(SUBJECT.id)
    assert receipt.leaf["details"] == {"key_id": key_id}
    leaf = place.facts.stored(receipt.index).leaf
    assert not any(word in leaf for word in (b"anna", b"Roth", b"Berg", b"lea@"))


@pytest.mark.parametrize(
    ("on", "target", "expected"),
    [("subject", "nobody", "subject_unknown"), ("decision", "x", "decision_unknown"), ("intent", "Not one", "audit_hold_invalid")],
)
async def test_what_is_not_there_is_not_put_on_hold(place: Place, on: str, target: str, expected: str) -> None:
    """One sentence, nothing written."""
    size = place.ledger.size
    assert await code(place.holding.add(on, target, COUNSEL)) == expected
    assert place.ledger.size == size
