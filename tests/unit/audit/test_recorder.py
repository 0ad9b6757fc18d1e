"""An outcome that cannot be recorded now is recorded as soon as it can be; nothing else waits."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from router.audit import recorder as patient
from router.audit.recorder import NOT_YET, Late, PatientRecorder
from router.decision import Outcome, Result
from router.errors import AuditError
from router.ports import Settled

OUTCOME = Outcome(Result.ROUTED, 200)


class Ledger:
    """Refuses so many times, with these codes one after the other."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.recorded: list[Outcome] = []
        self.asked = 0

    async def decided(self, decision: Any, policy_input: Any, beside: Any = None) -> None:
        await self.ended(decision, OUTCOME)

    async def ended(self, decision: Any, outcome: Outcome, settled: Settled | None = None) -> None:
        self.asked += 1
        if self.codes:
            raise AuditError("no", self.codes.pop(0))
        self.recorded.append(outcome)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(patient, "LONGEST_PAUSE_S", 0.002)


@dataclass(frozen=True, slots=True)
class Decided:
    id: str = "decision"


async def ended(ledger: Ledger, patience_s: float = 60.0) -> Late:
    """Nobody waited for more than one answer of the ledger."""
    late = Late(patience_s)
    await PatientRecorder(ledger, late).ended(Decided(), OUTCOME)
    assert ledger.asked == 1
    return late


@pytest.mark.parametrize("code", sorted(NOT_YET))
async def test_an_outcome_is_recorded_once_it_can_be(code: str) -> None:
    """Its caller has the answer by then; who ends waits for it."""
    ledger = Ledger(code, code, code)
    late = await ended(ledger)
    assert len(late) == 1
    await late.recorded()
    assert ledger.recorded == [OUTCOME]
    assert ledger.asked == 4
    assert len(late) == 0


@pytest.mark.parametrize("code", ["audit_unsettled", "audit_unavailable", "audit_tree_broken"])
async def test_what_may_be_there_or_never_will_is_not_tried_again(code: str, caplog: pytest.LogCaptureFixture) -> None:
    """A second outcome would contradict the first; a ledger that is broken stays so. Either at once, or once it says so."""
    with pytest.raises(AuditError) as raised:
        await PatientRecorder(Ledger(code), Late()).ended(Decided(), OUTCOME)
    assert raised.value.code == code
    ledger = Ledger("audit_store_unavailable", code)
    await (await ended(ledger)).recorded()
    assert (ledger.recorded, ledger.asked) == ([], 2)
    assert "no outcome recorded for decision decision: no" in caplog.messages


async def test_patience_ends(caplog: pytest.LogCaptureFixture) -> None:
    """And is told."""
    ledger = Ledger(*["audit_disk_full"] * 1_000_000)
    await (await ended(ledger, 0.02)).recorded()
    assert ledger.asked > 2
    assert "no outcome recorded for decision decision: no" in caplog.messages


async def test_decisions_and_ends_of_deliveries_are_never_late() -> None:
    """Somebody waits for the one, and the other is delivered again."""
    late = Late()
    with pytest.raises(AuditError):
        await PatientRecorder(Ledger("audit_store_unavailable"), late).decided(Decided(), {})
    with pytest.raises(AuditError):
        await PatientRecorder(Ledger("audit_store_unavailable"), late).ended(Decided(), OUTCOME, Settled("id"))
    assert len(late) == 0


async def test_that_outcomes_wait_is_said_once_for_all(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands may be under way when a database goes away."""
    late = Late()
    recorder = PatientRecorder(Ledger(*["audit_store_unavailable"] * 40), late)
    await asyncio.gather(*(recorder.ended(Decided(), OUTCOME) for _ in range(20)))
    await late.recorded()
    assert len([line for line in caplog.messages if line.startswith("outcomes wait")]) == 1
