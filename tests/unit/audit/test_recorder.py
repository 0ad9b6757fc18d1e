"""An outcome that cannot be recorded now is recorded as soon as it can be; nothing else waits."""

import asyncio
from typing import Any

import pytest

from router.audit import recorder as patient
from router.audit.recorder import NOT_YET, PatientRecorder
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


@pytest.mark.parametrize("code", sorted(NOT_YET))
async def test_an_outcome_is_recorded_once_it_can_be(code: str) -> None:
    ledger = Ledger(code, code, code)
    await PatientRecorder(ledger).ended(None, OUTCOME)
    assert ledger.recorded == [OUTCOME]
    assert ledger.asked == 4


@pytest.mark.parametrize("code", ["audit_unsettled", "audit_unavailable", "audit_tree_broken"])
@pytest.mark.parametrize("before", [[], ["audit_store_unavailable"]])
async def test_what_may_be_there_or_never_will_is_not_tried_again(code: str, before: list[str]) -> None:
    """A second outcome would contradict the first; a ledger that is broken stays so."""
    ledger = Ledger(*before, code)
    with pytest.raises(AuditError) as raised:
        await PatientRecorder(ledger).ended(None, OUTCOME)
    assert raised.value.code == code
    assert ledger.recorded == []


async def test_patience_ends() -> None:
    """With what the ledger said last."""
    ledger = Ledger(*["audit_disk_full"] * 1_000_000)
    with pytest.raises(AuditError) as raised:
        await PatientRecorder(ledger, 0.02).ended(None, OUTCOME)
    assert raised.value.code == "audit_disk_full"
    assert ledger.asked > 2


async def test_decisions_and_ends_of_deliveries_do_not_wait() -> None:
    """Somebody waits for the one, and the other is delivered again."""
    with pytest.raises(AuditError):
        await PatientRecorder(Ledger("audit_store_unavailable")).decided(None, {})
    with pytest.raises(AuditError):
        await PatientRecorder(Ledger("audit_store_unavailable")).ended(None, OUTCOME, Settled("id", "owner"))


async def test_that_outcomes_wait_is_said_once_for_all(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands may be under way when a database goes away."""
    recorder = PatientRecorder(Ledger(*["audit_store_unavailable"] * 40))
    await asyncio.gather(*(recorder.ended(None, OUTCOME) for _ in range(20)))
    assert len([line for line in caplog.messages if line.startswith("outcomes wait")]) == 1
